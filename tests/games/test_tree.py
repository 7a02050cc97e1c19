"""The exact engine, checked against OpenSpiel, published values and hand-worked games."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pyspiel
import pytest

from pkubench.envs.games import (
    GameTree,
)

GOOFSPIEL = "goofspiel(num_cards={},imp_info=True,points_order=descending,returns_type={})"
TREES: dict[str, GameTree] = {}


def tree_of(name: str) -> GameTree:
    if name not in TREES:
        TREES[name] = GameTree.from_openspiel(name)
    return TREES[name]


# Sizes and uniform NashConv: psd-psro, table 4.4 (OpenSpiel's own enumeration). Values: the exact
# value of Kuhn poker is -1/18 (Kuhn 1950); the others were computed independently.
TABLE = [
    ("kuhn_poker", 6, 13, 30, 11, 2, -1 / 18, 0.916667),
    ("leduc_poker", 468, 1093, 5520, 30, 3, -0.08560642, 4.747222),
    ("liars_dice(dice_sides=4)", 512, 1021, 4080, 15, 9, 0.0625, 1.310119),
    ("liars_dice(dice_sides=5)", 2560, 5116, 25575, 18, 11, 0.008, 1.441742),
    ("liars_dice(dice_sides=6)", 12288, 24571, 147420, 21, 13, -0.02713178, 1.561489),
    (GOOFSPIEL.format(4, "win_loss"), 81, 175, 576, 70, 4, 0.0, 1.416667),
    (GOOFSPIEL.format(5, "win_loss"), 1062, 2284, 14400, 101, 5, 0.0, 1.55),
    (GOOFSPIEL.format(5, "point_difference"), 1062, 2284, 14400, 101, 5, 0.0, 4.0),
]
SMALL = [row[0] for row in TABLE if row[3] < 6000]


@pytest.mark.parametrize(
    ("name", "states", "sequences", "terminals", "tensor", "actions", "value", "uniform"), TABLE
)
def test_sizes_and_values_are_those_of_the_literature(
    name: str,
    states: int,
    sequences: int,
    terminals: int,
    tensor: int,
    actions: int,
    value: float,
    uniform: float,
) -> None:
    tree = tree_of(name)
    assert tree.num_information_states == (states, states)
    assert tree.num_sequences == (sequences, sequences)
    assert tree.num_terminals == terminals
    assert tree.tensors(0).shape == tree.tensors(1).shape == (states, tensor)
    assert tree.num_actions == actions
    assert tree.nash_conv(tree.uniform_plan(0), tree.uniform_plan(1)) == pytest.approx(
        uniform, abs=1e-6
    )
    solution = tree.solve()
    # Table 4.4 prints eight decimals.
    assert solution.value == pytest.approx(value, abs=1e-8)
    assert tree.nash_conv(solution.x, solution.y) == pytest.approx(0.0, abs=1e-9)


def random_policy(tree: GameTree, rng: np.random.Generator) -> dict[str, dict[int, float]]:
    policy = {}
    for player in (0, 1):
        for state in tree.information_states(player):
            draws = rng.exponential(size=len(state.legal_actions))
            # One state in four is deterministic: best responses then meet unreachable states.
            if rng.random() < 0.25:
                draws = np.eye(len(draws))[rng.integers(len(draws))]
            probabilities = (draws / draws.sum()).tolist()
            policy[state.text] = dict(zip(state.legal_actions, probabilities, strict=True))
    return policy


@pytest.mark.parametrize("name", SMALL)
def test_nash_conv_equals_openspiels_on_random_behavioural_policies(name: str) -> None:
    tree = tree_of(name)
    game = pyspiel.load_game(name)
    if game.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        game = pyspiel.convert_to_turn_based(game)
    rng = np.random.default_rng(7)
    # OpenSpiel takes a tenth of a second a call; poker gets the full twenty.
    for trial in range(20 if "poker" in name else 6):
        policy = random_policy(tree, rng)
        x, y = (tree.realization_plan(policy, player) for player in (0, 1))
        table = {text: list(row.items()) for text, row in policy.items()}
        theirs = pyspiel.nash_conv(game, table)
        assert tree.nash_conv(x, y) == pytest.approx(theirs, abs=1e-9)
        assert tree.exploitability(x, y) == pytest.approx(theirs / 2, abs=1e-9)
        if trial > 2:
            continue
        expected = pyspiel.expected_returns(
            game.new_initial_state(), pyspiel.TabularPolicy(table), -1, True
        )
        assert tree.expected_value(x, y) == pytest.approx(expected[0], abs=1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_best_responses_attain_their_value_and_make_up_nash_conv(name: str) -> None:
    tree = tree_of(name)
    rng = np.random.default_rng(3)
    x, y = tree.random_plan(0, rng), tree.random_plan(1, rng, pure=True)
    value_0, response_0 = tree.best_response(0, y)
    value_1, response_1 = tree.best_response(1, x)
    assert tree.expected_value(response_0, y) == pytest.approx(value_0, abs=1e-9)
    assert -tree.expected_value(x, response_1) == pytest.approx(value_1, abs=1e-9)
    assert tree.nash_conv(x, y) == pytest.approx(value_0 + value_1, abs=1e-9)
    assert set(np.unique(response_0)) <= {0.0, 1.0}
    for _ in range(50):
        assert tree.expected_value(tree.random_plan(0, rng), y) <= value_0 + 1e-12
        assert -tree.expected_value(x, tree.random_plan(1, rng)) <= value_1 + 1e-12


def test_a_hand_worked_kuhn_best_response() -> None:
    # Player 1 always passes (bets nothing, folds to a bet). Then betting wins the ante of 1
    # whatever the cards; passing wins or loses the showdown. So the best response bets always with
    # value 1, and with a king passing is worth 1 as well: the tie goes to the lower action, pass.
    tree = tree_of("kuhn_poker")
    y = tree.realization_plan(lambda _: {0: 1.0}, 1)
    value, plan = tree.best_response(0, y)
    assert value == pytest.approx(1.0)
    play = tree.behaviour(plan, 0)
    assert play["0"] == {0: 0.0, 1: 1.0}
    assert play["1"] == {0: 0.0, 1: 1.0}
    assert play["2"] == {0: 1.0, 1: 0.0}
    # Against always passing by player 0, likewise.
    x = tree.realization_plan(lambda _: {0: 1.0}, 0)
    assert tree.best_response(1, x)[0] == pytest.approx(1.0)
    # Both always pass: the showdown is even, both gain 1 by betting.
    assert tree.expected_value(x, y) == pytest.approx(0.0)
    assert tree.nash_conv(x, y) == pytest.approx(2.0)


def test_the_known_kuhn_equilibrium_family_has_no_exploitability() -> None:
    tree = tree_of("kuhn_poker")
    third = 1 / 3
    for alpha in (0.0, 0.1, third):
        first = {"0": alpha, "0pb": 0.0, "1": 0.0, "1pb": alpha + third, "2": 3 * alpha, "2pb": 1.0}
        second = {"0p": third, "0b": 0.0, "1p": 0.0, "1b": third, "2p": 1.0, "2b": 1.0}
        policy = {text: {0: 1 - bet, 1: bet} for text, bet in {**first, **second}.items()}
        x, y = (tree.realization_plan(policy, player) for player in (0, 1))
        assert tree.expected_value(x, y) == pytest.approx(-1 / 18, abs=1e-12)
        assert tree.nash_conv(x, y) == pytest.approx(0.0, abs=1e-12)


def test_a_simultaneous_matrix_game_is_scored_as_worked_by_hand() -> None:
    tree = tree_of("matrix_rps")
    rock = tree.realization_plan(lambda _: {0: 1.0}, 0)
    mixed = tree.realization_plan(lambda _: {0: 0.5, 1: 0.5}, 1)
    # Rock against half rock, half paper loses half; paper wins half against it; player 1's best
    # answer to rock is paper for 1.
    assert tree.expected_value(rock, mixed) == pytest.approx(-0.5)
    assert tree.best_response(0, mixed)[0] == pytest.approx(0.5)
    assert tree.nash_conv(rock, mixed) == pytest.approx(1.5)
    np.testing.assert_allclose(tree.solve().x, [1, 1 / 3, 1 / 3, 1 / 3], atol=1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_plans_and_behavioural_policies_are_inverse_to_each_other(name: str) -> None:
    tree = tree_of(name)
    rng = np.random.default_rng(0)
    for player in (0, 1):
        plan = tree.random_plan(player, rng)
        np.testing.assert_allclose(
            tree.realization_plan(tree.behaviour(plan, player), player), plan, atol=1e-12
        )
        np.testing.assert_allclose(
            tree.plan_from_table(tree.table(plan, player), player), plan, atol=1e-12
        )
        pure = tree.random_plan(player, rng, pure=True)
        assert set(np.unique(pure)) == {0.0, 1.0}
        back = tree.behaviour(pure, player)
        np.testing.assert_array_equal(tree.realization_plan(back, player), pure)


def test_a_plan_is_the_product_of_own_probabilities_along_the_path() -> None:
    tree = tree_of("kuhn_poker")
    policy = {s.text: {0: 0.25, 1: 0.75} for s in tree.information_states(0)}
    policy["1pb"] = {0: 0.9, 1: 0.1}
    plan = dict(zip(sequences(tree, 0), tree.realization_plan(policy, 0).tolist(), strict=True))
    assert plan["", -1] == 1.0
    assert plan["1", 0] == pytest.approx(0.25)
    assert plan["1pb", 1] == pytest.approx(0.25 * 0.1)
    assert plan["0pb", 1] == pytest.approx(0.25 * 0.75)


def sequences(tree: GameTree, player: int) -> list[tuple[str, int]]:
    """Names of a player's sequences, by the documented order."""
    named = [("", -1)]
    for state in tree.information_states(player):
        named += [(state.text, action) for action in state.legal_actions]
    return named


def test_mixing_plans_is_not_averaging_action_probabilities() -> None:
    # Half "pass, then fold", half "bet": conditioned on passing first, the mixture always folds;
    # averaging probabilities would call half of the time.
    tree = tree_of("kuhn_poker")
    timid = tree.realization_plan(lambda _: {0: 1.0}, 0)
    bold = tree.realization_plan(lambda _: {1: 1.0}, 0)
    mixed = tree.mix([timid, bold], [0.5, 0.5])
    played = tree.behaviour(mixed, 0)
    assert played["1"] == {0: 0.5, 1: 0.5}
    assert played["1pb"] == {0: 1.0, 1: 0.0}
    averaged = tree.realization_plan(lambda _: {0: 0.5, 1: 0.5}, 0)
    y = tree.solve().y
    assert tree.expected_value(mixed, y) == pytest.approx(
        (tree.expected_value(timid, y) + tree.expected_value(bold, y)) / 2
    )
    assert tree.nash_conv(mixed, y) != pytest.approx(tree.nash_conv(averaged, y), abs=1e-3)


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker", "liars_dice(dice_sides=4)"])
def test_population_exploitability_has_the_properties_of_the_paper(name: str) -> None:
    tree = tree_of(name)
    rng = np.random.default_rng(5)
    plans = [np.stack([tree.random_plan(p, rng) for _ in range(6)]) for p in (0, 1)]
    scores = []
    for size in range(1, 7):
        xs, ys = plans[0][:size], plans[1][:size]
        score = tree.population_exploitability(xs, ys)
        assert score >= 0.0
        for _ in range(5):
            x = tree.mix(xs, rng.dirichlet(np.ones(size)))
            y = tree.mix(ys, rng.dirichlet(np.ones(size)))
            assert score <= tree.nash_conv(x, y) + 1e-9
        scores.append(score)
    assert scores[0] == pytest.approx(tree.nash_conv(plans[0][0], plans[1][0]), abs=1e-9)
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(scores))
    assert scores[-1] < scores[0]
    best = tree.solve()
    with_equilibrium = [np.vstack([plans[0], best.x]), np.vstack([plans[1], best.y])]
    assert tree.population_exploitability(*with_equilibrium) == pytest.approx(0.0, abs=1e-8)
    hull = tree.population_value(0, plans[0])
    x = tree.mix(plans[0], hull.weights)
    assert -tree.best_response(1, x)[0] == pytest.approx(hull.value, abs=1e-9)


def test_population_exploitability_of_rock_and_paper_is_worked_by_hand() -> None:
    # Mixtures of rock (p) and paper (1-p): scissors gets 1-2p, paper gets p, rock gets p-1. The
    # opponent's best is max(p, 1-2p), least at p = 1/3 with value 1/3, so each side loses 1/3.
    tree = tree_of("matrix_rps")
    both = [np.eye(4)[[1, 2]] + np.eye(4)[0] for _ in range(2)]
    assert tree.population_exploitability(*both) == pytest.approx(2 / 3, abs=1e-9)
    np.testing.assert_allclose(tree.population_value(1, both[1]).weights, [1 / 3, 2 / 3], atol=1e-9)


def test_payoffs_of_populations_are_expected_values() -> None:
    tree = tree_of("leduc_poker")
    rng = np.random.default_rng(1)
    xs = [tree.random_plan(0, rng) for _ in range(3)]
    ys = [tree.random_plan(1, rng) for _ in range(2)]
    table = [[tree.expected_value(x, y) for y in ys] for x in xs]
    np.testing.assert_allclose(tree.payoffs(xs, ys), table, atol=1e-12)


def test_a_tree_survives_pickling_and_has_a_stable_fingerprint() -> None:
    tree = tree_of("kuhn_poker")
    copy = pickle.loads(pickle.dumps(tree))
    assert copy.fingerprint == GameTree.from_openspiel("kuhn_poker").fingerprint
    assert copy.fingerprint != tree_of("leduc_poker").fingerprint
    assert copy.solve().value == tree.solve().value
