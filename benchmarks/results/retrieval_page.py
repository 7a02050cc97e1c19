"""Writes ``docs/results/retrieval.md``: every figure in it is computed from records here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.results.records import read
from benchmarks.results.retrieval_scores import (
    Anchors,
    area,
    difference,
    normalised,
    steps_to,
    text_of,
    verdict,
)
from benchmarks.results.rows import Row
from pkubench.evaluation.evidence import Sample
from pkubench.evaluation.statistics import iqm, stratified_bootstrap
from pkubench.evaluation.verdicts import MIN_RUNS
from pkubench.tasks.claim import AREA
from pkubench.tasks.registry import make_task

Array = npt.NDArray[Any]
MEMBERS = (
    *("DoorKey6x6", "DistShift1", "RedBlueDoors6x6", "LavaGapS7"),
    *("MemoryS11", "SimpleCrossingS9N2", "MultiRoomN2S4"),
)
"""The tasks of MT7 in its order."""
EARLY = 0.4
"""Share of the budget of the second column: 560,000 of 1,400,000 steps."""
REACHED = 0.5
"""Mean n whose first validation is reported."""
FULL = "retrieval-hypernetwork"
PAPER, NO_MEMORY = f"{FULL}-paper", f"{FULL}-no-memory"
PAIRS = (
    ("retrieval utility: true values against shuffled ones", FULL, f"{FULL}-shuffled"),
    ("keys of the states against random ones", FULL, f"{FULL}-random-keys"),
    ("with the memory against without it", FULL, NO_MEMORY),
    ("the method against PPO conditioned on the task", FULL, "mt-ppo"),
    ("the released profile against no memory", PAPER, NO_MEMORY),
    ("the released profile against PPO conditioned on the task", PAPER, "mt-ppo"),
)
"""What is claimed to be better, with the agents on both sides."""
_HEAD = """# Grid worlds: does retrieval help?

Written by `make results-retrieval`; no score here is entered by hand. One agent learns the seven
tasks of MiniGridMT7 at once, {steps:,} steps in all. The [agents](../agents/retrieval.md) share
all settings but what their names say; `-paper` is the released code's profile.

**Scores** are of policies that sample their actions, n = (R - random) / (optimum - random) for each
task, with the exact optimum by search and random play over 10,000 episodes as on the tasks' own
pages. *IQM* is the interquartile mean over tasks and runs, with a 95 % interval from a bootstrap
stratified by task. At the end each policy plays 100 episodes of each task on the protocol's seeds;
at {early:,} steps, and for the area under the curve, the validations have five episodes of each
task, on seeds that nothing else uses. *Area* is under the curve of n over the 20 validations, as
a share of the steps. *Steps to {reached}* is the median over runs of the first validation with a
mean n of at least {reached}. An agent that does not remember the cue of MemoryS11 reaches about
half of its optimum.

"""
_UTILITY = """## What the memory is worth

The paper's abstract claims that its method "significantly outperforms strong baselines" on many
tasks of MiniGrid; its tables were not available to us. If the claim holds, and for the reason
given, each of these differences of the area under the curve (mean over tasks) is above 0. They are
of runs with the same training seed: mean and 95 % Student t interval over seeds. *Supported*: the
interval lies above 0; *contradicted*: below; *not shown*: it does not exclude 0. The memory
corrects the critic and never acts, so shuffling it in an evaluation would change nothing: both
agents of a pair were trained.

| | difference [95 %] | n | verdict |
|---|---|---|---|
"""


class Runs(NamedTuple):
    """The normalised scores of a row's runs."""

    seeds: tuple[int, ...]
    """Their training seeds, in the order of the rest."""
    final: Array
    """(runs, tasks), of the protocol."""
    early: Array
    """(runs, tasks), of the validation at 40 % of the budget."""
    area: Array
    """(runs, tasks), under the curve of the validations."""
    reached: float
    """Median over runs of the steps to a mean score of ``REACHED``; infinite: not reached."""
    seconds: float


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records that there are."""
    budget = rows[0].budget(scale)
    found = {row.name: runs for row in rows if (runs := runs_of(row, scale)) is not None}
    sections = [_HEAD.format(steps=budget, early=int(budget * EARLY), reached=REACHED)]
    if found:
        sections += [*_table(found, budget), *_by_task(found), *_utility(found)]
    return "".join([*sections, *_tracks(), *_unfinished(rows, scale)])


def runs_of(row: Row, scale: float) -> Runs | None:
    """Return the scores of a row's runs; None if fewer than ``MIN_RUNS`` are done."""
    budget = row.budget(scale)
    records = {seed: read(row, seed, budget) for seed in range(row.seeds)}
    seeds = tuple(seed for seed, record in records.items() if record is not None)
    known = [record for record in records.values() if record is not None]
    if len(known) < MIN_RUNS:
        return None
    curves = [record["validation"]["curve"] for record in known]
    known_anchors = anchors()
    every = np.array([[normalised(point, known_anchors) for point in curve] for curve in curves])
    times = np.array([[point["at"] for point in curve] for curve in curves])
    at = np.abs(times - EARLY * budget).argmin(1)
    pairs = list(zip(times.tolist(), every, strict=True))
    return Runs(
        seeds,
        np.array([normalised(record["sampled"]["by_option"], known_anchors) for record in known]),
        every[np.arange(len(known)), at],
        np.array([area(steps, scores) for steps, scores in pairs]),
        float(np.median([steps_to(REACHED, steps, scores) for steps, scores in pairs])),
        float(np.mean([record["seconds"] for record in known])),
    )


def samples(rows: tuple[Row, ...]) -> Iterator[Sample]:
    """Yield the rows with enough runs as evidence for claims.

    Returns and successes are those of the policies that sample their actions, at the end.
    """
    for row in rows:
        runs = runs_of(row, 1.0)
        if runs is None:
            continue
        found = (read(row, seed, row.steps) for seed in runs.seeds)
        ends = [record["sampled"]["metrics"] for record in found if record is not None]
        yield Sample(
            agent=row.agent,
            task=make_task(row.task).id,
            unit="steps",
            budget=float(row.steps),
            seeds=tuple(map(str, runs.seeds)),
            metrics={
                AREA.name: tuple(np.round(runs.area.mean(1), 6).tolist()),
                **{m: tuple(end[m]["mean"] for end in ends) for m in ("return", "success")},
            },
        )


def anchors() -> Anchors:
    """Return what random play and the shortest ways earn in each task of MT7."""
    found = (make_task(f"MiniGrid{name}-v0").references for name in MEMBERS)
    return [(of["random"].score, of["reference"].score) for of in found]


def _table(found: Mapping[str, Runs], budget: int) -> Iterator[str]:
    yield (
        f"| agent | IQM at the end [95 %] | IQM at 40 % | area | steps to {REACHED} | n | "
        "seconds per run |\n|---|---|---|---|---|---|---|\n"
    )
    for name, runs in found.items():
        both = (runs.final, runs.early)
        cells = [text_of(stratified_bootstrap(scores, iqm)) for scores in both]
        cells.append(text_of(stratified_bootstrap(runs.area, np.mean)))
        cells.append(f"{runs.reached:,.0f}" if np.isfinite(runs.reached) else f"> {budget:,}")
        yield f"| {' | '.join([name, *cells, str(len(runs.final))])} | {runs.seconds:.0f} |\n"
    yield "\n"


def _by_task(found: Mapping[str, Runs]) -> Iterator[str]:
    yield "## By task\n\nMeans of n at the end, over runs.\n\n"
    yield f"| agent | {' | '.join(MEMBERS)} |\n|---|{'---|' * len(MEMBERS)}\n"
    for name, runs in found.items():
        cells = [f"{score:.2f}" for score in runs.final.mean(0)]
        yield f"| {name} | {' | '.join(cells)} |\n"
    yield "\n"


def _utility(found: Mapping[str, Runs]) -> Iterator[str]:
    known = [(words, ours, other) for words, ours, other in PAIRS if {ours, other} <= found.keys()]
    if not known:
        return
    yield _UTILITY
    for words, ours, other in known:
        common = sorted({*found[ours].seeds} & {*found[other].seeds})
        if common:
            areas = (_areas(found[name], common) for name in (ours, other))
            mean, count = difference(*areas)
            yield f"| {words} | {text_of(mean)} | {count} | {verdict(mean)} |\n"
    yield "\n"


def _areas(runs: Runs, seeds: Sequence[int]) -> list[float]:
    """Return the areas of some seeds' runs, the means over tasks."""
    rows = [runs.seeds.index(seed) for seed in seeds]
    areas: list[float] = runs.area[rows].mean(1).tolist()
    return areas


def _tracks() -> Iterator[str]:
    yield (
        "## More\n\n"
        "The paper's claims, and the control that they need, are judged by these runs on\n"
        "[the page of claims](../claims.md) (`pkubench claims --suite retrieval`). What a bank of\n"
        "smaller levels is worth is [a page of its own](retrieval-transfer.md) (track B), and so\n"
        "is [what retrievers find](retrieval-quality.md), against exact answers (track C).\n\n"
    )


def _unfinished(rows: Sequence[Row], scale: float) -> Iterator[str]:
    """Yield a section on the rows whose runs are not all done."""
    missing = []
    for row in rows:
        done = sum(read(row, seed, row.budget(scale)) is not None for seed in range(row.seeds))
        if done < row.seeds:
            missing.append(f"- {row.name}: {done} of {row.seeds} runs\n")
    if missing:
        yield (
            "## Not yet measured\n\n"
            f"Rows are shown from {MIN_RUNS} runs on; these are not complete:\n\n"
        )
        yield from missing
