"""Writes ``docs/results/micro_battle.md``: every figure in it is computed from records here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.results.anchors import anchor_lines, is_trained
from benchmarks.results.page import Table, not_learned, score_figure, unfinished
from benchmarks.results.records import Scored, scored_row
from benchmarks.results.rows import Row, page_path

MAPS = {
    "MicroBattle3m-v0": "three marines against three",
    "MicroBattle2s3z-v0": "two stalkers and three zealots against their like",
}
SCRIPTS = ("scripted:heuristic", "scripted:focus")
_WON = "battle_won"
_TITLE = "# Battles of unlike units\n\n"
_HEAD = """\
Written by `make results-micro_battle`; no score here is entered by hand. *Win rate* is the share of
a task's 200 battles in which all enemies are dead and an ally lives, of greedy policies: those of
the last update, on seeds that no learner has trained on. Intervals of trained agents are 95 %
Student t intervals over training seeds (n), cut at 0 and 1; those of the others are over battles,
Wilson's for win rates. The *return* is at most 2: 1 for the health that the enemies lose, and 1 for
a victory. `scripted:heuristic` plays the enemies' own script, so that on these maps it wins about
half of the battles that do not end in mutual death; `scripted:focus` shoots at the weakest enemy in
range, and steps back from enemies of a shorter range while its weapon is not ready.

Budgets are equal in steps of the environment, not in time: HAPPO, MAPPO and IPPO learn from each
step for a few passes and have no memory, QMIX and VDN replay whole episodes through recurrent
networks ([settings](../agents/value-based.md), [on policy](../agents/on-policy.md)). Numbers of
SMAC, on which the papers report, are not on this scale: the opponents and the arms of the units are
others. SMAX, whose rules these are, has no published table of win rates.

"""
_CLAIMS = """## The papers' claims

What these runs say of QMIX, MAPPO and HAPPO is on [the page of claims](../claims.md)
(`pkubench claims --suite marl`).

"""


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records of all finished rows."""
    page = page_path("micro_battle", scale)
    table: Table = {task: anchor_lines(task, SCRIPTS) for task in MAPS}
    for row in rows:
        found = scored_row(row, row.budget(scale))
        if found is not None:
            table[row.task][row.name] = found
    trained = {t: lines for t, lines in table.items() if any(map(is_trained, lines))}
    sections = [_TITLE, *not_learned(trained), _HEAD]
    if trained:
        title = "Battles that are won"
        sections.append(score_figure("maps", title, trained, page, x_label="win rate"))
    for task, lines in table.items():
        sections += table_of_map(task, lines)
    return "".join([*sections, _CLAIMS, *unfinished(rows, scale)]).rstrip() + "\n"


def table_of_map(task: str, lines: Mapping[str, Scored]) -> Iterator[str]:
    """Yield one map's table, in Markdown."""
    yield f"## {task}\n\n{MAPS[task].capitalize()}.\n\n"
    yield "| agent | training | win rate [95 %] | of each run | return [95 %] | n |\n"
    yield "|---|---|---|---|---|---|\n"
    for name, line in lines.items():
        runs = ", ".join(f"{run[_WON]:.2f}" for run in line.runs) if is_trained(name) else "-"
        cells = [name, line.training, _win_rate(line), runs, line.text("return")]
        yield f"| {' | '.join([*cells, f'{line.metrics[_WON][3]} {line.sample}'])} |\n"
    yield "\n"


def _win_rate(line: Scored) -> str:
    mean, *bounds, _ = line.metrics[_WON]
    return f"{mean:.3f}{_cut(bounds)}"


def _cut(bounds: Sequence[float | None]) -> str:
    """Return an interval within what a share can be, which Student's does not know."""
    low, high = bounds
    if low is None or high is None:
        return ""
    return f" [{max(low, 0.0):.3f}, {min(high, 1.0):.3f}]"
