"""Payoff matrices from files: games, tasks, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import pkubench
from pkubench.agents.contract import Population
from pkubench.envs.core.registry import make_batch
from pkubench.envs.games import (
    GameError,
    MatrixGame,
    SymmetricMatrixGame,
    load_payoff,
    make_matrix_game,
)
from pkubench.envs.games.trees import game_tree, matrix_game


def test_a_payoff_file_is_a_game_and_a_task(tmp_path: Path) -> None:
    file = tmp_path / "league.npy"
    np.save(file, 3 * make_matrix_game("matrix:cyclic(5)").payoff.astype(np.float32))
    game = make_matrix_game(f"payoff:{file}")
    assert isinstance(game, SymmetricMatrixGame) and game.max_utility == 3.0
    assert game.normalised().max_utility == 1.0
    # Action 0 everywhere: both seats lose 3 to a best response.
    pure = Population(([{"row": {0: 1.0}}], [{"column": {0: 1.0}}]), (np.ones(1), np.ones(1)))
    report = pkubench.evaluate(pure, f"payoff:{file}")
    assert report.score == 3.0 and report.metrics["nash_conv"].mean == 6.0
    assert pkubench.evaluate("random", f"payoff:{file}").score == pytest.approx(0.0, abs=1e-12)
    env = make_batch(f"payoff:{file}", 2000, opponent=lambda _: {0: 1.0}, seat=1)
    observations, _ = env.reset(np.arange(2000, dtype=np.int64))
    np.testing.assert_array_equal(observations["agent"][0], [0.0, 1.0])
    step = env.step({"agent": np.full(2000, 4)})
    assert step.terminated.all() and (step.rewards == 3.0).all()  # 4 beats 0


def test_a_file_of_any_matrix_is_an_asymmetric_game(tmp_path: Path) -> None:
    file = tmp_path / "any.npy"
    np.save(file, np.array([[1, 2, 3], [4, 5, 6]]))
    game = load_payoff(file)
    assert type(game) is MatrixGame and game.shape == (2, 3) and game.solve().value == 4.0
    with pytest.raises(GameError, match="2 rows and 3 columns"):
        load_payoff(file, symmetric=True)
    np.save(file, [[0.0, 1.0], [-1.0 + 1e-9, 0.0]])
    rounded = load_payoff(file)
    assert isinstance(rounded, SymmetricMatrixGame)
    np.testing.assert_array_equal(rounded.payoff, -rounded.payoff.T)
    assert type(load_payoff(file, symmetric=False)) is MatrixGame
    np.save(file, [[0.0, 1.0], [-0.9, 0.0]])
    assert type(load_payoff(file)) is MatrixGame
    with pytest.raises(GameError, match=r"row 0 wins 1 against column 1.*-0\.9"):
        load_payoff(file, symmetric=True)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((2, 0)), r"shape \(2, 0\)"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.array([[0.0, np.nan], [np.inf, 0.0]]), "2 of 4 payoffs .* row 0, column 1: nan"),
        (np.array([["a", "b"], ["c", "d"]]), "real numbers"),
        (np.zeros((2, 2), complex), "real numbers"),
    ],
)
def test_a_file_without_payoffs_is_refused(tmp_path: Path, array: np.ndarray, says: str) -> None:
    file = tmp_path / "bad.npy"
    np.save(file, array)
    with pytest.raises(GameError, match=says):
        load_payoff(file)


def test_a_file_of_too_many_actions_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.npy"
    for shape, kind in (((6000, 6000), "<f8"), ((5001, 1), "<f8"), ((10**12,), "|i1")):
        with file.open("wb") as stream:
            np.lib.format.write_array_header_1_0(
                stream, {"descr": kind, "fortran_order": False, "shape": shape}
            )
        with pytest.raises(GameError, match=r"at most 5,000 actions a player, so leave some out"):
            load_payoff(file)


def test_a_file_written_again_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "league.npy"
    for scale in (1.0, 2.0):
        np.save(file, scale * make_matrix_game("matrix:cyclic(5)").payoff)
        os.utime(file, ns=(0, int(scale)))
        game = matrix_game(f"payoff:{file}")
        assert game is matrix_game(f"payoff:{file}")
        assert game.max_utility == game_tree(f"payoff:{file}").max_utility == scale


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was executed",))


def test_nothing_in_a_file_is_executed_and_a_wrong_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "trap.npy"
    np.save(file, np.array([[Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(GameError, match="without pickle"):
        load_payoff(file)
    with pytest.raises(GameError, match="No such file"):
        load_payoff(tmp_path / "none.npy")
    file.write_bytes(b"hello")
    with pytest.raises(GameError, match="not an array"):
        load_payoff(file)
    np.save(file, np.zeros((9, 9)))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(GameError, match="not an array"):
        load_payoff(file)
