"""Writes ``docs/results/marl.md``: every figure in it is computed from records here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmarks.results.page import (
    Pair,
    Table,
    markdown,
    score_figure,
    table_of,
    unfinished,
    verdicts,
)
from benchmarks.results.rows import Row, page_path
from pkubench.evaluation.statistics import (
    iqm,
    probability_of_improvement,
    stratified_bootstrap,
)

_SPREAD, _TALK, _REFERENCE = (
    f"Simple{name}Continuous-v0" for name in ("Spread", "SpeakerListener", "Reference")
)
_V2_SHIFT = -37.5
"""What the self-collision of the v2 rules adds to SimpleSpread's team return of an episode."""
_CONTROLLERS = {
    _SPREAD: "scripted:assignment",
    _TALK: "scripted:messenger",
    _REFERENCE: "scripted:messenger",
    "SimpleSpread-v0": "scripted:assignment",
}
_ANCHORS = {"random", *_CONTROLLERS.values()}
_CURVES = {
    _SPREAD: {
        "happo": "-65",
        "mappo": "-69",
        "hatrpo": "-71",
        "hatd3": "-63",
        "haddpg": "-66",
        "haa2c": "below -95",
    },
    _TALK: {
        "happo": "-9 to -7",
        "mappo": "-9 to -7",
        "hatd3": "about -10",
        "haddpg": "about -10",
        "haa2c": "-12",
    },
    _REFERENCE: {
        "happo": "-10",
        "mappo": "-10",
        "hatrpo": "-13",
        "hatd3": "-11",
        "haddpg": "-14",
        "maddpg": "-14",
        "haa2c": "-36",
    },
    "SimpleSpread-v0": {
        "happo-10m": "-62",
        "mappo-10m": "-58",
        "happo-paper-10m": "-62",
        "mappo-paper-10m": "-58",
    },
    "MultiHalfCheetah2x3-v0": {"happo": "7000", "mappo": "6850", "hatd3": "8800"},
    "MultiHopper3x1-v0": {"happo": "3450 to 3600", "mappo": "3600", "hatd3": "3550"},
    "MultiWalker2d2x3-v0": {"happo": "5400", "mappo": "5000", "hatd3": "7550"},
    "MultiAnt4x2-v0": {"happo": "5900", "mappo": "5900", "hatd3": "5900"},
}
"""HARL (JMLR 2024), ends of the curves, read off the figures with 2-3 % error: 10 M steps, 5 M for
off-policy methods on particle worlds; SimpleSpread by the v2 rules, MuJoCo by Gym's v2 robots. The
HASAC paper's figures are curves we have no numbers of."""
_HEAD = """# Heterogeneous multi-agent learning

Written by `make results-marl`; no score here is typed by hand. Every run is scored by
`pkubench evaluate` on seeds no learner has met. Intervals are 95 % Student t intervals over
training seeds (n); a row with one run shows the interval over its episodes and says so. The column
*training* has the budget of environment steps, for off-policy learners the steps between two
gradient updates, and the time of a run: of its process, which several off-policy seeds may share,
on a machine of two cores that did other work too. Equal budgets are of environment steps; an
off-policy learner computes more in each. The records, with command and settings of every run, are
in `benchmarks/results/records/marl`. Seed 0 of each row ships with the package, one run of those
averaged here: `make evaluate` and `pkubench evaluate NAME TASK` score that run alone.

*Normalised* is 100 (s - random) / (controller - random). The controllers are heuristics, not
optima, so a learner can pass 100. (`pkubench evaluate` normalises by each task's own reference,
which for SimpleSpread is a trained agent.)

The numbers of the small off-policy presets were chosen on one training seed of which no record was
kept; it may be one of those reported here. Their returns of one step on Multi-Agent MuJoCo, where
the papers have 5 to 20, were chosen on training seed 1000. No evaluation seed was used.

*Published* are the ends of HARL's curves, read off its figures: 10 M steps, for off-policy learners
on particle worlds 5 M. On SimpleSpread they were measured by the v2 rules, where an agent also
collides with itself, {shift:g} an episode; the bracket leaves that out.

"""
_TEN_MILLION = """Rows named `10m` are the agent of that name, trained for the paper's 10 M steps.
Five seeds of 1.5 M steps are in [foundation](foundation.md).

"""
_MUJOCO_NOTE = """The robots are Gymnasium's v5. HARL's published returns are of Gym's v2 robots,
which differ in control cost, contact forces, healthy reward and observations, so the two columns
are not on one scale: 'published' only tells what order of return the paper trained to, in 10 M
steps. Three runs of so few steps leave intervals that often span the whole range: they show what a
run may come to, and seldom decide between learners.

"""


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records of all finished rows."""
    table = table_of(rows, scale, _CONTROLLERS)
    page = page_path("marl", scale)
    sections = [_HEAD.format(shift=_V2_SHIFT)]
    for title, note, prefix in (
        ("Particle worlds", "", "Simple"),
        ("Multi-Agent MuJoCo", _MUJOCO_NOTE, "Multi"),
    ):
        chosen = [task for task in table if task.startswith(prefix)]
        if chosen:
            sections.append(f"## {title}\n\n{note}")
            several = {t: table[t] for t in chosen if len(table[t].keys() - _ANCHORS) > 1}
            sections.append(score_figure(prefix.lower(), title, several, _ANCHORS, page))
        for task in chosen:
            sections += markdown(task, table[task], _published(task), _CONTROLLERS.get(task, "-"))
            sections += [_TEN_MILLION] if task == "SimpleSpread-v0" else []
    return "".join([*sections, *_claims(table), *unfinished(rows, scale)])


def _published(task: str) -> dict[tuple[str, str], str]:
    spread = task.startswith("SimpleSpread")
    return {
        (name, task): text + (f" ({_by_v3(text)})" if spread else "")
        for name, text in _CURVES.get(task, {}).items()
    }


def _by_v3(text: str) -> str:
    words, _, number = text.rpartition(" ")
    return f"{words} {float(number) - _V2_SHIFT:g} by v3".strip()


def _claims(table: Table) -> Iterator[str]:
    """Yield the papers' claims, each with its comparisons."""
    yield "## The papers' claims\n\n"
    yield (
        "Differences have Welch's 95 % intervals over training seeds; p-values are corrected for "
        "the number of comparisons of a claim (Holm), and *better* is said below 0.05. The "
        "intervals are not corrected, so one can leave out 0 where no difference is shown.\n\n"
    )
    robots = [task for task in table if task.startswith("Multi")]
    for title, note, pairs, tasks in (
        (
            "HAPPO against MAPPO (HARL)",
            "HAPPO has an actor an agent and sequential updates, MAPPO one shared actor and "
            "simultaneous ones. Where the agents' spaces differ (SpeakerListener) MAPPO shares "
            "nothing, and only the sequence is compared.",
            [("happo", "mappo")],
            [_SPREAD, _TALK, _REFERENCE, *robots],
        ),
        (
            "Sequential against simultaneous updates, all else equal (HARL)",
            "The two of a pair differ in nothing but the order of the updates.",
            [
                ("happo", "happo-simultaneous"),
                ("hatd3", "hatd3-simultaneous"),
                ("hasac", "hasac-simultaneous"),
            ],
            [_SPREAD, _REFERENCE],
        ),
        (
            "Separate against shared actors, all else equal",
            "Both update simultaneously; MAPPO and MASAC share one actor.",
            [("happo-simultaneous", "mappo"), ("hasac-simultaneous", "masac")],
            [_SPREAD, _REFERENCE],
        ),
        (
            "Current and sequential against replayed actions of the others (HARL)",
            "As in the official code, MATD3 and MADDPG show the critic the replayed actions of the "
            "other agents and keep no sequence: two differences at once.",
            [("hatd3", "matd3"), ("haddpg", "maddpg")],
            [_SPREAD, _TALK, _REFERENCE],
        ),
        (
            "HASAC against the rest (HASAC)",
            "The paper finds HASAC best on most tasks.",
            [("hasac", "hatd3"), ("hasac", "happo"), ("hasac", "mappo")],
            [_SPREAD, _TALK, _REFERENCE, *robots],
        ),
    ):
        chosen = [Pair(task, a, b) for a, b in pairs for task in tasks]
        lines = list(verdicts(table, chosen))
        if lines:
            yield f"### {title}\n\n{note} {_tally(lines)}\n\n"
            yield from lines
            particle = [task for task in tasks if task.startswith("Simple")]
            yield from (text for a, b in pairs if (text := _over_tasks(table, particle, a, b)))
            yield "\n"


def _tally(lines: list[str]) -> str:
    """Say how the comparisons of a claim came out; single runs are none."""
    lines = [line for line in lines if "corrected p" in line]
    first = sum(f"**{line[2:].split()[0]} is better**" in line for line in lines)
    decided = sum("is better**" in line for line in lines)
    return (
        f"Of {len(lines)} comparisons measured, {first} are for the first named, "
        f"{decided - first} for the second, {len(lines) - decided} undecided."
    )


def _over_tasks(table: Table, tasks: list[str], ours: str, theirs: str) -> str:
    """Compare two rows over the particle worlds, on the scale random 0, controller 100."""
    if not all({ours, theirs} <= set(table.get(task, {})) for task in tasks):
        return ""
    x, y = (_normalised(table, tasks, name) for name in (ours, theirs))
    if min(len(x), len(y)) < 2:
        return ""
    better = stratified_bootstrap(x, probability_of_improvement, other=y)
    left, right = stratified_bootstrap(x, iqm), stratified_bootstrap(y, iqm)
    return (
        f"- Over {', '.join(_short(task) for task in tasks)}, random 0 and controller 100: "
        f"IQM of {ours} {left.estimate:.1f} [{left.low:.1f}, {left.high:.1f}], of {theirs} "
        f"{right.estimate:.1f} [{right.low:.1f}, {right.high:.1f}]; a run of {ours} beats "
        f"one of {theirs} with probability {better.estimate:.2f} "
        f"[{better.low:.2f}, {better.high:.2f}] (bootstrap).\n"
    )


def _short(task: str) -> str:
    return task.removeprefix("Simple").removesuffix("Continuous-v0")


def _normalised(table: Table, tasks: list[str], name: str) -> npt.NDArray[np.float64]:
    """Return (runs, tasks) scores, random 0 and controller 100."""
    columns = []
    for task in tasks:
        lines = table[task]
        low, high = lines["random"].mean("return"), lines[_CONTROLLERS[task]].mean("return")
        values = np.array([run["return"] for run in lines[name].runs])
        columns.append(100 * (values - low) / (high - low))
    return np.stack(columns, axis=1)
