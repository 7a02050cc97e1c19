"""The non-transitive mixture model, checked against its formula, brute force and limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from pkubench.envs.games import PlanError, SymmetricMatrixGame
from pkubench.envs.games.mixture_model import CENTRES, MixtureModel

MODEL = MixtureModel()


def test_the_tournament_is_the_one_of_the_experiments() -> None:
    rows = [
        [0, 1, 1, 1, -1, -1, -1],
        [-1, 0, 1, 1, 1, -1, -1],
        [-1, -1, 0, 1, 1, 1, -1],
        [-1, -1, -1, 0, 1, 1, 1],
        [1, -1, -1, -1, 0, 1, 1],
        [1, 1, -1, -1, -1, 0, 1],
        [1, 1, 1, -1, -1, -1, 0],
    ]
    np.testing.assert_array_equal(MODEL.tournament, rows)
    # The centres stand on a circle, at the corners of a regular heptagon (to the digits printed).
    radius = np.linalg.norm(CENTRES, axis=1)
    np.testing.assert_allclose(radius, radius.mean(), atol=1e-3)
    angles = np.sort(np.arctan2(CENTRES[:, 1], CENTRES[:, 0]))
    np.testing.assert_allclose(np.diff(angles), 2 * np.pi / 7, atol=0.02)


def test_payoffs_are_those_of_the_formula_written_out() -> None:
    rng = np.random.default_rng(0)
    for x, y in rng.normal(scale=2.0, size=(20, 2, 2)):
        g = [np.exp(-0.5 * 0.54 * ((x - c) ** 2).sum()) for c in CENTRES]
        h = [np.exp(-0.5 * 0.54 * ((y - c) ** 2).sum()) for c in CENTRES]
        wanted = 0.0
        for i in range(7):
            wanted += 0.5 * (g[i] - h[i])
            for j in range(7):
                wanted += g[i] * MODEL.tournament[i, j] * h[j]
        assert MODEL.payoffs(x, y)[0, 0] == pytest.approx(wanted, abs=1e-12)
        assert MODEL.payoffs(y, x)[0, 0] == pytest.approx(-wanted, abs=1e-12)
    game = MODEL.game_among(CENTRES)
    assert isinstance(game, SymmetricMatrixGame) and game.shape == (7, 7)


def test_slopes_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(1)
    points, opponents = rng.normal(scale=2.0, size=(2, 5, 2))
    weights, step = rng.dirichlet(np.ones(5)), 1e-6
    slope = MODEL.slope(points, opponents, weights)
    for axis in (0, 1):
        shift = step * np.eye(2)[axis]
        ahead = MODEL.payoffs(points + shift, opponents) @ weights
        behind = MODEL.payoffs(points - shift, opponents) @ weights
        np.testing.assert_allclose(slope[:, axis], (ahead - behind) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("seed", range(12))
def test_no_search_finds_a_better_answer_than_the_best_response(seed: int) -> None:
    rng = np.random.default_rng(seed)
    opponents = rng.normal(scale=(0.1, 1.0, 3.0)[seed % 3], size=(1 + seed % 5, 2))
    weights = rng.dirichlet(np.ones(len(opponents)))
    value, point = MODEL.best_response(opponents, weights)
    assert value == pytest.approx(float(MODEL.payoffs(point, opponents)[0] @ weights), abs=1e-12)
    np.testing.assert_allclose(MODEL.slope(point, opponents, weights), 0.0, atol=1e-9)

    def loss(z: np.ndarray) -> float:
        return -float(MODEL.payoffs(z, opponents)[0] @ weights)

    found = [
        -minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).fun
        for start in [*CENTRES, *rng.uniform(-5, 5, size=(8, 2))]
    ]
    assert value == pytest.approx(max(found), abs=1e-8)


def test_one_policy_far_from_all_bells_loses_the_height_of_a_bell() -> None:
    # With no opponent near a bell the response is on top of one (the neighbours lift it a little):
    # payoff g(x) / 2, summed over the bells.
    far = np.array([[100.0, 0.0]])
    value, point = MODEL.best_response(far, [1.0])
    assert value == pytest.approx(0.5 * MODEL.features(point).sum(), abs=1e-12)
    assert value >= 0.5 * MODEL.features(CENTRES).sum(axis=1).max()
    assert MODEL.exploitability(far, [1.0]) == value
    # A single policy: population exploitability is its exploitability.
    assert MODEL.population_exploitability(far) == pytest.approx(value, abs=1e-9)


def test_population_exploitability_falls_as_bells_are_added_and_bounds_every_mixture() -> None:
    rng = np.random.default_rng(3)
    scores = [MODEL.population_exploitability(CENTRES[: k + 1]) for k in range(7)]
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(scores))
    assert scores[0] > 0.5 and 0.0 <= scores[-1] < 0.1
    for k in (3, 7):
        for _ in range(10):
            weights = rng.dirichlet(np.ones(k))
            assert scores[k - 1] <= MODEL.exploitability(CENTRES[:k], weights) + 1e-9
    hull = MODEL.population_value(CENTRES[:4])
    assert MODEL.exploitability(CENTRES[:4], hull.weights) == pytest.approx(scores[3], abs=1e-8)


@pytest.mark.parametrize(
    ("points", "weights", "says"),
    [
        ([[0.0, 1.0, 2.0]], [1.0], "policies, 2"),
        ([[0.0, np.nan]], [1.0], "finite"),
        ([[0.0, 1.0]], [0.5, 0.5], "do not go"),
        ([[0.0, 1.0]], [0.5], "sum to 0.5"),
    ],
)
def test_an_invalid_mixture_of_points_is_refused(
    points: list[list[float]], weights: list[float], says: str
) -> None:
    with pytest.raises(PlanError, match=says):
        MODEL.best_response(points, weights)
