"""Writes ``docs/results/retrieval.md``: every figure in it is computed from records here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.results.page import unfinished
from benchmarks.results.records import BY_OPTION, read
from benchmarks.results.rows import Row
from pkubench.evaluation.statistics import Interval, iqm, mean_interval, stratified_bootstrap
from pkubench.tasks.registry import make_task

Array = npt.NDArray[Any]
MEMBERS = (
    *("DoorKey6x6", "DistShift1", "RedBlueDoors6x6", "LavaGapS7"),
    *("MemoryS11", "SimpleCrossingS9N2", "MultiRoomN2S4"),
)
"""The tasks of MT7 in its order."""
EARLY = 0.4
"""Share of the budget of the second column: 560,000 of 1,400,000 steps."""
FULL = "retrieval-hypernetwork"
PAIRS = {
    "retrieval utility: true against shuffled values": f"{FULL}-shuffled",
    "with against without the memory": f"{FULL}-no-memory",
    "against random keys": f"{FULL}-random-keys",
    "against PPO conditioned on the task": "mt-ppo",
}
_HEAD = """# Grid worlds: does retrieval help?

Written by `make results-retrieval`; no score here is entered by hand. One agent learns the seven
tasks of MiniGridMT7 at once, {steps:,} steps in all. The [agents](../agents/retrieval.md) share
all settings but what their names say; `-paper` is the released code's profile.

**Scores** are of policies that sample their actions, n = (R - random) / (optimum - random) for each
task, with the exact optimum by search and random play over 10,000 episodes as on the tasks' own
pages. *IQM* is the interquartile mean over tasks and runs, with a 95 % interval from a bootstrap
stratified by task. At the end each policy plays 100 episodes of each task on the protocol's seeds;
at {early:,} steps, and for the area under the curve, the validations have five episodes of each
task, on seeds that nothing else uses. *Area* is the mean of n over the 20 validations. An agent
that does not remember the cue of MemoryS11 reaches about half of its optimum.

"""
_UTILITY = """## What the memory is worth

Differences of the area under the curve (mean over tasks), of runs with the same training seed: mean
and 95 % Student t interval over seeds. The memory corrects the critic and never acts, so shuffling
it in an evaluation would change nothing: both agents of a pair were trained.

| `{full}` | difference [95 %] | n |
|---|---|---|
"""


class Runs(NamedTuple):
    """The normalised scores of a row's runs."""

    final: Array
    """(runs, tasks), of the protocol."""
    early: Array
    """(runs, tasks), of the validation at 40 % of the budget."""
    area: Array
    """(runs, tasks), means over validations."""
    seconds: float


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records of all finished rows."""
    budget = rows[0].budget(scale)
    found = {row.name: runs for row in rows if (runs := runs_of(row, scale)) is not None}
    sections = [_HEAD.format(steps=budget, early=int(budget * EARLY))]
    if found:
        sections += [*_table(found), *_by_task(found), *_utility(found)]
    return "".join([*sections, *unfinished(rows, scale)])


def runs_of(row: Row, scale: float) -> Runs | None:
    """Return the scores of a row's runs; None if one is missing."""
    budget = row.budget(scale)
    records = [read(row, seed, budget) for seed in range(row.seeds)]
    known = [record for record in records if record is not None]
    if len(known) < row.seeds:
        return None
    curves = [record["validation"]["curve"] for record in known]
    every = np.array([[_normalised(point) for point in curve] for curve in curves])
    times = np.array([[point["at"] for point in curve] for curve in curves])
    at = np.abs(times - EARLY * budget).argmin(1)
    return Runs(
        np.array([_normalised(record["sampled"]["by_option"]) for record in known]),
        every[np.arange(len(known)), at],
        every.mean(1),
        float(np.mean([record["seconds"] for record in known])),
    )


def _normalised(returns: Mapping[str, float]) -> list[float]:
    """Return the normalised score of each task, of mean returns by option."""
    scores = []
    for k, name in enumerate(MEMBERS):
        anchors = make_task(f"MiniGrid{name}-v0").references
        low, high = anchors["random"].score, anchors["reference"].score
        scores.append((returns[f"{BY_OPTION}task={k}"] - low) / (high - low))
    return scores


def _table(found: Mapping[str, Runs]) -> Iterator[str]:
    yield "| agent | IQM at the end [95 %] | IQM at 40 % | area | n | seconds per run |\n"
    yield "|---|---|---|---|---|---|\n"
    for name, runs in found.items():
        cells = [_text(stratified_bootstrap(scores, iqm)) for scores in runs[:2]]
        area = _text(stratified_bootstrap(runs.area, np.mean))
        yield f"| {name} | {cells[0]} | {cells[1]} | {area} | {len(runs.final)} | "
        yield f"{runs.seconds:.0f} |\n"
    yield "\n"


def _by_task(found: Mapping[str, Runs]) -> Iterator[str]:
    yield "## By task\n\nMeans of n at the end, over runs.\n\n"
    yield f"| agent | {' | '.join(MEMBERS)} |\n|---|{'---|' * len(MEMBERS)}\n"
    for name, runs in found.items():
        cells = [f"{score:.2f}" for score in runs.final.mean(0)]
        yield f"| {name} | {' | '.join(cells)} |\n"
    yield "\n"


def _utility(found: Mapping[str, Runs]) -> Iterator[str]:
    if FULL not in found:
        return
    yield _UTILITY.format(full=FULL)
    for words, other in PAIRS.items():
        if other in found:
            difference, count = paired(found[FULL].area, found[other].area)
            yield f"| {words} | {_text(difference)} | {count} |\n"
    yield "\n"


def paired(ours: Array, theirs: Array) -> tuple[Interval, int]:
    """Return the mean difference of runs (runs, tasks) with the same seed, and their number."""
    count = min(len(ours), len(theirs))
    differences: Sequence[float] = (ours[:count].mean(1) - theirs[:count].mean(1)).tolist()
    return mean_interval(differences), count


def _text(found: Interval) -> str:
    if not np.isfinite(found.low):
        return f"{found.estimate:.3f}"
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"
