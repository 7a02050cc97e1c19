"""The AlphaStar league's table: what passes for it, what does not, and how it is converted."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.envs.games import GameError
from pkubench.envs.games.alphastar import SIZE, check_alphastar, convert, load_alphastar
from pkubench.envs.games.spelling import is_same_game
from pkubench.envs.games.trees import zero_sum_game
from pkubench.tasks.registry import make_task


def league(seed: int = 0) -> np.ndarray:
    """A table with the league's fingerprint: the best agent wins 0.8 on average, the most is 1."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(-0.1, 0.1, (SIZE, SIZE))
    table = np.triu(noise, 1) - np.triu(noise, 1).T
    table[0, 1:], table[1:, 0] = 0.8, -0.8
    table[0, 1], table[1, 0] = 1.0, -1.0
    return table


def pickled(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def test_the_converted_table_is_a_game_in_every_unit(tmp_path: Path) -> None:
    table = league()
    source = pickled(tmp_path / "tables.pkl", {"AlphaStar": 3.0 * table, "5,3-Blotto": np.eye(2)})
    target = tmp_path / "league.npy"
    digest = convert(source, target)
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    game = load_alphastar(target)
    np.testing.assert_allclose(game.payoff, 3.0 * table)
    spelling = f"alphastar:{target}"
    assert zero_sum_game(spelling).fingerprint == game.fingerprint
    assert game.name == spelling and is_same_game(spelling, f"alphastar:{tmp_path}/./league.npy")
    assert make_task(spelling).suite == "games"


def changed_table(what: str) -> np.ndarray:
    table = league()
    if what == "shape":
        return table[:-1, :-1]
    if what == "antisymmetry":
        table[5, 6] += 0.01
    if what == "value":  # as a random game of skill is: uniform play is less exploitable
        table[0, 2:], table[2:, 0] = 0.6, -0.6
    return table


@pytest.mark.parametrize(
    ("what", "says"),
    [("shape", "887"), ("antisymmetry", "row 5"), ("value", "NashConv 1.2")],
)
def test_another_table_is_refused_with_the_reason(what: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(GameError, match=says):
        check_alphastar(changed_table(what), "table")
    file = tmp_path / "table.npy"
    np.save(file, changed_table(what))
    with pytest.raises(GameError, match=says):
        zero_sum_game(f"alphastar:{file}")


def test_a_missing_file_says_where_the_table_comes_from(tmp_path: Path) -> None:
    with pytest.raises(GameError, match=r"not redistributable.*pkubench\.envs\.games\.alphastar"):
        load_alphastar(tmp_path / "none.npy")
    with pytest.raises(GameError, match="cannot read"):
        convert(tmp_path / "none.pkl", tmp_path / "out.npy")


class Attack:
    """Runs code where it is unpickled as usual."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"AlphaStar": Attack()}, "wants to run builtins.exec"),
        ({"tic_tac_toe": np.eye(3)}, "no entry 'AlphaStar'; it has: tic_tac_toe"),
        ([1, 2], "no entry 'AlphaStar'; it has: list"),
    ],
)
def test_other_pickles_are_refused_before_anything_runs(
    content: Any, says: str, tmp_path: Path
) -> None:
    source = pickled(tmp_path / "other.pkl", content)
    with pytest.raises(GameError, match=says):
        convert(source, tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()
    (tmp_path / "torn.pkl").write_bytes(source.read_bytes()[:-5])
    with pytest.raises(GameError):
        convert(tmp_path / "torn.pkl", tmp_path / "out.npy")
