"""Detection: hand-computed numbers, ties, weights, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from pkubench.evaluation.statistics.detection import (
    auroc,
    average_precision,
    bootstrap_by_group,
    calibration_error,
    confusion,
    curve,
    resample_groups,
    threshold_at,
)

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.integers(0, 12, 60) / 12.0
POSITIVE = RANDOM.random(60) < 0.2 + 0.5 * SCORES


def pairs_won(scores: Any, positive: Any) -> float:
    """AUROC by its definition: every positive against every negative."""
    won = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p, n in itertools.product(scores[positive], scores[~positive])
    ]
    return float(np.mean(won))


def test_auroc_is_the_share_of_pairs_won() -> None:
    assert auroc(SCORES, POSITIVE) == pytest.approx(pairs_won(SCORES, POSITIVE), abs=1e-12)
    assert auroc(-SCORES, POSITIVE) == pytest.approx(1.0 - pairs_won(SCORES, POSITIVE), abs=1e-12)
    assert auroc(np.full(60, 0.3), POSITIVE) == 0.5
    assert np.isnan(auroc(SCORES, np.ones(60, dtype=bool)))


def test_average_precision_by_hand() -> None:
    # thresholds .9 (1 of 1), .8 (1 of 2), .4 tied (3 of 4), .1 (3 of 5)
    scores = np.array([0.9, 0.8, 0.4, 0.4, 0.1])
    positive = np.array([True, False, True, True, False])
    wanted = (1 / 3) * 1.0 + (2 / 3) * (3 / 4)
    assert average_precision(scores, positive) == pytest.approx(wanted, abs=1e-15)
    assert average_precision(scores, np.ones(5, dtype=bool)) == 1.0


def test_weights_are_repetitions() -> None:
    counts = RANDOM.integers(0, 4, (3, 60))
    for statistic in (auroc, average_precision, calibration_error):
        found = statistic(SCORES, POSITIVE, counts.astype(float))
        for row, value in zip(counts, found, strict=True):
            wanted = statistic(np.repeat(SCORES, row), np.repeat(POSITIVE, row))
            assert value == pytest.approx(float(wanted), abs=1e-12)
    flagged = SCORES > 0.5
    found = confusion(flagged, POSITIVE, counts.astype(float))
    wanted = confusion(np.repeat(flagged, counts[1]), np.repeat(POSITIVE, counts[1]))
    assert [cell[1] for cell in found] == list(wanted)


def test_the_threshold_is_the_smallest_that_keeps_the_rate() -> None:
    negatives = np.arange(200) / 200.0
    scores = np.concatenate([negatives, [0.9975, 0.9925]])
    positive = np.arange(202) >= 200
    # 5 % of 200 is 10 negatives: .95 to .995
    found = threshold_at(scores, positive, 0.05)
    assert found == 0.95
    counts = confusion(scores >= found, positive)
    assert counts.false_positive == 10 and counts.false_positive_rate == 0.05
    assert threshold_at(scores, positive, 0.04999) is None  # 9.998 negatives are too few
    assert threshold_at(scores[5:], positive[5:], 0.05) is None


def test_ties_are_flagged_together() -> None:
    negative = np.array([0.9] * 11 + [0.1] * 189)
    scores = np.concatenate([negative, [0.95, 0.9, 0.2]])
    positive = np.arange(203) >= 200
    # the eleven at .9 are one more than 5 % allows, so only the positive above them is flagged
    found = threshold_at(scores, positive, 0.05)
    assert found == 0.95
    assert confusion(scores >= found, positive).recall == pytest.approx(1 / 3)
    assert threshold_at(scores, positive, 0.055) == 0.2
    one_point = np.where(positive, 1.0, (np.arange(203) < 30).astype(float))
    assert threshold_at(one_point, positive, 0.05) == np.inf


def test_the_curve_has_each_score_once() -> None:
    found = curve(np.array([0.2, 0.7, 0.2]), np.array([True, False, False]))
    assert found.thresholds.tolist() == [0.7, 0.2]
    assert found.true.tolist() == [0.0, 1.0] and found.false.tolist() == [1.0, 2.0]


def test_counts_and_their_ratios() -> None:
    flagged = np.array([True, True, True, False, False, False, False, False])
    positive = np.array([True, True, False, True, False, False, False, False])
    found = confusion(flagged, positive)
    assert list(found) == [2.0, 1.0, 1.0, 4.0]
    assert found.recall == pytest.approx(2 / 3) and found.precision == pytest.approx(2 / 3)
    assert found.false_positive_rate == 0.2 and found.accuracy == 0.75
    assert found.f1 == pytest.approx(2 / 3)
    nothing = confusion(np.zeros(8, dtype=bool), positive)
    assert np.isnan(nothing.precision) and nothing.f1 == 0.0


def test_calibration_error_by_hand() -> None:
    # bins of 1/15: .5 is in (7/15, 8/15], with one positive of two; 1.0 in the last; 0 in the first
    scores = np.array([0.5, 0.5, 1.0, 0.0])
    positive = np.array([True, False, False, False])
    assert calibration_error(scores, positive) == pytest.approx(1.0 / 4)
    edge = calibration_error(np.array([0.4, 0.41]), np.array([True, False]))
    assert edge == pytest.approx((0.6 + 0.41) / 2)  # 6/15 ends a bin


def test_groups_are_resampled_whole() -> None:
    groups = np.array([5, 5, 9, 7, 7, 7])
    weights = resample_groups(groups, 50)
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, 0] + weights[:, 2] + weights[:, 3] == 3.0).all()
    assert len(np.unique(weights, axis=0)) > 5
    low, high = bootstrap_by_group(lambda w: {"mean": w[:, 2] / 3}, groups, 400)["mean"]
    assert low == 0.0 and 0.6 < high <= 1.0
    assert np.isnan(bootstrap_by_group(lambda w: {"x": np.nan * w[:, 0]}, groups, 5)["x"]).all()
