"""Matrix games, checked against closed forms, the tree engine and OpenSpiel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.envs.games import (
    GameError,
    MatrixGame,
    PlanError,
    SymmetricMatrixGame,
    ZeroSumGame,
    make_matrix_game,
)
from pkubench.envs.games.trees import game_tree


def named(spelling: str) -> SymmetricMatrixGame:
    game = make_matrix_game(f"matrix:{spelling}")
    assert isinstance(game, SymmetricMatrixGame)
    return game


# Scores


def test_scores_of_rock_paper_scissors_are_worked_by_hand() -> None:
    game = named("rock_paper_scissors")
    rock, half = np.eye(3)[0], np.array([0.5, 0.5, 0.0])
    # Paper beats half rock, half paper for 1/2; against rock it wins 1.
    assert game.exploitability_of(half) == 0.5
    assert game.exploitability_of(rock) == 1.0
    # x = rock, y = half: rock loses 1/2; player 0 could win 1/2 (paper), player 1 could win 1.
    assert game.expected_value(rock, half) == -0.5
    assert game.nash_conv(rock, half) == 1.5
    assert game.exploitability(rock, half) == 0.75
    assert game.best_response(0, half)[0] == 0.5
    value, answer = game.best_response(1, rock)
    assert (value, answer.tolist()) == (1.0, [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(game.gains(1, half), [-0.5, 0.5, 0.0])
    # Mixtures of rock (p) and paper lose max(p, 1 - 2p) at best, 1/3 at p = 1/3.
    hull = game.population_value(0, np.eye(3)[:2])
    assert hull.value == pytest.approx(-1 / 3, abs=1e-12)
    np.testing.assert_allclose(hull.weights, [1 / 3, 2 / 3], atol=1e-12)
    assert game.population_exploitability_of(np.eye(3)[:2]) == pytest.approx(1 / 3, abs=1e-12)
    both = game.population_exploitability(np.eye(3)[:2], np.eye(3)[:2])
    assert both == pytest.approx(2 / 3, abs=1e-12)
    # The restricted equilibrium is paper alone, which scissors beats for 1: PE is not its score.
    assert game.exploitability_of([0.0, 1.0, 0.0]) == 1.0


def test_an_asymmetric_game_is_scored_from_both_sides() -> None:
    # Rows (3, -1) and (-2, 1): q = p rows mix to indifference at p = 3/7, value 1/7.
    game = MatrixGame([[3, -1], [-2, 1]])
    solution = game.solve()
    assert solution.value == pytest.approx(1 / 7, abs=1e-12)
    np.testing.assert_allclose(solution.x, [3 / 7, 4 / 7], atol=1e-12)
    np.testing.assert_allclose(solution.y, [2 / 7, 5 / 7], atol=1e-12)
    top, left = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    # Player 1 leaves left (pays 3) for right (wins 1): gains 4; player 0 has nothing better.
    assert game.nash_conv(top, left) == 4.0
    assert game.best_response(1, top)[0] == 1.0 and game.best_response(0, left)[0] == 3.0
    # Confined to the first row player 0 is sure of -1, confined to left player 1 of -3.
    assert game.population_exploitability([top], [left]) == pytest.approx(4.0)
    assert game.population_value(1, [left]).value == pytest.approx(-3.0)


@pytest.mark.parametrize("spelling", ["blotto(5,3)", "gaussian(6,4)", "cyclic(5)", "elo(8,0.5)"])
def test_a_matrix_game_and_its_tree_give_the_same_scores(spelling: str) -> None:
    game = make_matrix_game(f"matrix:{spelling}")
    tree = game.tree()
    assert isinstance(game, ZeroSumGame) and isinstance(tree, ZeroSumGame)
    rng = np.random.default_rng(0)
    plans = [np.stack([game.random_plan(p, rng) for _ in range(3)]) for p in (0, 1)]
    rooted = [np.hstack([np.ones((3, 1)), rows]) for rows in plans]
    assert tree.max_utility == game.max_utility and tree.name == game.name
    np.testing.assert_allclose(tree.payoffs(*rooted), game.payoffs(*plans), atol=1e-12)
    weights = np.array([0.2, 0.3, 0.5])
    x, y = (game.mix(rows, weights) for rows in plans)
    rooted_x, rooted_y = (tree.mix(rows, weights) for rows in rooted)
    np.testing.assert_allclose(rooted_x[1:], x, atol=1e-12)
    for ours, theirs in (
        (game.expected_value(x, y), tree.expected_value(rooted_x, rooted_y)),
        (game.nash_conv(x, y), tree.nash_conv(rooted_x, rooted_y)),
        (game.exploitability(x, y), tree.exploitability(rooted_x, rooted_y)),
        (game.population_exploitability(*plans), tree.population_exploitability(*rooted)),
        (game.solve().value, tree.solve().value),
    ):
        assert ours == pytest.approx(theirs, abs=1e-9)
    for player, opponent, rooted_opponent in ((0, y, rooted_y), (1, x, rooted_x)):
        value, plan = game.best_response(player, opponent)
        theirs = tree.best_response(player, rooted_opponent)
        assert value == pytest.approx(theirs[0], abs=1e-12)
        np.testing.assert_array_equal(plan, theirs[1][1:])


def test_population_exploitability_has_the_properties_of_the_paper() -> None:
    game = named("blotto(10,3)")
    rng = np.random.default_rng(2)
    plans = np.stack([game.random_plan(0, rng, pure=k % 2 == 0) for k in range(8)])
    scores = [game.population_exploitability_of(plans[: k + 1]) for k in range(8)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(scores))
    assert 0.0 < scores[-1] < scores[0]
    assert scores[0] == pytest.approx(game.exploitability_of(plans[0]), abs=1e-12)
    for _ in range(20):
        mixture = game.mix(plans, rng.dirichlet(np.ones(8)))
        assert scores[-1] <= game.exploitability_of(mixture) + 1e-12
    # The restricted equilibrium is one of these mixtures, and not the best of them.
    restricted = SymmetricMatrixGame(game.payoffs(plans, plans)).solve().x
    assert scores[-1] < game.exploitability_of(game.mix(plans, restricted)) - 1e-3
    with_equilibrium = np.vstack([plans[:1], game.solve().x])
    assert game.population_exploitability_of(with_equilibrium) == pytest.approx(0.0, abs=1e-9)
    two = game.population_exploitability(plans, plans)
    assert two == pytest.approx(2 * scores[-1], abs=1e-9)


def test_ties_go_to_the_lowest_action_or_are_random() -> None:
    game = MatrixGame([[1.0, 0.0], [0.0, 0.0], [1.0 - 1e-15, 0.0]])
    left = np.array([1.0, 0.0])
    assert game.best_response(0, left)[1].tolist() == [1.0, 0.0, 0.0]
    rng = np.random.default_rng(0)
    drawn = {int(game.best_response(0, left, rng)[1].argmax()) for _ in range(40)}
    assert drawn == {0, 2}


@pytest.mark.parametrize("as_tree", [False, True])
def test_double_oracle_solves_a_matrix_game_as_it_is_and_as_a_tree(as_tree: bool) -> None:
    spelling = "matrix:blotto(5,3)"
    game: ZeroSumGame = game_tree(spelling) if as_tree else make_matrix_game(spelling)
    learner = PopulationLearner(game, PSROConfig(), 0)
    while not learner.finished:
        learner.advance()
    assert learner.measure(True)["restricted_value"] == pytest.approx(0.0, abs=1e-9)
    assert learner.measure(True)["nash_conv"] == pytest.approx(0.0, abs=1e-9)


# The catalogue


# Files


@pytest.mark.parametrize("player", [0, 1])
def test_policies_of_a_matrix_game_are_those_of_its_tree(player: int) -> None:
    game = make_matrix_game("matrix:gaussian(3,5)")
    tree, rng = game.tree(), np.random.default_rng(0)
    assert game.num_actions == tree.num_actions == 5
    (mine,), (its,) = game.information_states(player), tree.information_states(player)
    assert (mine.text, mine.legal_actions) == (its.text, its.legal_actions)
    np.testing.assert_array_equal(game.tensors(player), tree.tensors(player))
    np.testing.assert_array_equal(mine.tensor, its.tensor)
    np.testing.assert_array_equal(game.legal_mask(player), tree.legal_mask(player))
    plan = game.random_plan(player, rng)
    table = np.zeros((1, 5))
    table[0, : len(plan)] = plan
    policy = {mine.text: dict(enumerate(plan.tolist()))}
    np.testing.assert_allclose(game.plan_from_table(table, player), plan)
    np.testing.assert_allclose(game.realization_plan(policy, player), plan)
    np.testing.assert_allclose(tree.realization_plan(policy, player)[1:], plan)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ([0.5, 0.5], "3 entries"),
        ([1.5, -0.5, 0.0], "negative"),
        ([np.nan, 0.5, 0.5], "NaN"),
        ([0.5, 0.4, 0.0], "sums to 0.9"),
        ([[1.0, 0.0, 0.0]], "stack"),
    ],
)
def test_an_array_that_is_not_a_strategy_is_refused(plan: list[float], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        named("rock_paper_scissors").exploitability_of(plan)


def test_a_game_too_large_for_a_tree_says_so() -> None:
    with pytest.raises(GameError, match="1500 x 1500 outcomes"):
        MatrixGame(np.zeros((1500, 1500))).tree()
    with pytest.raises(GameError, match="no scale"):
        MatrixGame(np.zeros((2, 2))).normalised()
    with pytest.raises(PlanError, match="empty"):
        named("cyclic").population_exploitability_of(np.zeros((0, 5)))
    with pytest.raises(PlanError, match="distribution"):
        named("cyclic").mix(np.eye(5), np.full(5, 0.3))
