"""Many plays at once, checked against OpenSpiel's states on every history."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyspiel
import pytest

from pkubench.envs.games import GameError, GameTree
from pkubench.envs.games.game_batch import GameBatch
from pkubench.envs.games.game_tables import game_tables
from pkubench.envs.games.histories import enumerate_histories
from pkubench.envs.games.trees import game_tree, registered_tree
from pkubench.errors import ActionError, ConfigError

GAMES = ["LeducPoker-v0", "KuhnPoker-v0", "LiarsDice4-v0", "Goofspiel4-v0"]


def states_of(tree: GameTree) -> list[pyspiel.State]:
    """OpenSpiel's state at every history, found by its own moves alone."""
    histories = tree.histories
    states = [pyspiel.load_game(tree.name).new_initial_state()]
    for parent, action in zip(histories.parent[1:], histories.action[1:], strict=True):
        states.append(states[parent].child(int(action)))
    return states


@pytest.mark.parametrize("env", GAMES)
def test_every_history_shows_what_openspiels_state_shows(env: str) -> None:
    tree = registered_tree(env)
    games = GameBatch(tree, len(tree.histories.player))
    games.history[:] = np.arange(len(games.history))
    observations, masks, rows = games.observations, games.action_mask, games.row
    texts = [state.text for player in (0, 1) for state in tree.information_states(player)]
    tables = game_tables(tree)
    ends = 0
    for k, state in enumerate(states_of(tree)):
        assert games.over[k] == state.is_terminal()
        if state.is_terminal():
            assert games.returns[k].tolist() == state.returns()
            assert (observations[k] == 0.0).all() and (masks[k] == 1).all()
            assert rows[k] == len(texts) and games.player[k] < 0
            ends += 1
            continue
        assert (games.returns[k] == 0.0).all()
        if state.is_chance_node():
            continue
        player = state.current_player()
        assert games.player[k] == player
        assert texts[rows[k]] == state.information_state_string(player)
        np.testing.assert_array_equal(
            observations[k], np.float32(state.information_state_tensor(player))
        )
        assert masks[k].tolist() == state.legal_actions_mask(player)
        children = np.flatnonzero(tables.child[k] >= 0)
        assert children.tolist() == state.legal_actions()
        for action in children.tolist():
            child = tables.child[k, action]
            assert tree.histories.parent[child] == k
            assert tree.histories.action[child] == action
    assert ends == tree.num_terminals


@pytest.mark.parametrize("env", GAMES)
def test_chance_draws_each_deal_with_the_probability_openspiel_gives_it(env: str) -> None:
    tree = registered_tree(env)
    tables = game_tables(tree)

    def deals(node: int, state: pyspiel.State) -> dict[int, float]:
        if not state.is_chance_node():
            return {node: 1.0}
        found: dict[int, float] = {}
        first = int(tree.histories.first_child[node])
        for k, (action, p) in enumerate(state.chance_outcomes()):
            for end, q in deals(first + k, state.child(action)).items():
                found[end] = found.get(end, 0.0) + p * q
        return found

    for k, state in enumerate(states_of(tree)):
        parent = tree.histories.parent[k]
        if not state.is_chance_node() or (k and tables.is_chance[parent]):
            continue
        wanted = deals(k, state)
        grid = (np.arange(10_000) + 0.5) / 10_000
        drawn = tables.after_chance(np.full(len(grid), k), grid)
        reached, counts = np.unique(drawn, return_counts=True)
        assert reached.tolist() == sorted(wanted)
        probabilities = [wanted[end] for end in reached.tolist()]
        np.testing.assert_allclose(counts / len(grid), probabilities, atol=2e-4)
        edges = tables.after_chance(np.array([k, k]), np.array([0.0, np.nextafter(1.0, 0.0)]))
        assert edges.tolist() == [reached[0], reached[-1]]


MOVES_IN_A_ROW = """EFG 2 R "Moves" { "A" "B" } ""
c "" 1 "" { "play" 1/4 "skip" 3/4 } 0
p "" 1 1 "" { "go" "stop" } 0
c "" 2 "" { "up" 1/5 "down" 4/5 } 0
t "" 1 "" { 1 -1 }
t "" 2 "" { 2 -2 }
t "" 3 "" { 3 -3 }
c "" 3 "" { "on" 1/3 "off" 2/3 } 0
c "" 4 "" { "in" 1/2 "out" 1/2 } 0
t "" 4 "" { 4 -4 }
t "" 5 "" { 5 -5 }
t "" 6 "" { 6 -6 }
"""


def test_moves_of_chance_in_a_row_are_one_draw() -> None:
    # The root reaches the decision (1/4) or, three moves deep, 4, 5 (each 3/4 1/3 1/2) or 6 (1/2);
    # "go" draws 1 or 2. The deepest outcomes of the first draw come after those of the second.
    histories = enumerate_histories(pyspiel.load_efg_game(MOVES_IN_A_ROW))
    only, none = histories.states
    seen = dataclasses.replace(only, tensors=np.ones((1, 1), np.float32))
    unseen = dataclasses.replace(none, tensors=np.zeros((0, 1), np.float32))
    tree = GameTree(dataclasses.replace(histories, states=(seen, unseen)))
    games = GameBatch(tree, 30_000)
    games.reset(np.arange(30_000))
    for wanted in (
        {0.0: 1 / 4, 4.0: 1 / 8, 5.0: 1 / 8, 6.0: 1 / 2},
        {1.0: 1 / 20, 2.0: 1 / 5, 4.0: 1 / 8, 5.0: 1 / 8, 6.0: 1 / 2},
    ):
        values, counts = np.unique(games.returns[:, 0], return_counts=True)
        assert values.tolist() == list(wanted)
        np.testing.assert_allclose(counts / 30_000, list(wanted.values()), atol=0.012)
        games.step(games.action_mask.argmax(axis=1))
    assert games.over.all()


def test_mean_returns_are_the_exact_expected_value() -> None:
    tree = registered_tree("LeducPoker-v0")
    rng = np.random.default_rng(0)
    plans = [tree.random_plan(player, rng) for player in (0, 1)]
    table = np.vstack([*(tree.table(plans[p], p) for p in (0, 1)), np.full((1, 3), 1 / 3)])
    games = GameBatch(tree, 40_000)
    games.reset(np.arange(40_000))
    while not games.over.all():
        draws = rng.random((40_000, 1))
        games.step((draws >= np.cumsum(table[games.row], axis=1)).sum(axis=1).clip(max=2))
    won = games.returns[:, 0]
    np.testing.assert_array_equal(games.returns[:, 1], -won)
    assert won.mean() == pytest.approx(tree.expected_value(*plans), abs=4 * won.std() / 200)


def test_a_play_does_not_depend_on_its_index_and_waits_where_not_active() -> None:
    tree = registered_tree("LeducPoker-v0")
    alone, many = GameBatch(tree, 1), GameBatch(tree, 9)
    many.reset(np.arange(9) + 50)
    for seed in range(9):
        alone.reset(np.array([seed + 50]))
        assert alone.history[0] == many.history[seed]
    assert len(set(many.history.tolist())) > 4
    for seed in range(30):
        many.reset(np.arange(9) * 1000)
        many.reset(np.array([seed]), np.array([6]))
        alone.reset(np.array([seed]))
        others = np.delete(many.history, 6)
        while not alone.over[0]:
            assert alone.history[0] == many.history[6]
            action = alone.action_mask.argmax(axis=1)
            alone.step(action)
            many.step(np.full(9, action[0]), np.arange(9) == 6)
        assert alone.returns.tolist() == many.returns[6:7].tolist()
        np.testing.assert_array_equal(np.delete(many.history, 6), others)
        before = alone.history.copy()
        alone.step(np.array([99]))  # a finished play takes no notice
        assert alone.history == before


def test_what_is_against_the_rules_is_named() -> None:
    tree = registered_tree("LeducPoker-v0")
    games = GameBatch(tree, 2)
    games.reset(np.arange(2))
    with pytest.raises(ActionError, match=r"action 0 is illegal in game 1; legal: \[1, 2\]"):
        games.step(np.array([1, 0]))
    assert (games.player == 0).all()  # nothing has moved
    with pytest.raises(ActionError, match=r"0 \.\. 2"):
        games.step(np.array([1, 3]))
    with pytest.raises(ConfigError, match="num_games"):
        GameBatch(tree, 0)
    with pytest.raises(GameError, match="no information-state tensors"):
        GameBatch(game_tree("openspiel:coordinated_mp"), 1)
