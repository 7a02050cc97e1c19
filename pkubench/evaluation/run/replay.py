"""Playing recorded episodes again: the same bytes, or what else can be said.

Episodes that come out byte for byte settle it. Where some do not, the question is whether the
machine explains it:

1. nothing that can change the last bits differs (versions, instruction sets, kernel of the linear
   algebra, C library): the agent does not play these episodes;
2. the recorded kernel and instruction sets can be chosen here: the episodes are played once more in
   child processes that use them, and have to be the same bytes then;
3. otherwise the means of each run are compared by :func:`disagreement`, a two-sample test. It says
   nothing about single episodes, so published figures are those of the episodes played here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from pkubench.envs.core.registry import resolve
from pkubench.errors import AgentError, RecordError, counted
from pkubench.evaluation.report import RunRecords
from pkubench.evaluation.run.episodes import ran_late
from pkubench.evaluation.run.execution import Backend, Job, Limits
from pkubench.evaluation.run.harness import backend_for, versions_for
from pkubench.evaluation.run.machine import differences, environment_of, machine, machines_of
from pkubench.evaluation.run.sources import AgentSource
from pkubench.evaluation.run.workers import ProcessPool, check_undisturbed
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.task import Task

LEVEL = 0.001
"""Probability that the test rejects an honest evaluation, over all its runs and metrics."""
EXACT_TOLERANCE = 1e-9
"""Largest relative difference of scores that are computed, or that do not vary between episodes."""

Played = dict[tuple[str, int], EpisodeRecord]
"""Label of a run and number of an episode -> its record."""
Blocks = Mapping[str, Sequence[int]]
"""Label of a run -> first episodes of the blocks to play again."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What came out when recorded episodes were played again."""

    replayed: int
    """Episodes that were played again."""
    reproduced: int
    """Those that gave the same line, byte for byte, here or with the recorded machine's kernel."""
    problem: str
    """Why the records are not what the agent plays, in a sentence; empty if they may be."""
    how: str
    """What was compared and how, in a sentence."""
    records: Mapping[str, Sequence[EpisodeRecord]]
    """Label of a run -> its episodes as they were played here, in order."""
    is_late: bool = False
    """Whether the only problem is the clock, which says nothing about the records."""


def replay(
    runs: Sequence[RunRecords],
    agent: AgentSource,
    task: Task,
    blocks: Blocks,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    backend: Backend | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Play blocks of recorded episodes again and compare.

    Args:
        runs: Records of one evaluation.
        agent: Has a run of each of their labels.
        task: What was evaluated.
        blocks: Which blocks to play.
        workers: Processes for that.
        limits: How long the agent may take.
        backend: Where blocks run; overrides ``workers`` (and rules out case 2).
        progress: Called with episodes done and episodes in all.

    Raises:
        RecordError: the agent has no run of a recorded label.
        AgentError: the agent cannot be loaded.
        WorkerError: its process was ended from outside.
    """
    limits, started = limits or Limits(), time.monotonic()
    jobs, owners = _jobs(runs, agent, task, blocks, limits)
    played = _play(jobs, owners, backend or backend_for(agent, workers), backend is None, progress)
    by_run = _by_run(runs, played)
    recorded = {(run.label, r.episode): r for run in runs for r in run.records}
    check_undisturbed(r.failure for key, r in played.items() if recorded[key].failure is None)
    late = sum(ran_late(recorded[key]) for key in played)
    count = len(played)
    noun, verb = task.scoring.unit, task.scoring.done
    what = f"{counted(count, noun)} {verb}"
    aside = f" ({counted(late, noun)} that failed by the clock left aside)" if late else ""
    slow = sum(ran_late(r) and not ran_late(recorded[key]) for key, r in played.items())
    if slow:
        problem = f"{counted(slow, noun)} did not end within the time limits when {verb} again"
        return Replay(count, count - slow, problem, problem, by_run, is_late=True)
    different = [job for job in jobs if _differs(job, owners[job.index], played, task)]
    if not different:
        how = f"{count} of {what} again came out as the same bytes{aside}"
        return Replay(count, count, "", how, by_run)
    here, then, versions = machine(), _machines(runs), _versions(runs, task, agent.runtimes)
    why = [*versions, *differences(then, here)]
    variables = environment_of(then, here) if why and not versions else {}
    there: Played | None = None
    if variables and backend is None and _is_portable(agent):
        left = time_left(limits, started)
        again, owner = _jobs(runs, agent, task, _blocks(different, owners), left)
        there = _play_as_there(again, owner, max(workers, 1), variables)
    as_there = played | (there or {})
    equal = sum(
        _agrees(record, as_there[run.label, record.episode], task)
        for run in runs
        for record in run.records
        if (run.label, record.episode) in as_there
    )
    if equal == count:
        how = (
            f"{count} of {what} again came out as the same bytes{aside}, {_count(different)} of "
            f"them with the recorded kernel and instruction sets ({'; '.join(why)})"
        )
        return Replay(count, equal, "", how, by_run)
    missed = f"{count - equal} of {what} again came out differently{aside}"
    if not why or there is not None:
        also = "" if there is None else ", with the recorded kernel and instruction sets too"
        problem = f"{missed}{also}: {_first_difference(runs, as_there, task)}"
        return Replay(count, equal, problem, problem, by_run)
    found = disagreement(runs, played, task)
    how = (
        f"{missed} ({'; '.join(why)}), so each run's means were compared by Welch's test at a "
        f"level of {LEVEL:g} over all of them"
    )
    problem = f"{how}: {found}" if found else ""
    return Replay(count, equal, problem, problem or f"{how}; they agree", by_run)


def time_left(limits: Limits, started: float) -> Limits:
    """Return limits without the time that has passed since ``started`` (monotonic clock)."""
    if limits.total is None:
        return limits
    return replace(limits, total=max(limits.total - (time.monotonic() - started), 0.0))


def _blocks(jobs: Sequence[Job], owners: Sequence[RunRecords]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {run.label: [] for run in owners}
    for job in jobs:
        found[owners[job.index].label].append(job.first)
    return found


def disagreement(
    runs: Sequence[RunRecords], played: Mapping[tuple[str, int], EpisodeRecord], task: Task
) -> str:
    """Return where recorded and played episodes have other means, in words; empty if nowhere.

    Each metric of each run, and its share of failed episodes, is compared by Welch's two-sample
    test, two-sided, at ``LEVEL`` divided by the number of comparisons (Bonferroni). Scores that are
    computed rather than sampled may differ by ``EXACT_TOLERANCE``.
    """
    level = LEVEL / (len(runs) * (len(task.metrics) + 1))
    for run in runs:
        pairs = [
            (record, played[run.label, record.episode])
            for record in run.records
            if (run.label, record.episode) in played
        ]
        failed = [[float(r.failure is not None) for r in side] for side in zip(*pairs, strict=True)]
        if differ(failed[0], failed[1], level):
            return f"run {run.label}: {_sum(failed[0])} episodes failed then, {_sum(failed[1])} now"
        for metric in task.metrics:
            name = metric.name
            then, now = (
                [value for record in side if (value := record.value(name)) is not None]
                for side in zip(*pairs, strict=True)
            )
            if differ(then, now, level, is_exact=metric.interval == "exact"):
                return f"run {run.label}: mean {name} {_mean(then)} then, {_mean(now)} now"
    return ""


def differ(
    then: Sequence[float], now: Sequence[float], level: float, *, is_exact: bool = False
) -> bool:
    """Return whether two samples have different means at a level, by Welch's test.

    Values that are computed, or the same in all episodes, may differ by ``EXACT_TOLERANCE``. A
    single sampled value on either side is never a difference.
    """
    a, b = np.asarray(then, np.float64), np.asarray(now, np.float64)
    if not (len(a) and len(b)):
        return len(a) != len(b)
    scale = max(np.abs(a).max(), np.abs(b).max(), 1.0)
    is_single = min(len(a), len(b)) < 2
    if is_exact or (not is_single and max(a.std(), b.std()) <= EXACT_TOLERANCE * scale):
        return bool(abs(a.mean() - b.mean()) > EXACT_TOLERANCE * scale)
    return not is_single and bool(stats.ttest_ind(a, b, equal_var=False).pvalue < level)


def _jobs(
    runs: Sequence[RunRecords], agent: AgentSource, task: Task, blocks: Blocks, limits: Limits
) -> tuple[list[Job], list[RunRecords]]:
    sources = {run.label: run for run in agent.runs}
    jobs: list[Job] = []
    owners: list[RunRecords] = []
    for run in runs:
        if run.label not in sources:
            raise RecordError(f"agent {agent.name!r} has no run {run.label!r} to play again")
        size = int(run.settings["block"])
        planned = task.scoring.plan(task, int(run.settings["seed"]), len(run.records))
        for first in blocks[run.label]:
            jobs.append(
                Job(
                    index=len(jobs),
                    task=task,
                    env=resolve(task.id),
                    run=sources[run.label],
                    owner=agent.name,
                    episodes=tuple(planned[first : first + size]),
                    limits=limits,
                )
            )
            owners.append(run)
    return jobs, owners


def _play(
    jobs: Sequence[Job],
    owners: Sequence[RunRecords],
    backend: Backend,
    is_own: bool,
    progress: Callable[[int, int], None] | None,
) -> Played:
    """Return the records of jobs by run and episode; close the backend if it is ours."""
    played: Played = {}
    total = sum(len(job.episodes) for job in jobs)
    try:
        for result in backend.map(jobs):
            label = owners[result.job.index].label
            played |= {(label, record.episode): record for record in result.records}
            if progress is not None:
                progress(len(played), total)
    finally:
        if is_own:
            backend.close()
    return played


def _play_as_there(
    jobs: Sequence[Job], owners: Sequence[RunRecords], workers: int, variables: Mapping[str, str]
) -> Played | None:
    """Play with the recorded kernel and instruction sets; None where no such process starts."""
    try:
        played = _play(jobs, owners, ProcessPool(workers, variables), True, None)
    except AgentError:
        return None
    check_undisturbed(record.failure for record in played.values())
    return played


def _differs(job: Job, run: RunRecords, played: Played, task: Task) -> bool:
    numbers = range(job.first, job.first + len(job.episodes))
    return not all(_agrees(run.records[n], played[run.label, n], task) for n in numbers)


def _agrees(then: EpisodeRecord, again: EpisodeRecord, task: Task) -> bool:
    return ran_late(then) or then.line(task) == again.line(task)


def _by_run(runs: Sequence[RunRecords], played: Played) -> dict[str, list[EpisodeRecord]]:
    return {
        run.label: [
            played[run.label, record.episode]
            for record in run.records
            if (run.label, record.episode) in played
        ]
        for run in runs
    }


def _machines(runs: Sequence[RunRecords]) -> list[Mapping[str, str]]:
    """Return the different machines that wrote the records; records of old name none."""
    found: list[Mapping[str, str]] = []
    for run in runs:
        for facts in machines_of(run.settings):
            found += [facts] if facts not in found else []
    return found


def _versions(runs: Sequence[RunRecords], task: Task, runtimes: Sequence[str]) -> list[str]:
    settings = runs[0].settings
    then = dict(settings["versions"])
    now = versions_for(task, runtimes)
    return [
        f"{name} {then.get(name, 'unknown')} then, {version} now"
        for name, version in now.items()
        if then.get(name) != version
    ]


def _is_portable(agent: AgentSource) -> bool:
    """Return whether another process can load the agent."""
    return isinstance(backend_for(agent, 1), ProcessPool)


def _first_difference(runs: Sequence[RunRecords], played: Played, task: Task) -> str:
    for run in runs:
        for record in run.records:
            again = played.get((run.label, record.episode))
            if again is None or _agrees(record, again, task):
                continue
            where = f"{run.label}, episode {record.episode}"
            for what, then, now in _numbers(record, again, task):
                if then != now:
                    return f"{where} has {what} {_text(then)} in the records and {_text(now)} now"
    return "the lines differ"


def _numbers(
    then: EpisodeRecord, now: EpisodeRecord, task: Task
) -> list[tuple[str, float | str | None, float | str | None]]:
    metrics = [metric.name for metric in task.metrics]
    return [
        ("failure", then.failure, now.failure),
        *((name, then.value(name), now.value(name)) for name in metrics),
        ("length", then.length, now.length),
        *((f"return of {k}", v, now.returns.get(k)) for k, v in then.returns.items()),
        *((k, v, now.metrics.get(k)) for k, v in then.metrics.items()),
    ]


def _text(value: float | str | None) -> str:
    return f"{value:.10g}" if isinstance(value, float) else f"{value!s:.80}"


def _count(jobs: Sequence[Job]) -> int:
    return sum(len(job.episodes) for job in jobs)


def _mean(values: Sequence[float]) -> str:
    return f"{math.fsum(values) / len(values):.6g}" if values else "of none"


def _sum(values: Sequence[float]) -> int:
    return int(sum(values))
