"""Policy space diversity, checked against its definition, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from pkubench.agents.families.psro.distances import divergences, hull_distance
from pkubench.envs.games import GameError, GameTree, PlanError, ZeroSumGame, make_matrix_game
from pkubench.envs.games.histories import CHANCE
from pkubench.envs.games.normal_form import MatrixGame
from pkubench.envs.games.trees import game_tree

RPS = make_matrix_game("matrix:rock_paper_scissors")
ONES = np.ones(3)


def by_states(tree: GameTree, player: int, plan, other, opponent) -> float:
    """The definition: reach of each own decision x divergence of what is done there."""
    histories, total = tree.histories, 0.0
    mine, theirs = tree.table(plan, player), tree.table(other, player)
    reply = tree.table(opponent, 1 - player)
    position = [np.argsort(order) for order in tree.form.orders]
    reach = np.ones(len(histories.player))
    for k in range(1, len(reach)):
        above = histories.parent[k]
        mover, state = histories.player[above], histories.state[above]
        if mover == CHANCE:
            reach[k] = reach[above] * histories.chance[k]
        else:
            table = mine if mover == player else reply
            reach[k] = reach[above] * table[position[mover][state], histories.action[k]]
    for k in np.flatnonzero(histories.player == player):
        row = position[player][histories.state[k]]
        p, q = mine[row], theirs[row]
        total += reach[k] * sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
    return total


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker"])
@pytest.mark.parametrize("player", [0, 1])
def test_the_divergence_is_the_sum_over_decisions_of_a_play(name: str, player: int) -> None:
    tree = game_tree(name)
    rng = np.random.default_rng(player)
    plan, *members = (tree.random_plan(player, rng) for _ in range(3))
    for opponent in (
        tree.random_plan(1 - player, rng),
        tree.random_plan(1 - player, rng, pure=True),
    ):
        weights = tree.terminal_weights(player, opponent)
        # Plays end somewhere.
        assert weights @ plan == pytest.approx(1.0, abs=1e-12)
        found = divergences(plan, members, weights)
        wanted = [by_states(tree, player, plan, member, opponent) for member in members]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
        assert divergences(plan, plan, weights)[0] == 0.0


def test_the_divergence_has_the_new_policy_first() -> None:
    # KL((1/2, 1/4, 1/4) || (1/4, 1/4, 1/2)) = 1/2 log 2 + 1/4 log 1/2 = 1/4 log 2.
    new, old = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]
    assert divergences(new, old, ONES)[0] == pytest.approx(np.log(2) / 4, abs=1e-12)
    # What the new policy leaves out costs nothing; what the old one never does costs everything.
    assert divergences([0.5, 0.5, 0.0], [0.25, 0.25, 0.5], ONES)[0] == pytest.approx(np.log(2))
    assert divergences([0.25, 0.25, 0.5], [0.5, 0.5, 0.0], ONES)[0] == np.inf


def test_the_distance_of_a_symmetric_case_is_worked_by_hand() -> None:
    # Members lean to rock and to paper alike, the new policy to scissors: the nearest mixture is
    # half and half, (0.45, 0.45, 0.1), at 0.2 log(0.1/0.45) + 0.8 log(0.8/0.1).
    members = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]
    found = hull_distance([0.1, 0.1, 0.8], members, ONES)
    np.testing.assert_allclose(found.weights, [0.5, 0.5], atol=1e-6)
    wanted = 0.2 * np.log(0.1 / 0.45) + 0.8 * np.log(8.0)
    assert found.distance == pytest.approx(wanted, abs=1e-10)
    # The nearest member is farther: 0.1 log(1/8) + 0.8 log 8.
    nearest = divergences([0.1, 0.1, 0.8], members, ONES).min()
    assert nearest == pytest.approx(0.1 * np.log(1 / 8) + 0.8 * np.log(8.0), abs=1e-12)
    assert nearest > found.distance


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker", "matrix:blotto(5,3)"])
def test_a_mixture_of_members_is_in_the_hull_though_far_from_every_member(name: str) -> None:
    is_matrix = name.startswith("matrix:")
    game: ZeroSumGame = make_matrix_game(name) if is_matrix else game_tree(name)
    assert isinstance(game, MatrixGame) == is_matrix
    rng = np.random.default_rng(1)
    members = np.stack([game.random_plan(0, rng, pure=k < 3) for k in range(6)])
    weights = game.terminal_weights(0, game.uniform_plan(1))
    mixture = np.array([0.4, 0.0, 0.2, 0.3, 0.0, 0.1])
    inside = game.mix(members, mixture)
    found = hull_distance(inside, members, weights)
    assert 0.0 <= found.distance <= 1e-9 and found.gap <= 1e-10
    np.testing.assert_allclose(game.mix(members, found.weights), inside, atol=1e-3)
    assert divergences(inside, members, weights).min() > 0.05
    outside = game.random_plan(0, rng)
    assert hull_distance(outside, members, weights).distance > 0.01


def test_averaging_action_probabilities_leaves_the_hull() -> None:
    # Always pass or always bet: a policy that redraws at each decision is not a mixture of them.
    tree = game_tree("kuhn_poker")
    members = np.stack(
        [tree.realization_plan(lambda _, a=action: {a: 1.0}, 0) for action in (0, 1)]
    )
    weights = tree.terminal_weights(0, tree.uniform_plan(1))
    averaged = tree.realization_plan(lambda _: {0: 0.5, 1: 0.5}, 0)
    # Passing first and calling then is what neither does.
    assert hull_distance(averaged, members, weights).distance == np.inf
    smoothed = tree.smooth(0, members, 0.1)
    assert hull_distance(averaged, smoothed, weights).distance > 0.05
    half = tree.mix(smoothed, [0.5, 0.5])
    assert hull_distance(half, smoothed, weights).distance <= 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_no_search_finds_a_nearer_mixture(seed: int) -> None:
    tree = game_tree("kuhn_poker")
    rng = np.random.default_rng(seed)
    player = seed % 2
    plan = tree.random_plan(player, rng)
    members = np.stack([tree.random_plan(player, rng) for _ in range(3)])
    weights = tree.terminal_weights(player, tree.random_plan(1 - player, rng))
    found = hull_distance(plan, members, weights)
    assert found.weights.sum() == pytest.approx(1.0) and (found.weights >= 0.0).all()
    again = divergences(plan, found.weights @ members, weights)[0]
    assert found.distance == pytest.approx(again, abs=1e-12)

    def loss(logits: np.ndarray) -> float:
        shares = np.exp(logits - logits.max())
        return float(divergences(plan, (shares / shares.sum()) @ members, weights)[0])

    best = min(
        minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13}).fun
        for start in rng.normal(size=(4, 3))
    )
    assert best - 1e-7 <= found.distance <= best + 1e-10
    assert found.distance <= divergences(plan, members, weights).min()
    # Fewer members, a smaller hull, a larger distance.
    assert hull_distance(plan, members[:2], weights).distance >= found.distance - 1e-10


def test_large_populations_of_smoothed_pure_policies_are_certified() -> None:
    tree = game_tree("leduc_poker")
    rng = np.random.default_rng(0)
    pure = np.stack([tree.random_plan(0, rng, pure=True) for _ in range(60)])
    members = tree.smooth(0, pure, 1e-3)
    weights = tree.terminal_weights(0, tree.uniform_plan(1))
    new = tree.smooth(0, tree.random_plan(0, rng, pure=True), 1e-3)
    found = hull_distance(new, members, weights)
    assert found.gap <= 1e-10 and 0.0 < found.distance < divergences(new, members, weights).min()
    # Small moves towards any member, and draws from anywhere, are no nearer.
    for towards in np.eye(60):
        other = (0.999 * found.weights + 0.001 * towards) @ members
        assert divergences(new, other, weights)[0] >= found.distance - 1e-10
    others = rng.dirichlet(np.full(60, 0.1), size=100) @ members
    assert divergences(new, others, weights).min() > found.distance
    # The same policy twice changes nothing.
    twice = hull_distance(new, np.vstack([members, members[:9]]), weights)
    assert twice.distance == pytest.approx(found.distance, abs=1e-9)


def test_smoothing_is_that_of_the_official_code() -> None:
    np.testing.assert_allclose(
        RPS.smooth(0, [1.0, 0.0, 0.0], 0.001), np.array([1.001, 0.001, 0.001]) / 1.003
    )
    tree = game_tree("kuhn_poker")
    always = tree.realization_plan(lambda _: {0: 1.0}, 0)
    smoothed = tree.behaviour(tree.smooth(0, always, 0.25), 0)
    assert smoothed["0"] == pytest.approx({0: 1.25 / 1.5, 1: 0.25 / 1.5})
    assert smoothed["0pb"] == pytest.approx({0: 1.25 / 1.5, 1: 0.25 / 1.5})
    np.testing.assert_allclose(tree.smooth(0, always, 0.0)[[0]], 1.0)


def test_incompatible_shapes_are_refused() -> None:
    with pytest.raises(PlanError, match="are incompatible"):
        divergences([1.0, 0.0], np.eye(3), ONES)
    with pytest.raises(PlanError, match="are incompatible"):
        hull_distance([1.0, 0.0, 0.0], np.zeros((0, 3)), ONES)
    with pytest.raises(PlanError, match="smoothing"):
        RPS.smooth(0, [1.0, 0.0, 0.0], -1.0)
    with pytest.raises(PlanError, match="sums to"):
        RPS.terminal_weights(0, [0.5, 0.5, 0.5])
    with pytest.raises(GameError, match=r"did not converge.*smoothing=0.01.*diversity=members"):
        hull_distance([0.2, 0.3, 0.5], [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]], ONES, tolerance=-1.0)
