"""Abilities against hand-computed numbers, and their figures against what they are given."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pkubench.errors import RecordError
from pkubench.evaluation.abilities import (
    Calibration,
    calibration,
    kept_share,
    length_share,
    longest_solved,
    share,
)
from pkubench.evaluation.figures import abilities as figures
from pkubench.evaluation.figures.abilities import Asked
from pkubench.evaluation.statistics import StatisticsError


def test_calibration_by_hand() -> None:
    assert calibration([0.0, 10.0, 20.0], [1.0, 10.0, 15.0]) == pytest.approx((1.0, 2.0))
    # ranks 1 2 3 4 against 4 1 2 3: 1 - 6 * (9 + 1 + 1 + 1) / (4 * 15)
    found = calibration([1, 2, 3, 4], [40, 10, 20, 30])
    assert found.rank_correlation == pytest.approx(-0.2)
    assert found.error == pytest.approx((39 + 8 + 17 + 26) / 4)
    # ties share their mean rank: 1.5 1.5 3 against 1 2 3
    tied = calibration([1, 2, 3], [5, 5, 6])
    assert tied.rank_correlation == pytest.approx(1.5 / math.sqrt(1.5 * 2.0))
    assert calibration([1.0, 3.0], [2.0, 2.0]) == Calibration(None, 1.0)


@pytest.mark.parametrize(
    ("asked", "got", "words"),
    [
        ([1.0], [1.0], "two different"),
        ([2.0, 2.0], [1.0, 3.0], "two different"),
        ([1.0, 2.0], [1.0], "one finite mean"),
        ([1.0, 2.0], [1.0, math.nan], "one finite mean"),
    ],
)
def test_a_calibration_needs_two_targets(asked, got, words: str) -> None:
    with pytest.raises(StatisticsError, match=words):
        calibration(asked, got)


def test_shares_by_hand() -> None:
    assert share(0.75, lazy=0.5, best=1.0) == 0.5
    assert share(-31 / 17, lazy=-10.0, best=-31 / 17) == 1.0
    assert (share(2.0, 0.5, 1.0), share(0.2, 0.5, 1.0)) == (1.0, 0.0)
    with pytest.raises(StatisticsError, match="no scale"):
        share(1.0, 1.0, 1.0)
    assert kept_share(-6.0, usual=-2.0, lazy=-10.0, best=0.0) == pytest.approx(0.5)
    assert kept_share(-1.0, usual=-2.0, lazy=-10.0, best=0.0) == 1.0
    assert kept_share(1.0, usual=0.5, lazy=0.5, best=1.0) is None


def test_a_length_is_solved_with_all_shorter_ones() -> None:
    scores = {100: 0.99, 10: 1.0, 30: 0.94, 5: 0.95}
    assert longest_solved(scores, 0.95) == 10
    assert longest_solved(scores, 0.9) == 100
    assert longest_solved({10: 0.5}, 0.95) == 0
    assert length_share(longest_solved({1: 1.0, 3: 0.0}, 0.95), 3) == pytest.approx(0.5)


SHARES = {
    "dt": {"stitching": 0.0, "luck": 0.5, "credit": 1.0, "paths": None},
    "iql": {"stitching": 1.0, "luck": 1.0, "credit": 0.2, "paths": 0.7},
}
CURVES = {
    "dt-medium": [Asked(200.0, 150.0, 100.0, 200.0), Asked(100.0, 90.0, 80.0, 100.0)],
    "odt-medium": [Asked(100.0, 120.0)],
}


def test_figures_are_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for draw, data in (
        (figures.ability_radar, SHARES),
        (figures.calibration_curves, CURVES),
    ):
        first = draw(data, tmp_path / "a.svg", title="T").read_bytes()  # type: ignore[operator]
        assert first == draw(data, tmp_path / "b.svg", title="T").read_bytes()  # type: ignore[operator]


def test_the_first_spoke_points_up_and_the_others_follow_clockwise() -> None:
    corners = [figures._corner(k, 4) for k in range(4)]
    assert corners == [pytest.approx(c, abs=1e-12) for c in ((0, 1), (1, 0), (0, -1), (-1, 0))]


@pytest.mark.parametrize(
    ("abilities", "words"),
    [
        ({}, "at least one agent"),
        ({"a": {"x": 1.0, "y": 1.0}}, "three abilities"),
        ({"a": {"x": 1.0, "y": 1.0, "z": 1.1}}, "share in"),
        ({"a": {"x": 1.0, "y": 1.0, "z": 1.0}, "b": {"x": 1.0}}, "b has the abilities"),
    ],
)
def test_a_radar_needs_equal_abilities(abilities, words: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=words):
        figures.ability_radar(abilities, tmp_path / "a.svg")
    with pytest.raises(RecordError, match="nothing to draw"):
        figures.calibration_curves({"a": []}, tmp_path / "a.svg")
