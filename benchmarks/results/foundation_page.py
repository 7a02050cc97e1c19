"""Writes ``docs/results/foundation.md``: every figure in it is computed from records here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.results.page import (
    Pair,
    Table,
    markdown,
    not_learned,
    return_cost_figure,
    table_of,
    verdicts,
)
from benchmarks.results.records import Scored
from benchmarks.results.rows import Row, page_path
from pkubench.tasks.suites.constrained import COST_LIMIT

_PUBLISHED = {
    ("happo", "SimpleSpeakerListener-v0"): "about -9 at 10 M, v2 rules",
    ("mappo", "SimpleSpeakerListener-v0"): "-13 at 10 M, v2 rules",
    ("happo", "SimpleReference-v0"): "-12 to -13 at 10 M, v2 rules",
    ("mappo", "SimpleReference-v0"): "-12 to -13 at 10 M, v2 rules",
    ("ppo", "HalfCheetahVelocity-v0"): "6921.8, cost 919 at 10 M",
    ("ppo-lag", "HalfCheetahVelocity-v0"): "2946.2, cost 3.4 at 10 M",
    ("ppo", "HopperVelocity-v0"): "2337.1, cost 550 at 10 M",
    ("ppo-lag", "HopperVelocity-v0"): "961.9, cost 14.0 at 10 M",
}
"""HARL figures 2-3 (read off curves, 2-3 % error) and OmniSafe's benchmark page, 10 M steps."""
_CONTROLLERS = {
    "SimpleSpread-v0": "scripted:assignment",
    "SimpleReference-v0": "scripted:messenger",
    "SimpleSpeakerListener-v0": "scripted:messenger",
}
_TITLE = "# Foundation: reference agents\n\n"
_HEAD = """\
Written by `make results-foundation`; no score here is entered by hand. Every row is scored by
`pkubench evaluate` on seeds that no learner has trained on. Intervals are 95 % Student t intervals
over training seeds (n); a row with one run shows the interval over its episodes and says so.
Differences have Welch's intervals, and p-values are corrected for the number of comparisons (Holm).
The records behind the figures, with the command of every run, are in `benchmarks/results/records`.
*Published* scores are from the papers' pages and figures; those by the v2 rules of the particle
environments are on a different scale from ours ([marl](marl.md) normalises both).

"""


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records of all finished rows."""
    table = table_of(rows, scale, _CONTROLLERS)
    sections, page = [_TITLE, *not_learned(table), _HEAD], page_path("foundation", scale)
    for title, suffix in (
        ("Cooperative particle environments", ""),
        ("Robots under a speed limit (cost at most 25 per episode)", "Velocity-v0"),
        ("Poker (exact exploitability)", "Poker-v0"),
    ):
        chosen = [t for t in table if t.endswith(suffix) and (suffix or t.startswith("Simple"))]
        if chosen:
            sections.append(f"## {title}\n\n")
        for task in chosen:
            sections += markdown(task, table[task], _PUBLISHED, _CONTROLLERS.get(task, "-"))
            sections.append(return_cost_figure(task, table[task], page))
    return "".join([*sections, "## Verdicts\n\n", *_verdicts(table)])


def _verdicts(table: Table) -> list[str]:
    """Say in words, from the numbers, how the table compares with the stated bars."""
    lines = []
    spread = table.get("SimpleSpread-v0", {})
    if "happo" in spread:
        lines.append(
            f"- HAPPO on SimpleSpread {_against(-38.0, spread['happo'])} at 1.5 M steps: "
            f"{spread['happo'].text('return')}, n = {len(spread['happo'].runs)}.\n"
        )
    lines += verdicts(table, [Pair(task, "happo", "mappo") for task in _CONTROLLERS])
    if "happo-paper" in spread:
        lines.append(
            "- HAPPO with the official settings (gamma 0.99, 5e-4, 20 x 200) at 1.5 M steps: "
            f"{spread['happo-paper'].text('return')}; "
            "`pkubench/agents/families/on_policy/harl.py` says what we changed.\n"
        )
    for robot, bar in (("HalfCheetah", 2500.0), ("Hopper", None)):
        lines += _constrained(table.get(f"{robot}Velocity-v0", {}), robot, bar)
    return lines


def _against(bar: float, line: Scored) -> str:
    """Say whether a row's return meets a bar, and whether its interval leaves that open."""
    mean, low, high, _ = line.metrics["return"]
    text = f"{'meets' if mean >= bar else 'misses'} the bar of {bar:,.0f}"
    is_open = low is not None and high is not None and low < bar < high
    return f"{text} on average, with the bar inside its interval," if is_open else text


def _constrained(lines: Mapping[str, Scored], robot: str, bar: float | None) -> Iterator[str]:
    """Say whether PPO-Lag keeps the limit, and what unconstrained PPO costs."""
    if "ppo-lag" not in lines:
        return
    safe = lines["ppo-lag"]
    is_within = safe.mean("cost") <= COST_LIMIT
    text = (
        f"- PPO-Lag on {robot}Velocity: cost {safe.text('cost')}, "
        f"{'within' if is_within else 'above'} the limit of {COST_LIMIT:g} on average; "
        f"return {safe.text('return')}"
    )
    if bar is not None:
        text += f"; it {_against(bar, safe)}" if is_within else f"; it misses the bar of {bar:,.0f}"
    yield text + ".\n"
    over = [f"seed {k}" for k, run in enumerate(safe.runs) if run["cost"] > COST_LIMIT]
    if over:
        yield f"    - Runs whose own mean cost is above the limit: {', '.join(over)}.\n"
    if "ppo" in lines:
        yield (
            f"    - Unconstrained PPO has a cost of {lines['ppo'].text('cost')} and a return of "
            f"{lines['ppo'].text('return')} with the same budget.\n"
        )
