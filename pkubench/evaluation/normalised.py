"""The normalised scores of several agents on several tasks, as (runs, tasks) matrices.

This is the only definition: the table of ``pkubench compare``, the performance profile of
``pkubench plot`` and the suite ranking of the leaderboard all read their matrices from here. A
normalised score is (score - floor) / (reference - floor) (``Task.normalised``). The floor is the
best of the random agent and of the task's lazy policies (doing nothing, keeping silent, standing
still), so that an agent that has not learned the task scores 0 or less, however bad random play is.
A row is a run, that is, a training seed, averaged over its episodes; a column is a task.

What counts is the same for everyone. An agent has no column on a task where an episode failed,
where its mean cost is over the task's limit, where the task has no reference score above the floor,
or where its episodes are those of another evaluation seed than the others'. A matrix is
rectangular: an agent with more runs on one task than on another is counted with the first ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.errors import counted
from pkubench.evaluation.report import Report
from pkubench.tasks.task import Task

FloatArray = npt.NDArray[np.float64]

OVER_LIMIT = "over the cost limit"
NO_REFERENCES = "the task lacks a reference score above its floor"


class Excluded(NamedTuple):
    """Runs of an agent on a task that are in no matrix."""

    agent: str
    task: str
    reason: str


class Matrix(NamedTuple):
    """One agent's normalised scores."""

    tasks: tuple[str, ...]
    """Ids of the tasks, the columns."""
    runs: tuple[tuple[str, ...], ...]
    """For each task the labels of its runs, the rows."""
    scores: FloatArray
    """(runs, tasks): 0 is the floor, 1 the reference agent."""


@dataclass(frozen=True, slots=True)
class NormalisedScores:
    """The matrices of all agents, and what is left out of them."""

    matrices: Mapping[str, Matrix]
    """Agent -> its matrix; an agent without a column is not here."""
    excluded: tuple[Excluded, ...]
    """What is in no matrix and why; a task that not all agents share is not listed."""


def normalised_scores(
    reports: Mapping[str, Mapping[str, Report]],
    tasks: Iterable[Task],
    *,
    min_runs: int = 1,
    seed: int | None = None,
    shared: bool = True,
) -> NormalisedScores:
    """Return the normalised scores of agents on tasks.

    Args:
        reports: task id -> agent -> report.
        tasks: the tasks that may be columns, in this order.
        min_runs: runs on a task below which an agent has no column there.
        seed: the evaluation seed whose episodes count; None is the one that most reports have.
        shared: keep only the tasks on which every agent with a column has one, so that all
            matrices have the same columns; False gives each agent all of its own.
    """
    tasks = list(tasks)
    seed = _usual_seed(reports) if seed is None else seed
    columns: dict[str, dict[str, list[float]]] = {}
    excluded: list[Excluded] = []
    for task in tasks:
        for agent, report in reports.get(task.id, {}).items():
            reason = _why_not(report, task, min_runs, seed)
            if reason is None:
                columns.setdefault(agent, {})[task.id] = _column(report, task)
            else:
                excluded.append(Excluded(agent, task.id, reason))
    common = set.intersection(*map(set, columns.values())) if columns else set()
    matrices = {}
    for agent, own in columns.items():
        kept = [task.id for task in tasks if task.id in (common if shared else own)]
        if kept:
            runs = min(len(own[task]) for task in kept)
            labels = [[run.label for run in reports[task][agent].runs] for task in kept]
            excluded += _surplus(agent, kept, labels, runs)
            matrices[agent] = Matrix(
                tasks=tuple(kept),
                runs=tuple(tuple(names[:runs]) for names in labels),
                scores=np.array([own[task][:runs] for task in kept], dtype=np.float64).T,
            )
    return NormalisedScores(matrices, tuple(excluded))


def _usual_seed(reports: Mapping[str, Mapping[str, Report]]) -> int:
    """Return the evaluation seed that most reports share, of equally many the lowest."""
    counts = Counter(report.seed for agents in reports.values() for report in agents.values())
    return min(counts, key=lambda seed: (-counts[seed], seed), default=0)


def _why_not(report: Report, task: Task, min_runs: int, seed: int) -> str | None:
    """Return why a report gives no column; None if it does."""
    if task.normalised(0.0) is None:
        return NO_REFERENCES
    if report.feasible is False:
        return OVER_LIMIT
    if report.failed:
        return f"{counted(report.failed, 'episode')} failed"
    if report.seed != seed:
        return f"evaluated on the episodes of seed {report.seed}, not {seed}"
    if len(report.runs) < min_runs:
        return f"{counted(len(report.runs), 'run')} of the {min_runs} needed"
    return None


def _column(report: Report, task: Task) -> list[float]:
    """Return each run's normalised score."""
    means = [run.metrics[task.ranking.name] for run in report.runs]
    scaled = [task.normalised(mean) for mean in means if mean is not None]
    return [score for score in scaled if score is not None]


def _surplus(
    agent: str, tasks: Sequence[str], labels: Sequence[Sequence[str]], runs: int
) -> list[Excluded]:
    """Return what is cut off to make a matrix rectangular."""
    return [
        Excluded(agent, task, f"counted with the first {runs} of {counted(len(names), 'run')}")
        for task, names in zip(tasks, labels, strict=True)
        if len(names) > runs
    ]


def excluded_json(excluded: Iterable[Excluded]) -> list[dict[str, Any]]:
    """Return what is left out as JSON values."""
    return [item._asdict() for item in excluded]
