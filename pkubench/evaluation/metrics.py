"""What a report has in addition to metrics: failures, and how well a cost limit is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pkubench.evaluation.statistics import wilson_interval
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Aggregate
from pkubench.tasks.task import Task

Sample = Literal["runs", "episodes"]

EXACT_DIGITS = 9
"""Exactly computed scores that agree to this many decimals are equal; the rest is rounding."""


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
    """Share of the runs whose own mean cost is at most d (and the task's tolerance more), with
    Wilson's interval."""

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


def failures(runs: Sequence[Sequence[EpisodeRecord]]) -> dict[str, int]:
    """Return how many episodes failed, by reason, the most frequent first."""
    counts = Counter(
        record.failure for records in runs for record in records if record.failure is not None
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def feasible(
    task: Task, cost: float | None, means: Mapping[str, float | None] | None = None
) -> bool | None:
    """Return whether a mean cost is within the task's limit, but for the task's tolerance.

    None where there is no limit, or where the cost is unknown because episodes failed.

    Args:
        task: the task.
        cost: the mean of the metric ``cost``.
        means: means of all metrics, for a task with several limits, all of which must be kept.
    """
    if task.cost_limit is None or cost is None:
        return None
    further = [(means or {}).get(name) for name in task.further_limits]
    if None in further:
        return None
    limits = task.further_limits.values()
    return cost <= task.cost_limit + task.cost_tolerance and all(
        mean is not None and mean <= limit for mean, limit in zip(further, limits, strict=True)
    )


def constraint(
    limit: float | None,
    cost: Aggregate | None,
    run_costs: Sequence[float | None],
    tolerance: float = 0.0,
    kept: Sequence[bool | None] | None = None,
) -> Constraint | None:
    """Return how well runs keep a task's limit; None for a task without one.

    Args:
        limit: the task's cost limit.
        cost: the aggregate of the metric ``cost``.
        run_costs: each run's mean cost; None where an episode failed.
        tolerance: the task's, by which a run's mean may be above the limit.
        kept: whether each run keeps all limits of a task with several; the violation is that of the
            first.
    """
    if limit is None or cost is None:
        return None
    known = [mean for mean in run_costs if mean is not None]
    if cost.mean is None:  # an episode failed
        unknown = Aggregate(None, None, None, cost.n)
        return Constraint(limit, unknown, unknown._replace(n=len(run_costs)))
    mean, low, high = (None if x is None else max(0.0, x - limit) for x in cost[:3])
    count = sum(value <= limit + tolerance for value in known)
    if kept is not None:
        count = sum(is_kept is True for is_kept in kept)
    within = wilson_interval(count, len(known))
    return Constraint(limit, Aggregate(mean, low, high, cost.n), Aggregate(*within, len(known)))
