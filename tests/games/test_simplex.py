"""The dense simplex method, checked against HiGHS on random, wide and degenerate games."""

from __future__ import annotations

import numpy as np
import pytest

from pkubench.envs.games import make_matrix_game
from pkubench.envs.games.linear_programs import matrix_game
from pkubench.envs.games.simplex import simplex_game, wide_game

NAMED = ("rock_paper_scissors", "cyclic(7)", "blotto(6,3)", "matching_pennies", "elo(20)")


def proves(payoff: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Both are distributions, and neither side can gain: an equilibrium."""
    for mass in (x, y):
        assert (mass >= 0.0).all() and mass.sum() == pytest.approx(1.0)
    gap = (payoff @ y).max() - (x @ payoff).min()
    assert 0.0 - 1e-12 <= gap <= 1e-9 * max(1.0, np.abs(payoff).max())


@pytest.mark.parametrize("seed", range(20))
def test_random_games_of_all_shapes_are_solved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    payoff = rng.normal(size=rng.integers(1, 40, size=2)) * 10.0 ** rng.integers(-3, 4)
    found = simplex_game(payoff)
    proves(payoff, found.x, found.y)
    scale = np.abs(payoff).max()
    assert found.value == pytest.approx(matrix_game(payoff).value, abs=1e-8 * max(1.0, scale))


@pytest.mark.parametrize("name", NAMED)
def test_games_full_of_ties_are_solved(name: str) -> None:
    game = make_matrix_game(f"matrix:{name}")
    rng = np.random.default_rng(0)
    pure = np.stack([game.random_plan(0, rng, pure=True) for _ in range(30)])
    for payoff in (game.payoff, pure @ game.payoff, np.zeros((4, 3)), np.ones((2, 5))):
        found = simplex_game(payoff)
        proves(payoff, found.x, found.y)


@pytest.mark.parametrize("seed", range(8))
def test_wide_games_are_solved_from_any_start(seed: int) -> None:
    rng = np.random.default_rng(seed)
    payoff = rng.normal(size=(12, 300))
    wanted = matrix_game(payoff).value
    found, columns = wide_game(payoff)
    proves(payoff, found.x, found.y)
    assert found.value == pytest.approx(wanted, abs=1e-9)
    np.testing.assert_array_equal(np.sort(columns), np.flatnonzero(found.y))
    again, _ = wide_game(np.vstack([payoff, rng.normal(size=300)]), columns)
    assert again.value >= found.value - 1e-9  # one more row to choose from
    anywhere, _ = wide_game(payoff, rng.choice(300, 4, replace=False))
    assert anywhere.value == pytest.approx(wanted, abs=1e-9)
