"""Figures of populations: the hull is right, every policy is in the figure, bytes repeat."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from pkubench.envs.games.mixture_model import CENTRES
from pkubench.errors import RecordError
from pkubench.evaluation.figures.games import gamescape, hull, policies_in_plane

CLOUDS = {
    "psro": np.random.default_rng(0).normal(size=(20, 2)),
    "psd-psro": np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5]]),
}


def test_the_hull_of_a_square_is_its_corners() -> None:
    corners = hull(CLOUDS["psd-psro"])
    np.testing.assert_array_equal(corners, [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    # Points on a line, one point, and the same point twice.
    np.testing.assert_array_equal(
        hull(np.array([[0, 0], [2, 2], [1, 1]])), [[0, 0], [2, 2], [0, 0]]
    )
    np.testing.assert_array_equal(hull(np.array([[3, 4], [3, 4]])), [[3, 4], [3, 4]])


def test_every_point_is_inside_its_hull() -> None:
    points = CLOUDS["psro"]
    corners = hull(points)
    for a, b in itertools.pairwise(corners):
        side = b - a
        turn = side[0] * (points[:, 1] - a[1]) - side[1] * (points[:, 0] - a[0])
        assert (turn >= -1e-12).all()


def test_figures_of_populations_are_written_and_repeat_byte_by_byte(tmp_path: Path) -> None:
    for name, draw in {
        "scape": lambda out: gamescape(CLOUDS, out, title="matrix:rock_paper_scissors"),
        "plane": lambda out: policies_in_plane(CLOUDS, out, centres=CENTRES, title="model"),
    }.items():
        first, second = draw(tmp_path / f"{name}.svg"), draw(tmp_path / f"{name}-2.svg")
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("clouds", [{}, {"psro": np.zeros((3, 3))}, {"psro": [[np.nan, 0.0]]}])
def test_what_is_no_population_of_points_is_refused(clouds: dict, tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        gamescape(clouds, tmp_path / "figure.svg")
