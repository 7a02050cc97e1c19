"""One number from the scores of all runs on all tasks (Agarwal et al. 2021).

Each aggregate has a twin ending in ``_rows`` that maps a stack of (runs, tasks) arrays, shape (...,
runs, tasks), to shape (...) in one call, unchecked: they make the bootstrap fast.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .samples import FloatArray, StatisticsError, require_same_tasks, score_array, vector


def iqm(scores: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half of all runs of all tasks.

    The runs x tasks scores are pooled and sorted; ``floor(size / 4)`` are cut from each end. This
    is ``scipy.stats.trim_mean(scores, 0.25, axis=None)``, the definition of Agarwal et al. 2021.

    Raises:
        StatisticsError: If ``scores`` is not a non-empty finite (runs, tasks) array.
    """
    return float(iqm_rows(score_array(scores)))


def optimality_gap(scores: ArrayLike, gamma: float = 1.0) -> float:
    """How far the scores fall short of ``gamma``: ``gamma - mean(min(scores, gamma))``.

    Lower is better and 0 is reached when every run of every task reaches ``gamma``; what exceeds
    ``gamma`` does not make up for what misses it.

    Raises:
        StatisticsError: If ``scores`` is not a non-empty finite (runs, tasks) array or ``gamma``
            is not finite.
    """
    return float(optimality_gap_rows(score_array(scores), gamma))


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """Chance that a run of ``x`` beats a run of ``y``, both drawn at random, averaged over tasks.

    On each task this is the Mann-Whitney U of ``x`` divided by the number of pairs, ties counting
    one half. ``x`` (runs_x, tasks) and ``y`` (runs_y, tasks) may differ in runs.

    Raises:
        StatisticsError: If either array is malformed or their tasks differ in number.
    """
    first, second = score_array(x, "x"), score_array(y, "y")
    require_same_tasks(first, second)
    return float(probability_of_improvement_rows(first, second))


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
    return profile_rows(score_array(scores), vector(thresholds, "thresholds"))


def iqm_rows(scores: FloatArray) -> FloatArray:
    """:func:`iqm` of each array in a stack."""
    pooled = scores.reshape(*scores.shape[:-2], -1)
    size = pooled.shape[-1]
    cut = size // 4
    kept: FloatArray = np.sort(pooled, axis=-1)[..., cut : size - cut].mean(axis=-1)
    return kept


def optimality_gap_rows(scores: FloatArray, gamma: float = 1.0) -> FloatArray:
    """:func:`optimality_gap` of each array in a stack."""
    if not math.isfinite(gamma):
        raise StatisticsError(f"gamma must be a finite number, got {gamma}")
    return np.asarray(gamma - np.minimum(scores, gamma).mean(axis=(-2, -1)))


def probability_of_improvement_rows(x: FloatArray, y: FloatArray) -> FloatArray:
    """:func:`probability_of_improvement` of each array in a stack."""
    mine, theirs = x[..., :, None, :], y[..., None, :, :]
    # A tie is counted by >= and not by >, so the mean of the two counts it one half.
    wins = (mine > theirs).mean(axis=(-3, -2, -1)) + (mine >= theirs).mean(axis=(-3, -2, -1))
    return np.asarray(wins / 2)


def profile_rows(scores: FloatArray, thresholds: FloatArray) -> FloatArray:
    """:func:`performance_profile` of each array in a stack, to (..., points)."""
    above = [(scores > threshold).mean(axis=(-2, -1)) for threshold in thresholds]
    return np.stack(above, axis=-1)


def mean_rows(scores: FloatArray) -> FloatArray:
    """:func:`numpy.mean` of each array in a stack."""
    return np.asarray(scores.mean(axis=(-2, -1)))


def median_rows(scores: FloatArray) -> FloatArray:
    """:func:`numpy.median` of each array in a stack."""
    return np.asarray(np.median(scores, axis=(-2, -1)))
