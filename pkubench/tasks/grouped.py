"""Metrics over episodes that fall into groups: every group counts the same, however many it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Aggregate

FloatArray = npt.NDArray[np.float64]
Statistic = Callable[[Sequence[FloatArray]], Any]
"""Groups (..., episodes, numbers of an episode) -> (...): the metric of each resample."""
RESAMPLES = 1000


def mean_of_groups(groups: Sequence[FloatArray]) -> Any:
    """Return the mean over groups of each group's mean."""
    return np.mean([group[..., 0].mean(axis=-1) for group in groups], axis=0)


def minimum_of_groups(groups: Sequence[FloatArray]) -> Any:
    """Return the smallest of the groups' means."""
    return np.min([group[..., 0].mean(axis=-1) for group in groups], axis=0)


def grouped(
    runs: Sequence[Sequence[EpisodeRecord]], names: Sequence[str], statistic: Statistic
) -> Aggregate:
    """Return a statistic of groups and its 95 % interval.

    Over several runs it is the mean of the runs' statistics, with Student's interval. Of one run
    the interval is a percentile bootstrap of its episodes, drawn within each group, from a
    generator of its own; it is left out where a group has a single episode.

    Args:
        runs: Records by run.
        names: The metrics that the statistic reads, in order.
        statistic: See ``Statistic``; a group without episodes is not among its groups.
    """
    from pkubench.evaluation.statistics import mean_interval  # imports SciPy: slow

    n = len(runs) if len(runs) > 1 else len(runs[0])
    tables = [_table(records, names) for records in runs]
    known = [table for table in tables if table]
    if not known or len(known) < len(tables):
        return Aggregate(None, None, None, n)
    values = [float(statistic(table)) for table in known]
    if len(values) > 1:
        mean, low, high = mean_interval(values)
        return Aggregate(mean, _bound(low), _bound(high), n)
    if min(len(group) for group in known[0]) < 2:
        return Aggregate(values[0], None, None, n)
    if all((group == group[0]).all() for group in known[0]):  # each resample is the same
        return Aggregate(values[0], values[0], values[0], n)
    low, high = _bootstrap(known[0], statistic)
    return Aggregate(values[0], low, high, n)


def _table(records: Sequence[EpisodeRecord], names: Sequence[str]) -> list[FloatArray]:
    """Return the groups' numbers; an empty list where an episode failed or has no such metric."""
    groups: dict[str, list[list[float]]] = {}
    for record in records:
        row = [value for name in names if (value := record.value(name)) is not None]
        if len(row) < len(names):
            return []
        groups.setdefault(record.group, []).append(row)
    return [np.array(rows, dtype=np.float64) for rows in groups.values()]


def _bootstrap(groups: Sequence[FloatArray], statistic: Statistic) -> tuple[float, float]:
    random = np.random.default_rng(0)
    drawn = [
        group[random.integers(0, len(group), size=(RESAMPLES, len(group)))] for group in groups
    ]
    low, high = np.quantile(statistic(drawn), [0.025, 0.975])
    return float(low), float(high)


def only(records: Sequence[EpisodeRecord], is_in: Callable[[str], bool]) -> list[EpisodeRecord]:
    """Return the records of some groups."""
    return [record for record in records if is_in(record.group)]


def by_group(records: Sequence[EpisodeRecord]) -> Mapping[str, list[EpisodeRecord]]:
    """Return records by group, in the order in which groups first appear."""
    found: dict[str, list[EpisodeRecord]] = {}
    for record in records:
        found.setdefault(record.group, []).append(record)
    return found


def _bound(value: float) -> float | None:
    return None if math.isnan(value) else value
