"""Stratified bootstrap: intervals of aggregates, of performance profiles and of ranks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .aggregates import (
    iqm,
    iqm_rows,
    mean_rows,
    median_rows,
    optimality_gap,
    optimality_gap_rows,
    probability_of_improvement,
    probability_of_improvement_rows,
    profile_rows,
)
from .intervals import Interval
from .samples import (
    FloatArray,
    StatisticsError,
    finite_number,
    generator,
    require_same_tasks,
    score_array,
    tail_of,
    vector,
    whole_number,
)

Statistic = Callable[..., Any]
"""A function of one (runs, tasks) array, or of two, to a number."""

_CHUNK_ELEMENTS = 1 << 20
"""Largest temporary of the bootstrap, in float64 elements (8 MiB): fits a processor's cache."""


class Band(NamedTuple):
    """A curve and its pointwise confidence band: three float64 arrays of one shape."""

    estimate: FloatArray
    low: FloatArray
    high: FloatArray


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Statistic,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    *,
    other: ArrayLike | None = None,
) -> Interval:
    """Percentile interval of an aggregate, resampling the runs within each task.

    Args:
        scores: (runs, tasks) array. With one run the bounds are NaN.
        statistic: Function of a (runs, tasks) array to a number. This module's aggregates,
            ``np.mean`` and ``np.median`` (also inside ``functools.partial`` with keywords) are
            computed on all resamples at once; any other function is called once per resample.
        seed: Seed of the resampling, at least 0.
        resamples: Number of resamples, at least 1.
        confidence: Coverage asked for, in (0, 1). The percentile interval is too narrow for few
            runs: see the measured coverage in ``docs/concepts/statistics.md``.
        other: A second sample (runs_other, tasks), resampled independently; ``statistic`` is then
            called with both. For :func:`probability_of_improvement`.

    Raises:
        StatisticsError: If an array or setting is malformed, or ``statistic`` does not return a
            finite number.
    """
    samples: tuple[FloatArray, ...] = (score_array(scores),)
    if other is not None:
        samples = (samples[0], score_array(other, "other"))
        require_same_tasks(*samples)
    tail = tail_of(confidence)
    rows = _over_resamples(statistic)
    estimate = float(rows(*(sample[None] for sample in samples))[0])
    rng = generator(seed)
    if min(len(sample) for sample in samples) == 1:
        return Interval(estimate, math.nan, math.nan)
    drawn = np.concatenate([rows(*chunk) for chunk in _resampled(rng, samples, resamples)])
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return Interval(estimate, float(low), float(high))


def profile_band(
    scores: ArrayLike,
    thresholds: ArrayLike,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Band:
    """:func:`performance_profile` with a pointwise stratified-bootstrap band.

    Arguments and errors are those of :func:`stratified_bootstrap`.
    """
    sample, points = score_array(scores), vector(thresholds, "thresholds")
    tail, estimate, rng = tail_of(confidence), profile_rows(sample, points), generator(seed)
    if len(sample) == 1:
        unknown = np.full_like(estimate, math.nan)
        return Band(estimate, unknown, unknown)
    chunks = _resampled(rng, (sample,), resamples)
    drawn = np.concatenate([profile_rows(chunk, points) for (chunk,) in chunks])
    low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return Band(estimate, low, high)


def rank_intervals(
    scores_by_agent: Mapping[str, ArrayLike],
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    *,
    statistic: Statistic = iqm,
    rows: Statistic | None = None,
    higher_is_better: bool = True,
) -> dict[str, Interval]:
    """Rank each agent by an aggregate, with an interval of the ranks it takes in resamples.

    Rank 1 is best and ties share the mean of their ranks. Each agent's runs are resampled within
    each task, by its own generator made from ``seed`` and its name, so an agent's draws depend
    neither on the order of the agents nor on the presence of others. The bounds are ranks that did
    occur; they are widened to hold the estimate.

    Args:
        scores_by_agent: For each agent a (runs, tasks) array with at least two runs; runs may
            differ between agents, tasks may not.
        seed: Seed of the resampling, at least 0.
        resamples: Number of resamples, at least 1.
        confidence: Share of resampled ranks inside the bounds, in (0, 1).
        statistic: What agents are ranked by: see :func:`stratified_bootstrap`.
        rows: The same of many samples at once, where there is a faster form: from (resamples,
            runs, tasks) to (resamples,).
        higher_is_better: False for aggregates such as :func:`optimality_gap`.

    Returns:
        For each agent, in the order given, its rank and the interval of its rank.

    Raises:
        StatisticsError: If there is no agent, an array or setting is malformed, an agent has a
            single run, or two agents differ in tasks.
    """
    if not scores_by_agent:
        raise StatisticsError("ranks need at least one agent, got none")
    samples = {name: score_array(s, f"scores of {name!r}") for name, s in scores_by_agent.items()}
    tail, sign = tail_of(confidence), 1 if higher_is_better else -1
    rows = rows or _over_resamples(statistic)
    first = next(iter(samples.values()))
    observed, drawn = [], []
    for name, sample in samples.items():
        require_same_tasks(first, sample)
        if len(sample) == 1:
            raise StatisticsError(f"agent {name!r} has one run; ranks need two: leave it out")
        chunks = _resampled(generator(seed, name), (sample,), resamples)
        observed.append(sign * rows(sample[None]))
        drawn.append(sign * np.concatenate([rows(chunk) for (chunk,) in chunks]))
    ranks, resampled_ranks = _ranks(np.array(observed))[:, 0], _ranks(np.array(drawn))
    low = np.quantile(resampled_ranks, tail, axis=1, method="lower")
    high = np.quantile(resampled_ranks, 1.0 - tail, axis=1, method="higher")
    return {
        name: Interval(float(rank), float(min(rank, bottom)), float(max(rank, top)))
        for name, rank, bottom, top in zip(samples, ranks, low, high, strict=True)
    }


def _ranks(values: FloatArray) -> FloatArray:
    """Rank down axis 0, largest first, ties sharing their mean rank; (agents, columns)."""
    ranks = np.empty_like(values)
    for column, out in zip(values.T, ranks.T, strict=True):  # the number of agents may be large
        ordered = np.sort(column)
        above = len(column) - np.searchsorted(ordered, column, side="right")
        equal = len(column) - above - np.searchsorted(ordered, column, side="left")
        out[:] = 0.5 + above + equal / 2
    return ranks


def _resampled(
    rng: np.random.Generator, samples: tuple[FloatArray, ...], resamples: int
) -> Iterator[tuple[FloatArray, ...]]:
    """Yield resamples of each sample in chunks: arrays of shape (chunk, runs, tasks)."""
    resamples = whole_number(resamples, "resamples")
    if resamples < 1:
        raise StatisticsError(f"resamples must be at least 1 (2000 is usual), got {resamples}")
    # The widest temporary of a two-sample statistic compares every run with every other.
    widest = math.prod(len(sample) for sample in samples) * samples[0].shape[1]
    chunk = max(1, _CHUNK_ELEMENTS // widest)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        # An independent draw for each task: that is the stratification.
        yield tuple(
            np.take_along_axis(s[None], rng.integers(len(s), size=(size, *s.shape)), axis=1)
            for s in samples
        )


_BATCHED: dict[Statistic, Statistic] = {
    iqm: iqm_rows,
    optimality_gap: optimality_gap_rows,
    probability_of_improvement: probability_of_improvement_rows,
    np.mean: mean_rows,
    np.median: median_rows,
}
"""Statistics with a version that maps (resamples, runs, tasks) arrays to (resamples,) arrays."""


def _over_resamples(statistic: Statistic) -> Callable[..., FloatArray]:
    """Turn a statistic of (runs, tasks) arrays into one of (resamples, runs, tasks) arrays."""
    bound = statistic if isinstance(statistic, functools.partial) else functools.partial(statistic)
    # Only gamma is known to mean the same to both versions; np.mean's axis, say, would not.
    known = not bound.args and set(bound.keywords) <= {"gamma"}
    batched = _BATCHED.get(bound.func) if known else None

    def rows(*samples: FloatArray) -> FloatArray:
        if batched is not None:
            if (len(samples) == 2) != (bound.func is probability_of_improvement):
                raise StatisticsError(
                    "probability_of_improvement compares two samples (give other=...); "
                    "the other aggregates take one"
                )
            return np.asarray(batched(*samples, **bound.keywords))
        values = [statistic(*one) for one in zip(*samples, strict=True)]
        return np.array([finite_number(value) for value in values])

    return rows
