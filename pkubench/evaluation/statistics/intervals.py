"""Intervals in closed form: Student's t, Welch's t, Wilson's score."""

from __future__ import annotations

import math
from typing import NamedTuple

from numpy.typing import ArrayLike
from scipy import special  # scipy.stats would add most of a second to the import

from .samples import FloatArray, StatisticsError, tail_of, vector, whole_number


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


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of a sample with Student's t interval.

    Args:
        values: (n,) array, one value per run. With n = 1 the bounds are NaN.
        confidence: Coverage asked for, in (0, 1). Exact for normal values.

    Raises:
        StatisticsError: If ``values`` is empty, not one-dimensional or not finite.
    """
    sample = vector(values, "values")
    tail = tail_of(confidence)
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
    mean_x, square_x, degrees_x = _moments(vector(x, "x"))
    mean_y, square_y, degrees_y = _moments(vector(y, "y"))
    tail, gap, square = tail_of(confidence), mean_x - mean_y, square_x + square_y
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


def offset_interval(x: ArrayLike, known: float, confidence: float = 0.95) -> Difference:
    """Distance of a mean from a known number, with Student's t interval and two-sided p-value.

    Args:
        x: (n,) array, one value per run.
        known: What the mean is compared with, such as a limit.
        confidence: Coverage asked for, in (0, 1).

    Returns:
        ``mean(x) - known``. Bounds and p-value are NaN for a single value. If the sample does not
        vary the interval is a point, and p is 1 where the mean equals ``known``, otherwise 0.

    Raises:
        StatisticsError: If the sample is empty, not one-dimensional or not finite.
    """
    mean, square, degrees = _moments(vector(x, "x"))
    tail, gap = tail_of(confidence), mean - known
    if math.isnan(square):
        return Difference(gap, math.nan, math.nan, math.nan)
    if square == 0.0:
        return Difference(gap, gap, gap, 1.0 if gap == 0.0 else 0.0)
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
    k, trials = whole_number(successes, "successes"), whole_number(n, "n")
    if trials < 1:
        raise StatisticsError(f"a success rate needs at least one trial, got n = {trials}")
    if not 0 <= k <= trials:
        raise StatisticsError(f"successes must lie in 0..n, got {k} of n = {trials}")
    z2 = float(special.ndtri(tail_of(confidence))) ** 2
    rate = k / trials
    centre = (k + z2 / 2) / (trials + z2)
    half = math.sqrt(z2 * (trials * rate * (1.0 - rate) + z2 / 4)) / (trials + z2)
    # With k = n the formula gives exactly 1, which rounding would miss; with k = 0 it gives 0.0.
    return Interval(rate, centre - half, 1.0 if k == trials else centre + half)


def _moments(sample: FloatArray) -> tuple[float, float, int]:
    """Return mean, squared standard error (NaN for one value) and degrees of freedom."""
    n = sample.size
    square = float(sample.var(ddof=1)) / n if n > 1 else math.nan
    return float(sample.mean()), square, n - 1


def _half_width(tail: float, degrees: float, square: float) -> float:
    # abs: the quantile of the lower tail is negative. One run: square is NaN and so is the width.
    return abs(float(special.stdtrit(max(degrees, 1), tail))) * math.sqrt(square)
