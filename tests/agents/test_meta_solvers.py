"""Meta-solvers, checked against hand-worked numbers, slow references and OpenSpiel's own."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from open_spiel.python.algorithms import projected_replicator_dynamics as their_replicator
from open_spiel.python.algorithms import regret_matching as their_matching
from open_spiel.python.algorithms.psro_v2.utils import get_alpharank_marginals
from open_spiel.python.egt import alpharank

from pkubench.agents.families.psro import meta_solvers
from pkubench.agents.families.psro.meta_solvers import SOLVERS, solve_symmetric
from pkubench.envs.games import GameError, make_matrix_game
from pkubench.envs.games.alpha_rank import MetaStrategy
from pkubench.envs.games.markov_chains import stationary
from pkubench.errors import ConfigError, UnknownName

RPS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
SKEWED = np.array([[3.0, -1.0], [-2.0, 1.0]])  # equilibrium (3/7, 4/7) and (2/7, 5/7), value 1/7


def random_payoff(seed: int, rows: int = 4, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns))


def exploitability(payoff: np.ndarray, meta: MetaStrategy) -> float:
    return float((payoff @ meta.y).max() - (meta.x @ payoff).min()) / 2


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1), (4, 3)])
def test_every_solver_gives_distributions_and_leaves_its_input_alone(
    name: str, shape: tuple[int, int]
) -> None:
    payoff = random_payoff(0, *shape)
    before = payoff.copy()
    x, y = SOLVERS[name](payoff)
    np.testing.assert_array_equal(payoff, before)
    for weights, size in zip((x, y), shape, strict=True):
        assert weights.shape == (size,) and (weights >= 0.0).all()
        assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    again = SOLVERS[name](payoff)
    np.testing.assert_array_equal(again.x, x)


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers_do_not_care_which_player_is_called_the_row(name: str) -> None:
    if name == "fictitious-play-official":  # each side draws a start of its own
        return
    # A game whose solutions are unique, up to ties that fictitious play breaks by index.
    payoff = random_payoff(3)
    one, other = SOLVERS[name](payoff), SOLVERS[name](-payoff.T)
    np.testing.assert_allclose(one.x, other.y, atol=1e-9)
    np.testing.assert_allclose(one.y, other.x, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "within"),
    [
        ("nash", 1e-9),
        ("fictitious-play", 0.06),
        ("regret-matching", 0.02),
        ("projected-replicator", 0.02),
    ],
)
def test_solvers_that_approach_equilibria_come_near_them(name: str, within: float) -> None:
    for payoff in (RPS, SKEWED, *(random_payoff(seed, 6, 5) for seed in range(4))):
        meta = SOLVERS[name](payoff)
        assert exploitability(payoff, meta) <= within * np.abs(payoff).max()
    x, y = SOLVERS["nash"](SKEWED)
    np.testing.assert_allclose(x, [3 / 7, 4 / 7], atol=1e-12)
    np.testing.assert_allclose(y, [2 / 7, 5 / 7], atol=1e-12)


def test_a_dominant_policy_is_what_every_solver_but_uniform_finds() -> None:
    payoff = make_matrix_game("matrix:transitive(5)").payoff
    best = int(payoff.sum(axis=1).argmax())
    for name in SOLVERS:
        weights = solve_symmetric(name, payoff)
        if name == "uniform":
            np.testing.assert_allclose(weights, 0.2)
        else:
            assert weights[best] > 0.98


def test_fictitious_play_on_rock_paper_scissors_is_worked_by_hand() -> None:
    # From uniform play all answers tie: rock. Then paper answers rock until scissors pays.
    # Counts after the start (1/3 each): R -> (4/3, 1/3, 1/3); against it rock is worth 0, paper
    # 1, scissors -1: paper -> (4/3, 4/3, 1/3): rock -1, paper 1, scissors 0: paper again
    # -> (4/3, 7/3, 1/3): rock -2, paper 1, scissors 1: the tie goes to paper -> (4/3, 10/3, 1/3).
    expected = [[4, 1, 1], [4, 4, 1], [4, 7, 1], [4, 10, 1]]
    for count, tally in enumerate(expected, start=1):
        meta = meta_solvers.fictitious_play(RPS, iterations=count)
        np.testing.assert_allclose(meta.x, np.array(tally) / (3 * (count + 1)), atol=1e-12)
        np.testing.assert_array_equal(meta.x, meta.y)
    # Started at rock against paper: player 0 answers scissors, player 1 paper.
    start = MetaStrategy(np.eye(3)[0], np.eye(3)[1])
    meta = meta_solvers.fictitious_play(RPS, iterations=1, start=start)
    np.testing.assert_allclose(meta.x, [0.5, 0.0, 0.5])
    np.testing.assert_allclose(meta.y, [0.0, 1.0, 0.0])


def test_official_fictitious_play_is_the_released_bookkeeping_written_out() -> None:
    # As released: a list of plays that starts with one random mixture; the average of the list is
    # noted, then the response to it is appended. The last average noted is returned.
    payoff = make_matrix_game("matrix:game_of_skill(7)").payoff
    draws = np.random.default_rng(5).random(7)
    plays, noted = [draws / draws.sum()], []
    for _ in range(40):
        noted.append(np.mean(plays, axis=0))
        plays.append(np.eye(7)[int((noted[-1] @ payoff).argmin())])
    found = solve_symmetric("fictitious-play-official", payoff, np.random.default_rng(5))
    assert found.min() > 0.0  # the random start never leaves
    short = meta_solvers.fictitious_play_official_symmetric(
        payoff, iterations=40, rng=np.random.default_rng(5)
    )
    np.testing.assert_allclose(short, noted[-1], atol=1e-12)
    again = meta_solvers.fictitious_play_official_symmetric(
        payoff, iterations=1, rng=np.random.default_rng(5)
    )
    np.testing.assert_allclose(again, plays[0], atol=1e-15)
    # Two populations draw a start each, and respond at the same time.
    rng = np.random.default_rng(6)
    x, y = (d / d.sum() for d in (rng.random(4), rng.random(3)))
    table = random_payoff(1)
    both = meta_solvers.fictitious_play_official(table, iterations=3, rng=np.random.default_rng(6))
    wanted = meta_solvers.fictitious_play(table, iterations=2, start=MetaStrategy(x, y))
    np.testing.assert_allclose(both.x, wanted.x)
    np.testing.assert_allclose(both.y, wanted.y)


def test_fictitious_play_is_the_slow_one_in_exact_arithmetic() -> None:
    payoff = np.array([[2, -1, 0], [-3, 2, 1], [1, 0, -1], [0, 1, -2]])
    table = [[Fraction(int(v)) for v in row] for row in payoff]
    tally_x, tally_y = [Fraction(1, 4)] * 4, [Fraction(1, 3)] * 3
    for _ in range(60):
        worth_x = [sum(table[i][j] * tally_y[j] for j in range(3)) for i in range(4)]
        worth_y = [-sum(table[i][j] * tally_x[i] for i in range(4)) for j in range(3)]
        tally_x[worth_x.index(max(worth_x))] += 1
        tally_y[worth_y.index(max(worth_y))] += 1
    meta = meta_solvers.fictitious_play(payoff, iterations=60)
    np.testing.assert_allclose(meta.x, [float(t) / 61 for t in tally_x], atol=1e-12)
    np.testing.assert_allclose(meta.y, [float(t) / 61 for t in tally_y], atol=1e-12)


def test_regret_matching_is_worked_by_hand() -> None:
    # SKEWED, first play uniform: rows are worth (1, -1/2), mean 1/4, regrets (3/4, -3/4); columns
    # lose (1/2, 0), mean -1/4: regrets (-1/4, 1/4). Second play: row 0, column 1. Rows are worth
    # (-1, 1), row 0 got -1: regrets (3/4, 5/4); columns (-3, 1), column 1 got 1: (-17/4, 1/4).
    # Third play: (3/8, 5/8) and column 1.
    x, y = meta_solvers.regret_matching(SKEWED, iterations=3)
    np.testing.assert_allclose(x, [(1 / 2 + 1 + 3 / 8) / 3, (1 / 2 + 0 + 5 / 8) / 3], atol=1e-12)
    np.testing.assert_allclose(y, [1 / 6, 5 / 6], atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_regret_matching_is_openspiels(seed: int) -> None:
    payoff = random_payoff(seed)
    # Theirs averages one more play, the first one, and starts from regrets of 1e-6.
    theirs = their_matching.regret_matching([payoff, -payoff], iterations=199, gamma=0.0)
    ours = meta_solvers.regret_matching(payoff, iterations=200)
    np.testing.assert_allclose(ours.x, theirs[0], atol=1e-4)
    np.testing.assert_allclose(ours.y, theirs[1], atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_projected_replicator_is_openspiels(seed: int) -> None:
    payoff = random_payoff(seed)
    dt, scale = 0.1, np.abs(payoff).max()
    theirs = their_replicator.projected_replicator_dynamics(
        [payoff, -payoff], prd_iterations=300, prd_dt=dt / scale, prd_gamma=1e-3
    )
    ours = meta_solvers.projected_replicator(payoff, iterations=300, dt=dt, floor=1e-3)
    np.testing.assert_allclose(ours.x, theirs[0], atol=1e-10)
    np.testing.assert_allclose(ours.y, theirs[1], atol=1e-10)


def test_one_step_of_the_replicator_is_worked_by_hand() -> None:
    # Rows are worth (1, -1/2), mean 1/4; scaled by 0.3 / 3 the step is 0.1 * 1/2 * (3/4, -3/4).
    x, _ = meta_solvers.projected_replicator(SKEWED, iterations=1, dt=0.3, floor=0.0)
    np.testing.assert_allclose(x, [0.5 + 0.0375 / 2, 0.5 - 0.0375 / 2], atol=1e-12)


@pytest.mark.parametrize("shift", [-2.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_replicator_stays_on_the_simplex_whatever_the_value(seed: int, shift: float) -> None:
    # A constant added to all payoffs changes who wins, and no preference.
    payoff = random_payoff(seed)
    scale = np.abs(payoff).max()
    x, y = meta_solvers.projected_replicator(payoff + shift * scale, iterations=10_000)
    assert x.sum() == pytest.approx(1.0, abs=1e-12) and y.sum() == pytest.approx(1.0, abs=1e-12)
    assert (x >= 1e-6 - 1e-12).all() and (y >= 1e-6 - 1e-12).all()
    assert exploitability(payoff, MetaStrategy(x, y)) < 0.05 * scale


def test_the_projection_is_the_nearest_point_with_a_floor() -> None:
    # The example of Wang and Carreira-Perpinan: (0.4, 0.7, 0.6) with floor 0.2, shift 0.25.
    point = np.array([0.4, 0.7, 0.6])
    np.testing.assert_allclose(
        meta_solvers.project_to_simplex(point, 0.2), [0.2, 0.45, 0.35], atol=1e-12
    )
    np.testing.assert_allclose(meta_solvers.project_to_simplex(point, 1 / 3), 1 / 3, atol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(50):
        point = rng.normal(size=4)
        found = meta_solvers.project_to_simplex(point, 0.05)
        assert found.sum() == pytest.approx(1.0, abs=1e-12) and (found >= 0.05).all()
        for other in 0.05 + 0.8 * rng.dirichlet(np.ones(4), size=30):
            # The angle at a projection onto a convex set is never sharp.
            assert (point - found) @ (other - found) <= 1e-12


def test_alpha_rank_of_two_policies_is_worked_by_hand() -> None:
    # One population; policy 1 beats policy 0 by 1, m = 2, alpha = log 2 / 2: u = alpha * 2 = log 2.
    # rho(u) = (1 - 1/2) / (1 - 1/4) = 2/3 from 0 to 1, rho(-u) = (1 - 2) / (1 - 4) = 1/3 back.
    payoff = np.array([[0.0, -1.0], [1.0, 0.0]])
    weights = meta_solvers.alpha_rank_symmetric(payoff, alpha=np.log(2) / 2, population=2)
    np.testing.assert_allclose(weights, [1 / 3, 2 / 3], atol=1e-12)
    # In the limit the better one has all; equal ones share.
    np.testing.assert_allclose(solve_symmetric("alpha-rank", payoff), [0.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(solve_symmetric("alpha-rank", 0 * payoff), 0.5, atol=1e-12)
    np.testing.assert_allclose(solve_symmetric("alpha-rank", RPS), 1 / 3, atol=1e-12)
    # 2 takes over 0 and 1 takes over 2; 0 and 1 are equal and switch half as often. In balance
    # pi_0 (1 + 1/2) = pi_1 / 2 and pi_2 = pi_0.
    tied = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    np.testing.assert_allclose(solve_symmetric("alpha-rank", tied), [0.2, 0.6, 0.2], atol=1e-9)
    # Rounding at the size of the payoffs makes no difference of equal ones.
    rounded = 1e6 * tied
    rounded[0, 1], rounded[1, 0] = 1e-9, -1e-9
    np.testing.assert_allclose(solve_symmetric("alpha-rank", rounded), [0.2, 0.6, 0.2], atol=1e-9)
    two = np.array([[1e6, 0.0], [1e6 + 1e-9, 0.0]])
    np.testing.assert_allclose(SOLVERS["alpha-rank"](two).x, 0.5, atol=1e-9)
    # And small payoffs are none the less different.
    np.testing.assert_allclose(solve_symmetric("alpha-rank", 1e-14 * payoff), [0, 1], atol=1e-9)
    # Two populations, one of them with a single policy: the other's better one.
    np.testing.assert_allclose(SOLVERS["alpha-rank"]([[1.0, 2.0]]).y, [1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(SOLVERS["alpha-rank"]([[1.0], [2.0]]).x, [0.0, 1.0], atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_alpha_rank_of_two_populations_is_openspiels(seed: int) -> None:
    payoff = random_payoff(seed)
    for alpha in (0.3, 1.0):
        *_, pi, _, _ = alpharank.compute([payoff, -payoff], m=20, alpha=alpha)
        theirs = get_alpharank_marginals([payoff, -payoff], pi)
        ours = meta_solvers.alpha_rank(payoff, alpha=alpha, population=20)
        np.testing.assert_allclose(ours.x, theirs[0], atol=1e-8)
        np.testing.assert_allclose(ours.y, theirs[1], atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_alpha_rank_in_the_limit_is_openspiels(seed: int) -> None:
    payoff = random_payoff(seed)
    *_, pi, _, _ = alpharank.compute(
        [payoff, -payoff], use_inf_alpha=True, inf_alpha_eps=0.01, m=20, alpha=1.0
    )
    theirs = get_alpharank_marginals([payoff, -payoff], pi)
    ours = meta_solvers.alpha_rank(payoff, epsilon=0.01)
    np.testing.assert_allclose(ours.x, theirs[0], atol=1e-8)
    np.testing.assert_allclose(ours.y, theirs[1], atol=1e-8)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_alpha_rank_of_one_population_is_openspiels(alpha: float) -> None:
    payoff = make_matrix_game("matrix:game_of_skill(6)").payoff
    *_, pi, _, _ = alpharank.compute([payoff], m=20, alpha=alpha, use_local_selection_model=False)
    ours = meta_solvers.alpha_rank_symmetric(payoff, alpha=alpha, population=20)
    np.testing.assert_allclose(ours, pi, atol=1e-8)


def test_strong_selection_does_not_overflow() -> None:
    payoff = 1000.0 * make_matrix_game("matrix:cyclic(5)").payoff
    payoff[4, :4] = 500.0  # policy 4 beats all
    payoff[:4, 4] = -500.0
    weights = meta_solvers.alpha_rank_symmetric(payoff, alpha=100.0)
    np.testing.assert_allclose(weights, np.eye(5)[4], atol=1e-12)


def test_the_stationary_distribution_keeps_small_probabilities() -> None:
    # Two states: out of 0 with 1e-200, out of 1 with 1: weights 1 and 1e-200.
    weights = stationary(np.array([[0.0, 1e-200], [1.0, 0.0]]))
    assert weights[1] == pytest.approx(1e-200, rel=1e-12)
    rng = np.random.default_rng(1)
    for states in (1, 2, 7, 64, 65, 66, 200):  # panels of 64 states
        chain = rng.random((states, states)) ** 4
        chain /= chain.sum(axis=1, keepdims=True)
        weights = stationary(chain)
        assert weights.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(weights @ chain, weights, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: meta_solvers.meta_solver("nahs"), UnknownName, "did you mean 'nash'"),
        (lambda: solve_symmetric("prd", RPS), UnknownName, "no meta-solver"),
        (lambda: meta_solvers.nash([[np.nan]]), GameError, "not finite"),
        (lambda: meta_solvers.uniform([1.0, 2.0]), GameError, "rows, columns"),
        (lambda: meta_solvers.fictitious_play(RPS, iterations=0), ConfigError, "at least 1"),
        (lambda: meta_solvers.regret_matching(RPS, iterations=0), ConfigError, "at least 1"),
        (lambda: meta_solvers.projected_replicator(RPS, dt=0.0), ConfigError, "dt in"),
        (lambda: meta_solvers.projected_replicator(RPS, floor=0.5), ConfigError, "floor"),
        (lambda: meta_solvers.alpha_rank(RPS, alpha=0.0), ConfigError, "alpha"),
        (lambda: meta_solvers.alpha_rank(RPS, population=1), ConfigError, "population"),
        (lambda: meta_solvers.alpha_rank(np.zeros((60, 60))), ConfigError, "there are 3,600"),
        (lambda: meta_solvers.alpha_rank_symmetric(SKEWED[:1]), ConfigError, "square"),
    ],
)
def test_invalid_input_of_a_solver_is_refused(
    call: object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        call()  # type: ignore[operator]
