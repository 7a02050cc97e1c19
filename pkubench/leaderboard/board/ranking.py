"""The rankings: ranks for each task, aggregates for each suite. Computed, never stored.

Rules, the same for everyone:

* an entry is ranked when the board verified it, it has at least :data:`MIN_SEEDS` training seeds
  within the task's training budget, it played exactly the protocol's episodes and none failed;
  every other entry is shown with the reason why it is not ranked;
* where the board played secret episodes too (a served board does), the score is that of these;
* a task ranks by the mean over runs of its ranking metric; equal means share a rank;
* a task with a cost limit ranks entries whose mean cost is within the limit by return, and after
  them the others, the lowest cost first;
* a suite ranks by the interquartile mean of the normalised scores over all runs and tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pkubench.errors import counted
from pkubench.evaluation.metrics import EXACT_DIGITS, feasible
from pkubench.evaluation.normalised import normalised_scores
from pkubench.evaluation.report import Report
from pkubench.evaluation.statistics import (
    Interval,
    iqm,
    rank_intervals,
    stratified_bootstrap,
)
from pkubench.leaderboard.board.entries import Entry, Submitter
from pkubench.leaderboard.board.tiers import Tier
from pkubench.tasks.task import Task

MIN_SEEDS = 5
"""Training seeds a ranked entry needs; fewer say too little about the algorithm."""
EVALUATION_SEED = 0
"""Everyone plays the same episodes."""
RESAMPLES = 2000

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One entry's line in a task's table."""

    entry: Entry
    rank: int | None
    """1 is best; equal scores share a rank; None where the entry is not ranked."""
    rank_range: tuple[int, int] | None
    """95 % interval of the rank over resampled runs."""
    unranked: str | None
    """Why the entry has no rank."""
    score: Interval | None
    """The ranking metric of the report; None if an episode failed."""
    cost: Interval | None
    """The same of the cost, on tasks with a cost limit."""
    feasible: bool | None
    """Whether the mean cost is within the limit; None on tasks without one."""
    normalised: float | None
    """0 is the task's floor, 1 the reference; None over the cost limit or without references."""

    def to_json(self) -> dict[str, Any]:
        """Return the standing as JSON values; bounds that are not known are null."""
        entry = self.entry
        kept = entry.public.constraint  # exact, so never of secret episodes
        return {
            "rank": self.rank,
            "rank_range": self.rank_range,
            "name": entry.submitter.name,
            "submission": entry.submitter.digest,
            "tier": entry.verdict.tier.value,
            "score": _interval_json(self.score),
            "is_secret": entry.is_secret,
            "gap": entry.gap,
            "normalised": self.normalised,
            "cost": _interval_json(self.cost),
            "feasible": self.feasible,
            "constraint": None if kept is None else kept.to_json(),
            "seeds": entry.seeds,
            "unranked": self.unranked,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteStanding:
    """One submission's line in a suite's table."""

    submitter: Submitter
    rank: int | None
    rank_range: tuple[int, int] | None
    unranked: str | None
    aggregate: Interval | None
    """IQM of normalised scores with its stratified-bootstrap interval; None if a task has none."""
    tasks: tuple[str, ...]
    """Tasks of the suite that it was evaluated on."""
    seeds: int
    """Runs per task in the aggregate."""


def rank_task(task: Task, entries: Sequence[Entry], seed: int = 0) -> tuple[Standing, ...]:
    """Rank the entries of one task; ranked ones first, then by score.

    Args:
        task: gives metric, direction and cost limit.
        entries: entries of this task, at most one per submission.
        seed: of the resampling behind the rank intervals.
    """
    is_secret = any(entry.is_secret for entry in entries)
    why = {entry.key: _why_not(task, entry, is_secret) for entry in entries}
    ranked = [entry for entry in entries if why[entry.key] is None]
    keys = {entry.key: _key(task, _table(task, entry)) for entry in ranked}
    ranges = _rank_ranges(task, ranked, seed)
    standings = []
    for entry in entries:
        score = entry.interval(task.ranking.name)
        rank = None
        if entry.key in keys:
            rank = 1 + sum(other > keys[entry.key] for other in keys.values())
        standings.append(
            Standing(
                entry=entry,
                rank=rank,
                rank_range=ranges.get(entry.key),
                unranked=why[entry.key],
                score=score,
                cost=None if task.cost_limit is None else entry.interval("cost"),
                feasible=entry.report.feasible,
                normalised=None
                if score is None or entry.report.feasible is False
                else task.normalised(score.estimate),
            )
        )
    return tuple(sorted(standings, key=lambda standing: _order(task, standing)))


def rank_suite(
    tasks: Sequence[Task], standings: Mapping[str, Sequence[Standing]], seed: int = 0
) -> tuple[SuiteStanding, ...]:
    """Aggregate over the tasks of a suite.

    Args:
        tasks: the suite's tasks that have entries on the board and both reference scores.
        standings: what :func:`rank_task` gave for each task id.
        seed: of the resampling.
    """
    by_submission: dict[str, dict[str, Standing]] = {}
    for task in tasks:
        for standing in standings[task.id]:
            digest = standing.entry.submitter.digest
            by_submission.setdefault(digest, {})[task.id] = standing
    reports = {
        task.id: {one.entry.submitter.digest: _comparable(one.entry) for one in standings[task.id]}
        for task in tasks
    }
    scores = normalised_scores(reports, tasks, seed=EVALUATION_SEED, shared=False)
    matrices = scores.matrices
    why = {digest: _why_not_in_suite(tasks, own) for digest, own in by_submission.items()}
    compared = {d: matrices[d].scores for d, reason in why.items() if reason is None}
    ranges = (
        rank_intervals(compared, seed=seed, resamples=RESAMPLES, statistic=iqm) if compared else {}
    )
    values = {digest: iqm(array) for digest, array in compared.items()}
    found = []
    for digest, own in by_submission.items():
        matrix = matrices.get(digest)
        aggregate = None
        if matrix is not None and len(matrix.tasks) == len(own):
            aggregate = stratified_bootstrap(matrix.scores, iqm, seed=seed, resamples=RESAMPLES)
        rank = None
        if digest in values:
            rank = 1 + sum(other > values[digest] for other in values.values())
        found.append(
            SuiteStanding(
                submitter=next(iter(own.values())).entry.submitter,
                rank=rank,
                rank_range=_whole(ranges[digest]) if digest in ranges else None,
                unranked=why[digest],
                aggregate=aggregate,
                tasks=tuple(own),
                seeds=0 if matrix is None else len(matrix.scores),
            )
        )
    return tuple(sorted(found, key=_suite_order))


def _comparable(entry: Entry) -> Report:
    """Return the report that ranks; secret episodes, the same for all, stand for the public set."""
    return replace(entry.report, seed=EVALUATION_SEED) if entry.is_secret else entry.report


def _interval_json(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    return {k: None if math.isnan(v) else v for k, v in interval._asdict().items()}


def _why_not_in_suite(tasks: Sequence[Task], own: Mapping[str, Standing]) -> str | None:
    """Return why a submission is not ranked in a suite, None if it is."""
    unranked = [standing.unranked for standing in own.values() if standing.unranked]
    if unranked:
        return unranked[0]
    if len(own) < len(tasks):
        return f"has {len(own)} of the {len(tasks)} tasks compared here"
    infeasible = sum(standing.feasible is False for standing in own.values())
    if infeasible:
        return f"over the cost limit on {infeasible} of {len(tasks)} tasks"
    return None


def _why_not(task: Task, entry: Entry, is_secret: bool) -> str | None:
    """Return why an entry is not ranked, None if it is; ``is_secret``: others are by secrets."""
    report, wanted = entry.public, task.protocol.episodes
    for played in (entry.public, entry.report):
        if played.failed:
            total = counted(played.episodes * len(played.runs), "episode")
            return f"{played.failed} of {total} failed"
    if entry.submitter.manifest.kind == "named":
        return "a baseline that is not trained"
    if entry.verdict.tier is Tier.FLAGGED:
        return entry.verdict.reason
    if not entry.verdict.tier.is_ranked:
        return "self-reported: not run again by this board"
    if report.seed != EVALUATION_SEED:
        return f"evaluated on the episodes of seed {report.seed}, not {EVALUATION_SEED}"
    if report.episodes < wanted:
        return f"{report.episodes} of the {wanted} episodes per run that a rank needs"
    if report.episodes > wanted:  # the number could be chosen so that it ends on lucky ones
        return f"{counted(report.episodes, 'episode')} per run; a rank compares the same {wanted}"
    if is_secret and not entry.is_secret:
        return "not played on the secret episodes by which others are ranked here"
    if entry.submitter.manifest.kind == "code":
        return f"code is one run, whatever it was trained with; a rank needs {MIN_SEEDS}"
    if entry.submitter.manifest.kind == "population":
        return f"a population file does not record training seeds; a rank needs {MIN_SEEDS}"
    if entry.seeds < MIN_SEEDS:
        return f"{entry.seeds} of the {MIN_SEEDS} training seeds a rank needs"
    steps = [run.steps for run in entry.runs if run.steps is not None]
    if len(steps) < len(entry.runs) and task.protocol.training_steps is not None:
        return "does not record for how many steps it was trained"
    longest, budget = max(steps, default=0), task.protocol.training_steps
    if budget is not None and longest > budget:
        return f"trained for {longest:,} steps; the budget is {budget:,}"
    if entry.values(task.ranking.name) is None:
        return f"its records have no {task.ranking.name}"
    if task.cost_limit is not None and entry.values("cost") is None:
        return "its records have no cost"
    return None


def _table(task: Task, entry: Entry) -> FloatArray:
    """Return (runs, 2): goodness (larger is better) and cost (0 on tasks without a limit)."""
    score = entry.values(task.ranking.name)
    assert score is not None
    cost = entry.values("cost") if task.cost_limit is not None else np.zeros_like(score)
    assert cost is not None
    return np.stack([score if task.ranking.higher_is_better else -score, cost], axis=1)


def _key(task: Task, table: FloatArray) -> tuple[bool, float]:
    """Return what entries of a task are sorted by, larger is better."""
    goodness, cost = map(float, table.mean(axis=0))
    if task.ranking.interval == "exact":
        goodness = round(goodness, EXACT_DIGITS)
    return (False, -cost) if feasible(task, cost) is False else (True, goodness)


def _rank_ranges(task: Task, entries: Sequence[Entry], seed: int) -> dict[str, tuple[int, int]]:
    """Return the interval of each rank.

    Return and cost of a run belong together, so the indices of runs are resampled; the statistic
    looks up their values.
    """
    if not entries:
        return {}
    tables = [_table(task, entry) for entry in entries]
    everything = np.concatenate(tables)
    ends = np.cumsum([len(table) for table in tables])
    numbers = {
        entry.key: np.arange(end - len(table), end, dtype=np.float64)[:, None]
        for entry, table, end in zip(entries, tables, ends, strict=True)
    }
    # Puts every infeasible mean below every feasible one.
    lowest = float(everything[:, 0].min()) - 1.0

    def statistic(sample: FloatArray) -> float:
        is_within, value = _key(task, everything[sample[:, 0].astype(np.intp)])
        return value if is_within else lowest + value

    def rows(samples: FloatArray) -> FloatArray:
        """Do the same for (resamples, runs, 1) samples at once: boards may have many entries."""
        goodness, cost = np.moveaxis(everything[samples[..., 0].astype(np.intp)].mean(axis=1), 1, 0)
        if task.ranking.interval == "exact":
            goodness = np.round(goodness, EXACT_DIGITS)
        limit = math.inf if task.cost_limit is None else task.cost_limit
        found: FloatArray = np.where(cost <= limit, goodness, lowest - cost)
        return found

    intervals = rank_intervals(
        numbers, seed=seed, resamples=RESAMPLES, statistic=statistic, rows=rows
    )
    return {key: _whole(interval) for key, interval in intervals.items()}


def _whole(interval: Interval) -> tuple[int, int]:
    # Ties share the mean of their ranks there, and the best of them here.
    return math.floor(interval.low), math.ceil(interval.high)


def _order(task: Task, standing: Standing) -> tuple[object, ...]:
    """Sort key: ranked, then unranked as they would rank, then those without a score."""
    if standing.rank is not None:
        return (0, standing.rank, standing.entry.key)
    if standing.score is None:
        return (2, 0.0, standing.entry.key)
    if standing.feasible is False and standing.cost is not None:  # below all within the limit
        return (1, math.inf, standing.cost.estimate, standing.entry.key)
    sign = -1.0 if task.ranking.higher_is_better else 1.0
    return (1, sign * standing.score.estimate, 0.0, standing.entry.key)


def _suite_order(standing: SuiteStanding) -> tuple[object, ...]:
    name, digest = standing.submitter.name, standing.submitter.digest
    if standing.rank is not None:
        return (0, standing.rank, name, digest)
    if standing.aggregate is None:
        return (2, 0.0, name, digest)
    return (1, -standing.aggregate.estimate, name, digest)


__all__ = ["MIN_SEEDS", "Interval", "Standing", "SuiteStanding", "rank_suite", "rank_task"]
