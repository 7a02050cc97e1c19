"""What may be claimed from a handful of training seeds: aggregates, intervals, ranks.

Scores come as an array of shape (runs, tasks): one row a training seed, one column a task, each
entry already averaged over that run's episodes. **Runs are the sample.** Episodes of one trained
agent say how well *that* agent acts; only further seeds say how well the *algorithm* does.

The aggregates follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (NeurIPS 2021). Every random draw comes from a generator made from the ``seed``
argument: the same seed gives the same bits, and NumPy's global generator is never touched.
``docs/concepts/statistics.md`` has the formulae and the measured coverage of each interval.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # scipy.stats would add most of a second to the import

from pkubench.errors import PkubenchError

FloatArray = NDArray[np.float64]
Statistic = Callable[..., Any]
"""A function of one (runs, tasks) array, or of two, to a number."""

_CHUNK_ELEMENTS = 1 << 20
"""Largest temporary of the bootstrap, in float64 elements (8 MiB): fits a processor's cache."""


class StatisticsError(PkubenchError):
    """Numbers from which the statistic asked for cannot be computed."""


class Interval(NamedTuple):
    """An estimate and its confidence interval.

    The bounds are NaN where the sample has a single run: one run says nothing about spread.
    """

    estimate: float
    low: float
    high: float


class Difference(NamedTuple):
    """A difference of two means, its confidence interval and the two-sided p-value."""

    estimate: float
    low: float
    high: float
    p_value: float


class Band(NamedTuple):
    """A curve and its pointwise confidence band: three float64 arrays of one shape."""

    estimate: FloatArray
    low: FloatArray
    high: FloatArray


# Aggregates ------------------------------------------------------------------------------------


def iqm(scores: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half of all runs of all tasks.

    The runs x tasks scores are pooled and sorted; ``floor(size / 4)`` are cut from each end. This
    is ``scipy.stats.trim_mean(scores, 0.25, axis=None)``, the definition of Agarwal et al. 2021.

    Raises:
        StatisticsError: If ``scores`` is not a non-empty finite (runs, tasks) array.
    """
    return float(_iqm(_score_array(scores)))


def optimality_gap(scores: ArrayLike, gamma: float = 1.0) -> float:
    """How far the scores fall short of ``gamma``: ``gamma - mean(min(scores, gamma))``.

    Lower is better and 0 is reached when every run of every task reaches ``gamma``; what exceeds
    ``gamma`` does not make up for what misses it.

    Raises:
        StatisticsError: If ``scores`` is not a non-empty finite (runs, tasks) array or ``gamma``
            is not finite.
    """
    return float(_optimality_gap(_score_array(scores), gamma))


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """Chance that a run of ``x`` beats a run of ``y``, both drawn at random, averaged over tasks.

    On each task this is the Mann-Whitney U of ``x`` divided by the number of pairs, ties counting
    one half. ``x`` (runs_x, tasks) and ``y`` (runs_y, tasks) may differ in runs.

    Raises:
        StatisticsError: If either array is malformed or their tasks differ in number.
    """
    first, second = _score_array(x, "x"), _score_array(y, "y")
    _require_same_tasks(first, second)
    return float(_probability_of_improvement(first, second))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> FloatArray:
    """Fraction of runs, over all tasks, whose score is strictly above each threshold.

    Args:
        scores: (runs, tasks) array.
        thresholds: (points,) array, in any order.

    Returns:
        (points,) float64 array in [0, 1]: the run-score distribution of Agarwal et al. 2021.

    Raises:
        StatisticsError: If either array is malformed.
    """
    return _profile(_score_array(scores), _vector(thresholds, "thresholds"))


def _iqm(scores: FloatArray) -> FloatArray:
    pooled = scores.reshape(*scores.shape[:-2], -1)
    size = pooled.shape[-1]
    cut = size // 4
    kept: FloatArray = np.sort(pooled, axis=-1)[..., cut : size - cut].mean(axis=-1)
    return kept


def _optimality_gap(scores: FloatArray, gamma: float = 1.0) -> FloatArray:
    if not math.isfinite(gamma):
        raise StatisticsError(f"gamma must be a finite number, got {gamma}")
    return np.asarray(gamma - np.minimum(scores, gamma).mean(axis=(-2, -1)))


def _probability_of_improvement(x: FloatArray, y: FloatArray) -> FloatArray:
    mine, theirs = x[..., :, None, :], y[..., None, :, :]
    # A tie is counted by >= and not by >, so the mean of the two counts it one half.
    wins = (mine > theirs).mean(axis=(-3, -2, -1)) + (mine >= theirs).mean(axis=(-3, -2, -1))
    return np.asarray(wins / 2)


def _profile(scores: FloatArray, thresholds: FloatArray) -> FloatArray:
    above = [(scores > threshold).mean(axis=(-2, -1)) for threshold in thresholds]
    return np.stack(above, axis=-1)


def _mean(scores: FloatArray) -> FloatArray:
    return np.asarray(scores.mean(axis=(-2, -1)))


def _median(scores: FloatArray) -> FloatArray:
    return np.asarray(np.median(scores, axis=(-2, -1)))


# Intervals in closed form ----------------------------------------------------------------------


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of a sample with Student's t interval.

    Args:
        values: (n,) array, one value a run. With n = 1 the bounds are NaN.
        confidence: Coverage asked for, in (0, 1). Exact for normal values.

    Raises:
        StatisticsError: If ``values`` is empty, not one-dimensional or not finite.
    """
    sample = _vector(values, "values")
    tail = _tail(confidence)
    centre, square, degrees = _moments(sample)
    half = _half_width(tail, degrees, square)
    return Interval(centre, centre - half, centre + half)


def welch_interval(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Difference:
    """Difference of means ``mean(x) - mean(y)`` with Welch's t interval and two-sided p-value.

    The two samples are independent and may differ in size and variance. Where the runs are
    paired, ``mean_interval(x - y)`` is the sharper test.

    Returns:
        The difference. Bounds and p-value are NaN if either sample has one value. If neither
        sample varies at all the interval is a point, and p is 1 for equal means, otherwise 0.

    Raises:
        StatisticsError: If a sample is empty, not one-dimensional or not finite.
    """
    mean_x, square_x, degrees_x = _moments(_vector(x, "x"))
    mean_y, square_y, degrees_y = _moments(_vector(y, "y"))
    tail, gap, square = _tail(confidence), mean_x - mean_y, square_x + square_y
    if math.isnan(square):
        return Difference(gap, math.nan, math.nan, math.nan)
    if square == 0.0:
        return Difference(gap, gap, gap, 1.0 if gap == 0.0 else 0.0)
    # Welch-Satterthwaite, in shares of the variance so that tiny variances do not underflow.
    share = square_x / square
    degrees = 1.0 / (share**2 / degrees_x + (1.0 - share) ** 2 / degrees_y)
    half = _half_width(tail, degrees, square)
    p_value = 2.0 * float(special.stdtr(degrees, -abs(gap) / math.sqrt(square)))
    return Difference(gap, gap - half, gap + half, p_value)


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Success rate with Wilson's score interval, which stays inside [0, 1] at any count.

    Args:
        successes: Number of successes, a whole number in 0..n.
        n: Number of independent trials, at least 1.
        confidence: Coverage asked for, in (0, 1); reached on average over rates.

    Raises:
        StatisticsError: If the counts are not whole numbers with ``0 <= successes <= n``, n >= 1.
    """
    k, trials = _count(successes, "successes"), _count(n, "n")
    if trials < 1:
        raise StatisticsError(f"a success rate needs at least one trial, got n = {trials}")
    if not 0 <= k <= trials:
        raise StatisticsError(f"successes must lie in 0..n, got {k} of n = {trials}")
    z2 = float(special.ndtri(_tail(confidence))) ** 2
    rate = k / trials
    centre = (k + z2 / 2) / (trials + z2)
    half = math.sqrt(z2 * (trials * rate * (1.0 - rate) + z2 / 4)) / (trials + z2)
    # At the ends the formula gives exactly 0 or 1; rounding would give almost that.
    low = 0.0 if k == 0 else centre - half
    high = 1.0 if k == trials else centre + half
    return Interval(rate, low, high)


def _moments(sample: FloatArray) -> tuple[float, float, int]:
    """Return mean, squared standard error (NaN for one value) and degrees of freedom."""
    n = sample.size
    square = float(sample.var(ddof=1)) / n if n > 1 else math.nan
    return float(sample.mean()), square, n - 1


def _half_width(tail: float, degrees: float, square: float) -> float:
    # abs: the quantile of the lower tail is negative. One run: square is NaN and so is the width.
    return abs(float(special.stdtrit(max(degrees, 1), tail))) * math.sqrt(square)


# The bootstrap ---------------------------------------------------------------------------------


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
            computed on all resamples at once; any other function is called once a resample.
        seed: Seed of the resampling, at least 0.
        resamples: Number of resamples, at least 1.
        confidence: Coverage asked for, in (0, 1). The percentile interval is too narrow for few
            runs: see the measured coverage in ``docs/concepts/statistics.md``.
        other: A second sample (runs_other, tasks), resampled independently; ``statistic`` is then
            called with both, as in ``stratified_bootstrap(x, probability_of_improvement, other=y)``.

    Raises:
        StatisticsError: If an array or setting is malformed, or ``statistic`` does not return a
            finite number.
    """
    samples = (_score_array(scores),)
    if other is not None:
        samples += (_score_array(other, "other"),)
        _require_same_tasks(*samples)
    tail = _tail(confidence)
    rows = _over_resamples(statistic)
    estimate = float(rows(*(sample[None] for sample in samples))[0])
    rng = _generator(seed)
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
    sample, points = _score_array(scores), _vector(thresholds, "thresholds")
    tail, estimate, rng = _tail(confidence), _profile(sample, points), _generator(seed)
    if len(sample) == 1:
        unknown = np.full_like(estimate, math.nan)
        return Band(estimate, unknown, unknown)
    chunks = _resampled(rng, (sample,), resamples)
    drawn = np.concatenate([_profile(chunk, points) for (chunk,) in chunks])
    low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return Band(estimate, low, high)


def rank_intervals(
    scores_by_agent: Mapping[str, ArrayLike],
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    *,
    statistic: Statistic = iqm,
    higher_is_better: bool = True,
) -> dict[str, Interval]:
    """Rank each agent by an aggregate, with an interval of the ranks it takes in resamples.

    Rank 1 is best and ties share the mean of their ranks. Each agent's runs are resampled within
    each task, by a generator of its own made from ``seed`` and its name, so neither the order of
    the agents nor the arrival of another changes an agent's draws. The bounds are ranks that did
    occur; they are widened to hold the estimate.

    Args:
        scores_by_agent: For each agent a (runs, tasks) array with at least two runs; runs may
            differ between agents, tasks may not.
        seed: Seed of the resampling, at least 0.
        resamples: Number of resamples, at least 1.
        confidence: Share of resampled ranks inside the bounds, in (0, 1).
        statistic: What agents are ranked by: see :func:`stratified_bootstrap`.
        higher_is_better: False for aggregates such as :func:`optimality_gap`.

    Returns:
        For each agent, in the order given, its rank and the interval of its rank.

    Raises:
        StatisticsError: If there is no agent, an array or setting is malformed, an agent has a
            single run, or two agents differ in tasks.
    """
    if not scores_by_agent:
        raise StatisticsError("ranks need at least one agent, got none")
    samples = {name: _score_array(s, f"scores of {name!r}") for name, s in scores_by_agent.items()}
    tail, rows, sign = _tail(confidence), _over_resamples(statistic), 1 if higher_is_better else -1
    first = next(iter(samples.values()))
    observed, drawn = [], []
    for name, sample in samples.items():
        _require_same_tasks(first, sample)
        if len(sample) == 1:
            raise StatisticsError(
                f"agent {name!r} has one run; ranks need two or more: leave it out"
            )
        chunks = _resampled(_generator(seed, name), (sample,), resamples)
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
    for i, own in enumerate(values):  # one agent at a time keeps memory linear in agents
        ranks[i] = 0.5 + (values > own).sum(axis=0) + (values == own).sum(axis=0) / 2
    return ranks


def _resampled(
    rng: np.random.Generator, samples: tuple[FloatArray, ...], resamples: int
) -> Iterator[tuple[FloatArray, ...]]:
    """Yield resamples of each sample in chunks: arrays of shape (chunk, runs, tasks)."""
    resamples = _count(resamples, "resamples")
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
    iqm: _iqm,
    optimality_gap: _optimality_gap,
    probability_of_improvement: _probability_of_improvement,
    np.mean: _mean,
    np.median: _median,
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
            return np.asarray(batched(*samples, **bound.keywords))
        values = [statistic(*one) for one in zip(*samples, strict=True)]
        return np.array([_finite_number(value) for value in values])

    return rows


# Checks of what is given -----------------------------------------------------------------------


def _array(given: ArrayLike, name: str) -> FloatArray:
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise StatisticsError(
            f"{name} must be a full array of numbers; rows of different length or missing values "
            "do not make one"
        ) from None
    if array.size == 0:
        raise StatisticsError(f"{name} must not be empty, got shape {array.shape}")
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise StatisticsError(
            f"{name} must be finite, got {bad} NaN or infinite of {array.size} values; "
            "score failed runs by the task's rule before aggregating"
        )
    return array


def _score_array(given: ArrayLike, name: str = "scores") -> FloatArray:
    array = _array(given, name)
    if array.ndim != 2:
        hint = "; for one task use scores[:, None]" if array.ndim == 1 else ""
        raise StatisticsError(f"{name} must have shape (runs, tasks), got {array.shape}{hint}")
    return array


def _vector(given: ArrayLike, name: str) -> FloatArray:
    array = _array(given, name)
    if array.ndim != 1:
        raise StatisticsError(f"{name} must be one-dimensional, got shape {array.shape}")
    return array


def _require_same_tasks(x: FloatArray, y: FloatArray) -> None:
    if x.shape[1] != y.shape[1]:
        raise StatisticsError(
            f"both sides need the same tasks in the same order, got {x.shape[1]} and {y.shape[1]}"
        )


def _tail(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise StatisticsError(f"confidence must lie in (0, 1), such as 0.95; got {confidence}")
    return (1.0 - confidence) / 2


def _count(given: int, name: str) -> int:
    whole = float(given) if isinstance(given, int | float | np.number) else math.nan
    if not whole.is_integer():
        raise StatisticsError(f"{name} must be a whole number, got {given!r}")
    return int(given)


def _generator(seed: int, name: str = "") -> np.random.Generator:
    whole = _count(seed, "seed")
    if whole < 0:
        raise StatisticsError(f"seed must be at least 0, got {whole}")
    return np.random.default_rng([whole, *name.encode()])


def _finite_number(value: Any) -> float:
    number = np.asarray(value, dtype=np.float64)
    if number.size != 1 or not np.isfinite(number).all():
        raise StatisticsError(f"the statistic must return one finite number, got {value!r}")
    return float(number.reshape(()))
