"""Two agents on one task, from their records: how far apart, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pkubench.errors import RecordError, counted
from pkubench.evaluation.metrics import EXACT_DIGITS, Sample
from pkubench.evaluation.report import Report, RunRecords, build_report, read_run, run_folders
from pkubench.evaluation.statistics import probability_of_improvement, welch_interval
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Metric, Task


class Side(NamedTuple):
    """One of the two agents."""

    agent: str
    mean: float
    n: int
    sample: Sample
    """What ``n`` counts: the agent's runs if it has several, else the episodes of its only run."""
    feasible: bool | None = None
    """Whether its mean cost is within the task's limit; None for tasks without one."""


class Comparison(NamedTuple):
    """First agent minus second agent, in one metric."""

    task: str
    metric: str
    higher_is_better: bool
    sample: Literal["runs", "episodes", "mixed"]
    """What both sides count; ``mixed`` if runs of one are compared with episodes of the other."""
    first: Side
    second: Side
    difference: float
    low: float | None
    """95 % interval by Welch; None where a side has a single value."""
    high: float | None
    p_value: float | None
    probability_of_improvement: float
    """Probability that a run (or episode) of the first is better than one of the second.

    Where only one side has several runs: that one of them is better than the other side's mean.
    """

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {**self._asdict(), "first": self.first._asdict(), "second": self.second._asdict()}


def compare(
    first: Path, second: Path, *, metric: str | None = None, task: Task | None = None
) -> Comparison:
    """Compare two evaluations of one task.

    Args:
        first: ``OUT/AGENT/TASK`` of one agent.
        second: The same of the other.
        metric: Name of the metric; None is the task's ranking metric.
        task: What was evaluated; None looks it up.

    Raises:
        RecordError: records are damaged, of different tasks, or hold failed episodes.
        UnknownName: the task has no such metric.
    """
    sides = [[read_run(path) for path in run_folders(folder)] for folder in (first, second)]
    ids = [str(runs[0].settings["task"]) for runs in sides]
    if ids[0] != ids[1]:
        raise RecordError(f"{first} is of {ids[0]} and {second} of {ids[1]}; compare one task")
    task = task or make_task(ids[0])
    reports = [build_report(runs, task) for runs in sides]
    return compare_records(sides, reports, task, task.metric(metric))


def compare_records(
    sides: Sequence[Sequence[RunRecords]],
    reports: Sequence[Report],
    task: Task,
    metric: Metric,
) -> Comparison:
    """Compare two agents' runs on one task (see ``compare``)."""
    for report in reports:
        if report.failed:
            raise RecordError(
                f"{report.agent} failed {counted(report.failed, 'episode')} of {report.task} "
                f"({next(iter(report.failures))}); there is no mean to compare"
            )
    values = [_values(report, runs, metric) for report, runs in zip(reports, sides, strict=True)]
    raw = values
    if metric.interval == "exact":  # rounding errors of solvers around zero make no agent better
        values = [[round(value, EXACT_DIGITS) for value in side] for side in raw]
    gap = welch_interval(values[0], values[1])
    samples = {report.sample for report in reports}
    sign = 1.0 if metric.higher_is_better else -1.0
    units = values
    if len(samples) > 1:  # a run's mean and a single episode are different quantities
        units = [
            side if report.sample == "runs" else [sum(side) / len(side)]
            for report, side in zip(reports, values, strict=True)
        ]
    better = probability_of_improvement(*([[sign * value] for value in side] for side in units))
    known = gap.p_value == gap.p_value  # not NaN
    first, second = (
        Side(report.agent, sum(side) / len(side), len(side), report.sample, report.feasible)
        for report, side in zip(reports, raw, strict=True)
    )
    return Comparison(
        task=task.id,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        sample=samples.pop() if len(samples) == 1 else "mixed",
        first=first,
        second=second,
        difference=gap.estimate,
        low=gap.low if known else None,
        high=gap.high if known else None,
        p_value=gap.p_value if known else None,
        probability_of_improvement=float(better),
    )


def _values(report: Report, runs: Sequence[RunRecords], metric: Metric) -> list[float]:
    """Return one side's independent values: episodes of one policy share that policy."""
    if report.sample == "runs":
        means = [run.metrics[metric.name] for run in report.runs]
        return [mean for mean in means if mean is not None]
    values = [record.value(metric.name) for record in runs[0].records]
    return [value for value in values if value is not None]
