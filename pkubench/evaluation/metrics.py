"""From episode records to the numbers of a report: one value a run, then an interval over runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pkubench.evaluation.statistics import mean_interval, wilson_interval
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.task import Metric, Task

Sample = Literal["runs", "episodes"]

EXACT_DIGITS = 9
"""Exactly computed scores that agree to this many decimals are equal; the rest is rounding."""


class Aggregate(NamedTuple):
    """A metric's mean and its 95 % interval.

    All are None where an episode failed: a mean over the episodes that an agent survived would
    reward crashing in the bad ones. The bounds are None where the sample has a single value.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    """Size of the sample: runs, or episodes of the only run."""


class Constraint(NamedTuple):
    """How well an entry keeps a task's cost limit d."""

    cost_limit: float
    """d, on the mean cost of an episode."""
    violation: Aggregate
    """max(0, mean cost - d), with the interval of the mean cost put through the same function.

    The function is monotone, so the interval covers the true violation as often as the cost's
    interval covers the true cost. An upper bound of 0 says that the limit is kept with confidence;
    a lower bound above 0, that it is broken with confidence.
    """
    feasible_runs: Aggregate
    """Share of the runs whose own mean cost is at most d, with Wilson's interval."""

    @property
    def runs_within(self) -> str:
        """How many runs are feasible, in words; empty where episodes failed."""
        share, n = self.feasible_runs.mean, self.feasible_runs.n
        return "" if share is None else f"{round(share * n)} of {n}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "cost_limit": self.cost_limit,
            "violation": self.violation._asdict(),
            "feasible_runs": self.feasible_runs._asdict(),
        }


def run_mean(records: Sequence[EpisodeRecord], metric: str) -> float | None:
    """Return a run's mean of a metric; None if an episode failed or does not have the metric."""
    values = [record.value(metric) for record in records]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return math.fsum(known) / len(known)


def aggregate(runs: Sequence[Sequence[EpisodeRecord]], metric: Metric) -> Aggregate:
    """Return a metric's mean and interval: over runs if there are several, else over episodes."""
    means = [run_mean(records, metric.name) for records in runs]
    n = len(runs) if len(runs) > 1 else len(runs[0])
    known = [mean for mean in means if mean is not None]
    if not known or len(known) < len(means):
        return Aggregate(None, None, None, n)
    if len(known) > 1:
        mean, low, high = mean_interval(known)
        return Aggregate(mean, low, high, n)
    if metric.interval == "exact" and n == 1:
        return Aggregate(known[0], known[0], known[0], n)
    values = [value for record in runs[0] if (value := record.value(metric.name)) is not None]
    if metric.interval == "wilson":
        mean, low, high = wilson_interval(round(math.fsum(values)), n)
    else:
        _, low, high = mean_interval(values)
    return Aggregate(known[0], _bound(low), _bound(high), n)


def failures(runs: Sequence[Sequence[EpisodeRecord]]) -> dict[str, int]:
    """Return how many episodes failed, by reason, the most frequent first."""
    counts = Counter(
        record.failure for records in runs for record in records if record.failure is not None
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def feasible(task: Task, cost: float | None) -> bool | None:
    """Return whether a mean cost is within the task's limit.

    None where there is no limit, or where the cost is unknown because episodes failed.
    """
    if task.cost_limit is None or cost is None:
        return None
    return cost <= task.cost_limit


def constraint(
    limit: float | None, cost: Aggregate | None, run_costs: Sequence[float | None]
) -> Constraint | None:
    """Return how well runs keep a task's limit; None for a task without one.

    Args:
        limit: the task's cost limit.
        cost: the aggregate of the metric ``cost``.
        run_costs: each run's mean cost; None where an episode failed.
    """
    if limit is None or cost is None:
        return None
    known = [mean for mean in run_costs if mean is not None]
    if cost.mean is None:  # an episode failed
        unknown = Aggregate(None, None, None, cost.n)
        return Constraint(limit, unknown, unknown._replace(n=len(run_costs)))
    mean, low, high = (None if x is None else max(0.0, x - limit) for x in cost[:3])
    within = wilson_interval(sum(value <= limit for value in known), len(known))
    return Constraint(limit, Aggregate(mean, low, high, cost.n), Aggregate(*within, len(known)))


def _bound(value: float) -> float | None:
    return None if math.isnan(value) else value
