"""Writes ``docs/results/marl.md``: every figure in it is computed from records here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmarks.results.page import Table, markdown, table_of, versus
from benchmarks.results.rows import ROOT, Row
from pkubench.evaluation.statistics import (
    iqm,
    probability_of_improvement,
    stratified_bootstrap,
)

_SPREAD = "SimpleSpreadContinuous-v0"
_V2_SHIFT = -37.5
"""What the self-collision of the v2 rules adds to SimpleSpread's team return of an episode."""
_CONTROLLERS = {
    _SPREAD: "scripted:assignment",
    "SimpleSpeakerListenerContinuous-v0": "scripted:messenger",
    "SimpleReferenceContinuous-v0": "scripted:messenger",
    "SimpleSpread-v0": "scripted:assignment",
}
_CURVES = {
    _SPREAD: {
        "happo": -65,
        "mappo": -69,
        "hatrpo": -71,
        "hatd3": -63,
        "haddpg": -66,
        "haa2c": -95,
    },
    "SimpleSpeakerListenerContinuous-v0": {
        "happo": -8,
        "mappo": -8,
        "hatd3": -10,
        "haddpg": -10,
        "haa2c": -12,
    },
    "SimpleReferenceContinuous-v0": {
        "happo": -10,
        "mappo": -10,
        "hatrpo": -13,
        "hatd3": -11,
        "haddpg": -14,
        "maddpg": -14,
        "haa2c": -36,
    },
    "SimpleSpread-v0": {
        "happo-10m": -62,
        "mappo-10m": -58,
        "happo-paper-10m": -62,
        "mappo-paper-10m": -58,
    },
    "MultiHalfCheetah2x3-v0": {"happo": 7000, "mappo": 6850, "hatd3": 8800},
    "MultiHopper3x1-v0": {"happo": 3500, "mappo": 3600, "hatd3": 3550},
    "MultiWalker2d2x3-v0": {"happo": 5400, "mappo": 5000, "hatd3": 7550},
    "MultiAnt4x2-v0": {"happo": 5900, "mappo": 5900, "hatd3": 5900},
}
"""HARL (JMLR 2024), ends of the curves, read off the figures with 2-3 % error. 10 M steps (5 M for
off-policy methods on particle worlds); SimpleSpread by the v2 rules, MuJoCo by Gym's v2 robots. The
HASAC paper's figures are curves we have no numbers of."""
_HEAD = """# Heterogeneous multi-agent learning

Written by `make results-marl`; no figure here is typed by hand. Every run is scored by
`pkubench evaluate` on seeds no learner has met. Intervals are 95 % Student t intervals over
training seeds (n); a row with one run shows the interval over its episodes and says so. Every row
has the same budget of environment steps; off-policy learners make one gradient update for every 20
of them (HARL's ratio). The records, with the command of every run, are in
`benchmarks/results/records/marl`.

*Published* are the ends of HARL's curves at 10 M steps (5 M for off-policy learners on particle
worlds), ten times the budget here. On SimpleSpread they were measured by the v2 rules, where an
agent also collides with itself; the bracket adds the 37.5 an episode that this costs.

"""
_MUJOCO_NOTE = """The robots are Gymnasium's v5. HARL's published returns are of Gym's v2 robots,
which differ in control cost, contact forces, healthy reward and observations, so the two columns
are not on one scale: 'published' only tells what order of return the paper trained to, in 10 M
steps.

"""


def write_page(rows: tuple[Row, ...], scale: float) -> None:
    """Write the page from the records of all finished rows."""
    table = table_of(rows, scale, _CONTROLLERS)
    sections = [_HEAD]
    for title, note, prefix in (
        ("Particle worlds", "", "Simple"),
        ("Multi-Agent MuJoCo", _MUJOCO_NOTE, "Multi"),
    ):
        chosen = [task for task in table if task.startswith(prefix)]
        if chosen:
            sections.append(f"## {title}\n\n{note}")
        for task in chosen:
            sections += markdown(task, table[task], _published(task), _CONTROLLERS.get(task, "-"))
    page = ROOT / "docs/results/marl.md"
    page.write_text("".join([*sections, *_verdicts(table)]))
    print(f"wrote {page}")


def _published(task: str) -> dict[tuple[str, str], str]:
    spread = task.startswith("SimpleSpread")
    return {
        (name, task): f"{value:g}" + (f" ({value - _V2_SHIFT:g} by v3)" if spread else "")
        for name, value in _CURVES.get(task, {}).items()
    }


def _verdicts(table: Table) -> Iterator[str]:
    yield "## The papers' claims\n\n"
    particle = [task for task in _CONTROLLERS if task != "SimpleSpread-v0"]
    robots = [task for task in table if task.startswith("Multi")]
    for title, claim, pairs, tasks in (
        (
            "Separate actors and sequential updates against one shared actor (HARL)",
            "HAPPO should do at least as well as MAPPO, and better where agents must differ.",
            [("happo", "mappo")],
            [*particle, *robots],
        ),
        (
            "Sequential against simultaneous updates, all else equal (HARL)",
            "Only the order of updates differs within a pair; matd3 and maddpg moreover feed the "
            "critic replayed actions of the others, as the official code does.",
            [
                ("happo", "happo-simultaneous"),
                ("hatd3", "hatd3-simultaneous"),
                ("hasac", "hasac-simultaneous"),
                ("hatd3", "matd3"),
                ("haddpg", "maddpg"),
                ("hasac", "masac"),
            ],
            particle,
        ),
        (
            "Maximum entropy against the rest (HASAC)",
            "HASAC should be the best of the four.",
            [("hasac", "hatd3"), ("hasac", "happo"), ("hasac", "mappo")],
            [*particle, *robots],
        ),
    ):
        lines = [text for a, b in pairs for task in tasks if (text := versus(table, task, a, b))]
        if lines:
            yield f"### {title}\n\n{claim}\n\n"
            yield from lines
            yield from (text for a, b in pairs if (text := _over_tasks(table, particle, a, b)))
            yield "\n"


def _over_tasks(table: Table, tasks: list[str], ours: str, theirs: str) -> str:
    """Compare two rows over the particle worlds, on the scale random 0, controller 100."""
    if not all({ours, theirs} <= set(table.get(task, {})) for task in tasks):
        return ""
    x, y = (_normalised(table, tasks, name) for name in (ours, theirs))
    if min(len(x), len(y)) < 2:
        return ""
    better = stratified_bootstrap(x, probability_of_improvement, other=y)
    left, right = stratified_bootstrap(x, iqm), stratified_bootstrap(y, iqm)
    verdict = "no difference shown"
    if better.low > 0.5 or better.high < 0.5:
        verdict = f"{ours if better.low > 0.5 else theirs} is better"
    return (
        f"- Over the three particle worlds, IQM of {ours} {left.estimate:.1f} [{left.low:.1f}, "
        f"{left.high:.1f}], of {theirs} {right.estimate:.1f} [{right.low:.1f}, {right.high:.1f}]; "
        f"a run of {ours} beats one of {theirs} with probability {better.estimate:.2f} "
        f"[{better.low:.2f}, {better.high:.2f}]: {verdict}.\n"
    )


def _normalised(table: Table, tasks: list[str], name: str) -> npt.NDArray[np.float64]:
    """Return (runs, tasks) scores, random 0 and controller 100."""
    columns = []
    for task in tasks:
        lines = table[task]
        low, high = lines["random"].mean("return"), lines[_CONTROLLERS[task]].mean("return")
        values = np.array([run["return"] for run in lines[name].runs])
        columns.append(100 * (values - low) / (high - low))
    return np.stack(columns, axis=1)
