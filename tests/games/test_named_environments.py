"""Liar's dice and Goofspiel, checked against their rules on every play; games by name only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyspiel
import pytest

import pkubench
from pkubench.agents.contract import Population
from pkubench.agents.resolve.loading import load_agent
from pkubench.envs.core.registry import make_batch
from pkubench.envs.games import aec
from pkubench.envs.games.errors import GameError
from pkubench.envs.games.goofspiel import Goofspiel
from pkubench.envs.games.histories import CHANCE, TERMINAL
from pkubench.envs.games.liars_dice import LiarsDice
from pkubench.envs.games.seat import GameSeat
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.trees import registered_tree
from pkubench.errors import ConfigError, UnknownName
from pkubench.leaderboard import create_bundle
from pkubench.tasks.registry import make_task


def plays(tree: GameTree) -> list[tuple[list[tuple[int, int]], float]]:
    """Every complete play: who moved and how, and what player 0 won."""
    histories, found = tree.histories, []
    for end in np.flatnonzero(histories.player == TERMINAL):
        path, node = [], int(end)
        while node:
            above = int(histories.parent[node])
            path.append((int(histories.player[above]), int(histories.action[node])))
            node = above
        found.append((path[::-1], float(histories.utility[end])))
    return found


@pytest.mark.parametrize("sides", [4, 5])
def test_liars_dice_pays_by_its_documented_rules(sides: int) -> None:
    for path, won in plays(registered_tree(f"LiarsDice{sides}-v0")):
        dice = [action + 1 for who, action in path if who == CHANCE]
        said = [(who, action) for who, action in path if who != CHANCE]
        assert len(dice) == 2 and [who for who, _ in said] == [k % 2 for k in range(len(said))]
        bids = [action for _, action in said[:-1]]
        assert said[-1][1] == 2 * sides and len(bids) >= 1
        assert bids == sorted(set(bids)) and bids[-1] < 2 * sides
        quantity, face = 1 + bids[-1] // sides, 1 + bids[-1] % sides
        is_true = sum(die in (face, sides) for die in dice) >= quantity
        winner = said[-2][0] if is_true else said[-1][0]
        assert won == (1.0 if winner == 0 else -1.0)


@pytest.mark.parametrize("returns", ["win_loss", "point_difference"])
def test_goofspiel_pays_by_its_documented_rules(returns: str) -> None:
    batch = Goofspiel(cards=4, returns=returns)  # type: ignore[arg-type]
    for path, won in plays(batch.tree):
        bids: list[list[int]] = [[], []]
        for who, action in path:
            bids[who].append(action + 1)
        assert len(path) == 6 and all(len(set(own)) == 3 for own in bids)
        for own in bids:
            own += set(range(1, 5)) - set(own)
        points = [
            sum(prize for prize, a, b in zip((4, 3, 2, 1), mine, other, strict=True) if a > b)
            for mine, other in (bids, bids[::-1])
        ]
        difference = points[0] - points[1]
        assert won == (difference / 2 if returns == "point_difference" else np.sign(difference))


def finished(batch: GameSeat) -> None:
    """Play all environments to their end with random legal actions."""
    rng = np.random.default_rng(0)
    _, info = batch.reset(np.arange(batch.num_envs, dtype=np.int64))
    over = np.zeros(batch.num_envs, dtype=bool)
    while not over.all():
        mask = info["action_mask"]
        step = batch.step({"agent": (mask * (1.0 - rng.random(mask.shape))).argmax(axis=1)})
        info, over = step.info, over | step.terminated


def test_words_hide_the_other_die_until_a_bid_is_called() -> None:
    batch = LiarsDice(num_envs=60, sides=4, seat=0)
    batch.reset(np.arange(60, dtype=np.int64))
    assert {batch.describe(index) for index in range(60)} == {
        f"Liar's dice, 4 sides (4 is wild)\nyour die: {die}   their die: ?\nbids: -"
        for die in (1, 2, 3, 4)
    }
    finished(batch)
    for index in range(60):
        dice = [action + 1 for who, action in batch.moves(index) if who == CHANCE]
        text = batch.describe(index)
        assert f"your die: {dice[0]}   their die: {dice[1]}" in text
        assert text.endswith("you win 1") if batch.won(index) == 1.0 else "you lose 1" in text


def test_observations_in_words_name_the_winner_of_each_prize() -> None:
    batch = Goofspiel(num_envs=60, cards=5)
    batch.reset(np.arange(60, dtype=np.int64))
    # Seat 1 moves second in the tree; the bid that lies on the table already stays secret.
    assert len({batch.describe(index) for index in range(60)}) == 1
    finished(batch)
    for index in range(60):
        text = batch.describe(index)
        taken = text.splitlines()[4].removeprefix("prizes: ").split(", ")
        assert [word.split()[0] for word in taken] == ["5", "4", "3", "2", "1"]
        points = {"you": 0, "they": 0, "nobody": 0}
        for word in taken:
            points[word.split()[1]] += int(word.split()[0])
        assert np.sign(points["you"] - points["they"]) == batch.won(index)


def test_a_named_game_is_a_task_and_an_environment_like_any_other() -> None:
    task = make_task("openspiel:kuhn_poker")
    assert registered_tree(task.id).fingerprint == registered_tree("KuhnPoker-v0").fingerprint
    named = pkubench.evaluate("random", task.id, workers=0)
    listed = pkubench.evaluate("random", "KuhnPoker-v0", workers=0)
    assert named.score == listed.score == pytest.approx(0.916667 / 2, abs=1e-6)
    batch = make_batch("openspiel:kuhn_poker", 3, seat=1)
    assert isinstance(batch, GameSeat)
    batch.reset(np.arange(3, dtype=np.int64))
    text = batch.describe(0)
    assert text.startswith("kuhn_poker(): you are player 1")
    finished(batch)
    assert "the play is over" in batch.describe(1) and batch.render(1).shape == (
        320,
        480,
        3,
    )


def test_a_game_without_tensors_is_scored_by_the_policies_of_a_population() -> None:
    tree = registered_tree("openspiel:coordinated_mp")
    seats = [tree.behaviour(plan, p) for p, plan in enumerate(tree.solve()[1:])]
    entrant = Population(([seats[0]], [seats[1]]), (np.ones(1), np.ones(1)))
    report = pkubench.evaluate(entrant, "openspiel:coordinated_mp", workers=0)
    assert report.score == pytest.approx(0.0, abs=1e-9)


def test_a_game_without_tensors_refuses_what_observes_before_its_tree_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(GameTree, "from_openspiel", None)
    for make in (
        lambda: load_agent("random", make_task("openspiel:coordinated_mp()")),
        lambda: make_batch("openspiel:coordinated_mp()"),  # a spelling that no other test builds
        lambda: aec.env("coordinated_mp"),
    ):
        with pytest.raises(GameError, match=r"no information-state tensors.* population files"):
            make()


def test_a_game_of_perfect_information_shows_its_position() -> None:
    name = "openspiel:hex(board_size=2)"
    # Who moves first wins, from any corner but by one blunder.
    assert registered_tree(name).solve().value == pytest.approx(1.0, abs=1e-9)
    assert 0.0 < pkubench.evaluate("random", name, workers=0).score < 1.0
    batch = make_batch(name, 1, seat=0)
    batch.reset(np.arange(1, dtype=np.int64))
    observation, *_ = batch.step({"agent": np.array([1])})
    assert isinstance(batch, GameSeat)
    game = pyspiel.load_game("hex(board_size=2)")
    state = game.new_initial_state()
    for _, action in batch.moves():
        state.apply_action(action)
    assert len(batch.moves()) == 2
    np.testing.assert_array_equal(observation["agent"][0], state.observation_tensor(0))
    table = aec.env("hex(board_size=2)")
    table.reset(seed=0)
    for _, action in batch.moves():
        table.step(action)
    np.testing.assert_array_equal(
        table.observe("player_0")["observation"], state.observation_tensor(0)
    )


def test_a_named_game_has_no_place_on_a_board(tmp_path: Path) -> None:
    pkubench.evaluate("random", "openspiel:kuhn_poker", workers=0, out=tmp_path)
    with pytest.raises(UnknownName, match="no listed task 'openspiel:kuhn_poker'"):
        create_bundle(tmp_path, tmp_path / "a.zip", include_weights=False)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: LiarsDice(sides=1), ConfigError, "sides must be at least 2"),
        (lambda: Goofspiel(cards=1), ConfigError, "cards must be at least 2"),
        (lambda: Goofspiel(returns="points"), ConfigError, "'win_loss' or 'point_difference'"),  # type: ignore[arg-type]
        (lambda: LiarsDice(seat=3), ConfigError, "seat must be"),
        (lambda: make_batch("openspiel:leduc"), UnknownName, "leduc_poker"),
        (lambda: pkubench.evaluate("random", "openspiel:leduc"), UnknownName, "leduc_poker"),
        (lambda: make_batch("openspeil:kuhn_poker"), UnknownName, "no environment"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(
    make: object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make()  # type: ignore[operator]
