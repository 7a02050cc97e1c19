"""Detection: how well a score tells positives from negatives, over weighted samples.

Every function takes weights with leading axes, (..., n), and returns (...): a bootstrap is one call
with a row of counts for each resample. Scores that are equal are decided alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MIN_EXPECTED: Final = 10
"""Negatives that a false-positive rate must amount to in the sample that calibrates its
threshold."""
BINS: Final = 15


class Curve(NamedTuple):
    """Positives and negatives at or above each threshold, the highest first: (..., thresholds)."""

    thresholds: FloatArray
    """(thresholds,): the scores that occur."""
    true: FloatArray
    false: FloatArray


def curve(scores: FloatArray, positive: BoolArray, weights: FloatArray | None = None) -> Curve:
    """Return what is flagged at each threshold: every score that is at least the threshold.

    Args:
        scores: (n,).
        positive: (n,).
        weights: (..., n), how often each counts; None: once.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    counted = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    counted = counted[..., order]
    is_positive = positive[order]
    true = np.cumsum(counted * is_positive, axis=-1)[..., last]
    false = np.cumsum(counted * ~is_positive, axis=-1)[..., last]
    return Curve(ordered[last], true, false)


def auroc(scores: FloatArray, positive: BoolArray, weights: FloatArray | None = None) -> Any:
    """Return the probability that a positive scores above a negative, ties counting half.

    NaN without positives or negatives.

    >>> float(auroc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])))
    0.875
    """
    found = curve(scores, positive, weights)
    negatives = np.diff(found.false, axis=-1, prepend=0.0)
    before = found.true - np.diff(found.true, axis=-1, prepend=0.0)
    wins = (negatives * (before + found.true) / 2.0).sum(axis=-1)
    return _ratio(wins, found.true[..., -1] * found.false[..., -1])


def average_precision(
    scores: FloatArray, positive: BoolArray, weights: FloatArray | None = None
) -> Any:
    """Return the area under the precision-recall curve: sum of precision x gain of recall.

    NaN without positives.

    >>> round(float(average_precision(np.array([0.9, 0.5, 0.1]), np.array([True, False, True]))), 4)
    0.8333
    """
    found = curve(scores, positive, weights)
    gained = np.diff(found.true, axis=-1, prepend=0.0)
    precision = found.true / np.maximum(found.true + found.false, 1e-300)
    return _ratio((precision * gained).sum(axis=-1), found.true[..., -1])


def threshold_at(scores: FloatArray, positive: BoolArray, rate: float) -> float | None:
    """Return the smallest threshold whose false-positive rate is at most ``rate``.

    What scores at least the threshold is flagged, ties included; the threshold is one of the
    negatives' scores and of those above, or infinite where even the highest has too many ties.

    Returns:
        The threshold; None where ``rate`` is fewer than ``MIN_EXPECTED`` of the negatives, which is
        too few to set it by.
    """
    negatives = int((~positive).sum())
    if rate * negatives < MIN_EXPECTED:
        return None
    found = curve(scores, positive)
    allowed = np.flatnonzero(found.false <= rate * negatives)
    return float(found.thresholds[allowed[-1]]) if len(allowed) else np.inf


class Confusion(NamedTuple):
    """Counts of decisions, (...)."""

    true_positive: Any
    false_positive: Any
    false_negative: Any
    true_negative: Any

    @property
    def recall(self) -> Any:
        """Share of positives that are flagged; NaN without positives."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def false_positive_rate(self) -> Any:
        """Share of negatives that are flagged; NaN without negatives."""
        return _ratio(self.false_positive, self.false_positive + self.true_negative)

    @property
    def precision(self) -> Any:
        """Share of the flagged that are positive; NaN where none is flagged."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def accuracy(self) -> Any:
        """Share of right decisions."""
        return _ratio(self.true_positive + self.true_negative, sum(self))

    @property
    def f1(self) -> Any:
        """Harmonic mean of precision and recall; 0 where nothing is rightly flagged."""
        twice = 2.0 * self.true_positive
        return _ratio(twice, twice + self.false_positive + self.false_negative)


def confusion(
    flagged: BoolArray, positive: BoolArray, weights: FloatArray | None = None
) -> Confusion:
    """Count decisions, (..., n) with weights and (n,) without."""
    counted = np.ones(len(flagged)) if weights is None else np.asarray(weights, dtype=np.float64)
    cells = (flagged & positive, flagged & ~positive, ~flagged & positive, ~flagged & ~positive)
    return Confusion(*((counted * cell).sum(axis=-1) for cell in cells))


def calibration_error(
    scores: FloatArray, positive: BoolArray, weights: FloatArray | None = None, bins: int = BINS
) -> Any:
    """Return the expected calibration error of probabilities, in bins of equal width.

    The mean over samples of |mean score - share of positives| of their bin (Guo et al., ICML 2017).

    >>> float(calibration_error(np.array([0.8, 0.8, 0.1]), np.array([True, False, False])))
    0.2333...
    """
    counted = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    place = np.clip(np.ceil(scores * bins).astype(np.int64) - 1, 0, bins - 1)
    of_bin = place[:, None] == np.arange(bins)
    gaps = (counted * (scores - positive)) @ of_bin
    found: Any = np.abs(gaps).sum(axis=-1) / counted.sum(axis=-1)
    return found


def resample_groups(groups: npt.ArrayLike, resamples: int, seed: int = 0) -> FloatArray:
    """Return how often each sample is in bootstrap resamples of whole groups, (resamples, n).

    Args:
        groups: (n,), the group of each sample (the prompt that pairs share, say).
        resamples: How many.
        seed: Of the generator, which is used for nothing else.
    """
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    random = np.random.default_rng(seed)
    shares = np.full(len(names), 1.0 / len(names))
    drawn = random.multinomial(len(names), shares, size=resamples)
    found: FloatArray = drawn[:, place.reshape(-1)].astype(np.float64)
    return found


def bootstrap_by_group(
    statistics: Callable[[FloatArray], Mapping[str, Any]],
    groups: npt.ArrayLike,
    resamples: int = 1000,
) -> dict[str, tuple[float, float]]:
    """Return the 95 % percentile interval of each statistic, by name.

    Args:
        statistics: Of weights (resamples, n), values (resamples,) by name. Resamples for which one
            is NaN are left out; its bounds are NaN where all are.
        groups: (n,), as in :func:`resample_groups`.
        resamples: How many.
    """
    found = {}
    for name, values in statistics(resample_groups(groups, resamples)).items():
        drawn = np.asarray(values, dtype=np.float64).reshape(-1)
        drawn = drawn[~np.isnan(drawn)]
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
        found[name] = (float(low), float(high))
    return found


def _ratio(above: Any, below: Any) -> Any:
    below = np.asarray(below, dtype=np.float64)
    return np.where(below > 0.0, above / np.where(below > 0.0, below, 1.0), np.nan)
