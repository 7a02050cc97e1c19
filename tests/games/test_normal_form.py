"""Matrix games, held to closed forms, to the tree engine and to OpenSpiel."""

from __future__ import annotations

import itertools
import os
from math import comb
from pathlib import Path

import numpy as np
import pyspiel
import pytest

import pkubench
from pkubench.agents.contract import Population
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.envs.core.registry import make_batch
from pkubench.envs.games import (
    GameError,
    MatrixGame,
    PlanError,
    SymmetricMatrixGame,
    ZeroSumGame,
    load_payoff,
    make_matrix_game,
)
from pkubench.envs.games.matrix_catalogue import compositions
from pkubench.envs.games.trees import game_tree, matrix_game
from pkubench.errors import ConfigError, UnknownName


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


def test_ties_go_to_the_lowest_action_or_to_the_lot() -> None:
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


@pytest.mark.parametrize(
    ("coins", "fields", "actions"),
    [(5, 3, 21), (5, 4, 56), (5, 5, 126), (10, 3, 66), (10, 4, 286), (10, 5, 1001)],
)
def test_blotto_has_as_many_actions_as_there_are_compositions(
    coins: int, fields: int, actions: int
) -> None:
    placed = compositions(coins, fields)
    assert placed.shape == (actions, fields) and actions == comb(coins + fields - 1, fields - 1)
    assert (placed >= 0).all() and (placed.sum(axis=1) == coins).all()
    as_tuples = [tuple(row) for row in placed.tolist()]
    assert as_tuples == sorted(set(as_tuples))
    if actions < 300:
        game = named(f"blotto({coins},{fields})")
        assert game.shape == (actions, actions) and game.max_utility == 1.0


@pytest.mark.parametrize(("coins", "rank"), [(5, 12), (10, 30)])
def test_blotto_is_openspiels_and_of_the_known_rank(coins: int, rank: int) -> None:
    game = named(f"blotto({coins},3)")
    theirs = pyspiel.load_matrix_game(f"blotto(coins={coins},fields=3)")
    np.testing.assert_array_equal(game.payoff, theirs.row_utilities())
    assert np.linalg.matrix_rank(game.payoff) == rank
    # (4, 1, 0) against (2, 2, 1): one field won, two lost.
    placed = [tuple(row) for row in compositions(5, 3).tolist()]
    five = named("blotto(5,3)")
    assert five.payoff[placed.index((4, 1, 0)), placed.index((2, 2, 1))] == -1.0
    assert five.payoff[placed.index((3, 2, 0)), placed.index((2, 0, 3))] == 1.0


def test_blotto_with_one_field_has_one_action() -> None:
    assert compositions(7, 1).tolist() == [[7]]
    assert named("blotto(7,1)").payoff.tolist() == [[0.0]]


def test_weighted_rock_paper_scissors_has_its_textbook_equilibrium() -> None:
    solution = named("rock_paper_scissors(rock=2,paper=3,scissors=5)").solve()
    np.testing.assert_allclose(solution.x, [0.5, 0.2, 0.3], atol=1e-9)
    assert solution.value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("n", [3, 5, 7])
def test_cyclic_games_have_no_ratings_and_only_the_uniform_equilibrium(n: int) -> None:
    game = named(f"cyclic({n})")
    assert ((game.payoff == 1.0).sum(axis=1) == n // 2).all()
    np.testing.assert_array_equal(game.payoff[0, 1 : 1 + n // 2], 1.0)
    np.testing.assert_array_equal(game.ratings(), 0.0)
    np.testing.assert_allclose(game.solve().x, 1 / n, atol=1e-9)
    # Nothing but the uniform strategy is unexploitable: the payoff matrix has a one-dimensional
    # kernel.
    assert np.linalg.matrix_rank(game.payoff) == n - 1
    np.testing.assert_array_equal(named("cyclic(3)").payoff, -named("rock_paper_scissors").payoff)


def curl(payoff: np.ndarray) -> float:
    """The largest payoff collected by going round a triangle of actions; 0 without cycles."""
    round_trip = payoff[:, :, None] + payoff[None, :, :] + payoff.T[:, None, :]
    return float(np.abs(round_trip).max())


def test_transitive_games_have_no_curl_and_cyclic_games_no_divergence() -> None:
    transitive, cyclic = named("transitive(12)"), named("cyclic(7)")
    assert curl(transitive.payoff) < 1e-12 < 1.0 < curl(cyclic.payoff)
    np.testing.assert_allclose(transitive.cyclic_part(), 0.0, atol=1e-12)
    assert np.linalg.matrix_rank(transitive.payoff) == 2
    best = int(transitive.ratings().argmax())
    assert transitive.exploitability_of(np.eye(12)[best]) == 0.0
    # Any game is ratings plus a part that no rating explains.
    game = named("game_of_skill(30)")
    ratings, rest = game.ratings(), game.cyclic_part()
    np.testing.assert_allclose(rest.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(ratings[:, None] - ratings[None, :] + rest, game.payoff, atol=1e-12)
    assert curl(rest) == pytest.approx(curl(game.payoff), abs=1e-12)


def test_elo_without_noise_is_transitive_in_its_log_odds() -> None:
    payoff = named("elo(20)").payoff
    win = (1.0 + payoff) / 2.0
    odds = np.log10(win / (1.0 - win)) * 400.0
    assert curl(odds) < 1e-6 and 0.0 <= np.ptp(odds[:, 0]) <= 2000.0
    assert np.ptp(odds[:, 0]) > 1000.0
    noisy = named("elo(20,0.5)")
    np.testing.assert_array_equal(np.abs(noisy.payoff) <= 1.0, True)
    assert 0.2 < np.std((noisy.payoff - payoff)[np.abs(payoff) < 0.2]) < 0.8
    best = int(payoff.sum(axis=1).argmax())
    assert named("elo(20)").exploitability_of(np.eye(20)[best]) == 0.0


def test_the_disc_is_a_game_of_rank_two_that_spans_areas() -> None:
    game = named("disc(400)")
    assert np.linalg.matrix_rank(game.payoff) == 2
    assert 0.9 < game.max_utility <= 1.0
    # Of evenly drawn points the mean of |x0 y1 - x1 y0| is E[r]^2 E|sin| = (2/3)^2 (2/pi).
    off = game.payoff[np.triu_indices(400, 1)]
    assert np.abs(off).mean() == pytest.approx(4 / 9 * 2 / np.pi, abs=0.02)
    # The centre of the disc is an equilibrium; mixtures of points come near it.
    assert game.solve().value == pytest.approx(0.0, abs=1e-9)


def test_the_random_game_of_skill_has_the_moments_of_its_formula() -> None:
    game = named("game_of_skill")
    assert game.shape == (888, 888)
    # Each entry is (W - W') / 2 + S - S': variance 1/2 + 2.
    off = game.payoff[np.triu_indices(888, 1)]
    # The cyclic half alone: what is left after ratings has variance close to 1/2.
    assert game.cyclic_part()[np.triu_indices(888, 1)].var() == pytest.approx(0.5, abs=0.01)
    assert off.var() == pytest.approx(2.5, abs=0.4)
    assert game.ratings().var() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("spelling", ["game_of_skill(9)", "disc(9)", "elo(9,0.1)", "gaussian(3,5)"])
def test_random_games_depend_on_their_seed_alone(spelling: str) -> None:
    game = make_matrix_game(f"matrix:{spelling}")
    again = make_matrix_game(game.name)
    np.testing.assert_array_equal(game.payoff, again.payoff)
    assert game.name == again.name and game.fingerprint == again.fingerprint
    other = make_matrix_game(game.name.replace("seed=0", "seed=1"))
    assert (other.payoff != game.payoff).any() and other.fingerprint != game.fingerprint


def test_parameters_are_told_in_order_or_by_name() -> None:
    assert named("blotto(5,fields=3)").name == "matrix:blotto(coins=5,fields=3)"
    assert make_matrix_game("matrix:cyclic").shape == (5, 5)
    assert named("elo(3, noise=0.5)").normalised().max_utility == 1.0


@pytest.mark.parametrize(
    ("spelling", "error", "says"),
    [
        ("matrix:bloto(5,3)", UnknownName, "did you mean 'blotto'"),
        ("matrix:blotto(5,3,1)", ConfigError, r"blotto takes \(coins, fields\)"),
        ("matrix:blotto(coin=5)", ConfigError, "coin"),
        ("matrix:blotto(5.5,3)", ConfigError, "coins must be a whole number"),
        ("matrix:blotto(40,6)", ConfigError, "more than 5,000 actions"),
        ("matrix:blotto(1000000000,500000000)", ConfigError, "more than 5,000 actions"),
        ("matrix:blotto(0,3)", ConfigError, "at least 1"),
        ("matrix:cyclic(4)", ConfigError, "odd"),
        ("matrix:elo(5,noise=-1)", ConfigError, "noise must be at least 0"),
        ("matrix:disc(0)", ConfigError, r"1 \.\. 5,000 actions"),
        ("matrix:game_of_skill(10**6)", ConfigError, "numbers as parameters"),
        ("matrix:game_of_skill(1000000)", ConfigError, r"5,000 actions"),
        ("matrix:gaussian(2,6000)", ConfigError, r"5,000 actions"),
        ("matrix:disc(4,seed=-1)", ConfigError, "seed must be at least 0"),
        ("matrix:rock_paper_scissors(rock=0)", ConfigError, "more than 0"),
        ("matrix:disc(__import__('os'))", ConfigError, "numbers as parameters"),
        ("matrix:disc(True)", ConfigError, "numbers as parameters"),
        ("matrix:", ConfigError, "numbers as parameters"),
        ("matrix:disc(**{})", ConfigError, "numbers as parameters"),
        ("blotto(5,3)", ConfigError, "matrix:NAME"),
    ],
)
def test_a_spelling_that_makes_no_game_is_refused(
    spelling: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make_matrix_game(spelling)


# Files


def test_a_payoff_file_is_a_game_and_a_task(tmp_path: Path) -> None:
    file = tmp_path / "league.npy"
    np.save(file, 3 * named("cyclic(5)").payoff.astype(np.float32))
    game = make_matrix_game(f"payoff:{file}")
    assert isinstance(game, SymmetricMatrixGame) and game.max_utility == 3.0
    assert game.normalised().max_utility == 1.0
    # Action 0 everywhere: both seats lose 3 to a best response.
    pure = Population(([{"row": {0: 1.0}}], [{"column": {0: 1.0}}]), (np.ones(1), np.ones(1)))
    report = pkubench.evaluate(pure, f"payoff:{file}")
    assert report.score == 3.0 and report.metrics["nash_conv"].mean == 6.0
    assert pkubench.evaluate("random", f"payoff:{file}").score == pytest.approx(0.0, abs=1e-12)
    world = make_batch(f"payoff:{file}", 2000, opponent=lambda _: {0: 1.0}, seat=1)
    observations, _ = world.reset(np.arange(2000, dtype=np.int64))
    np.testing.assert_array_equal(observations["agent"][0], [0.0, 1.0])
    step = world.step({"agent": np.full(2000, 4)})
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
def test_a_file_that_holds_no_payoffs_is_refused(
    tmp_path: Path, array: np.ndarray, says: str
) -> None:
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
        np.save(file, scale * named("cyclic(5)").payoff)
        os.utime(file, ns=(0, int(scale)))
        game = matrix_game(f"payoff:{file}")
        assert game is matrix_game(f"payoff:{file}")
        assert game.max_utility == game_tree(f"payoff:{file}").max_utility == scale


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


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was executed",))


def test_nothing_in_a_file_is_executed_and_a_wrong_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "trap.npy"
    np.save(file, np.array([[Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(GameError, match="without pickle"):
        load_payoff(file)
    with pytest.raises(GameError, match="No such file"):
        load_payoff(tmp_path / "none.npy")
    file.write_bytes(b"hello")
    with pytest.raises(GameError, match="no array"):
        load_payoff(file)
    np.save(file, np.zeros((9, 9)))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(GameError, match="no array"):
        load_payoff(file)


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
def test_an_array_that_is_no_strategy_is_refused(plan: list[float], says: str) -> None:
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
