"""Payoffs in any unit: solved alike, or refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pkubench.agents.families.psro.meta_solvers import nash, nash_simplex
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.settings import PSRO_PRESETS
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.envs.games import (
    Equilibrium,
    GameError,
    GameTree,
    MatrixGame,
    SymmetricMatrixGame,
    ZeroSumGame,
    load_payoff,
    make_matrix_game,
)
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.payoff_units import exponent, in_units, spread
from pkubench.envs.games.simplex import simplex_game, wide_game
from pkubench.evaluation.run.harness import evaluate
from pkubench.tasks.records import read_records
from pkubench.tasks.registry import make_task
from tests.games.configs import adjusted

SCALES = (1.0, 1e-5, 1e-9, 1e-300, 1e300)
RPS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
CYCLE = np.array([[0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1], [1, 0, -1, 0]], np.float64)
"""Each action beats the next of four; equilibria are what plays opposites equally often."""


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Make every warning of arithmetic an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def gaussian(seed: int, size: int = 40) -> Floats:
    return np.random.default_rng(seed).standard_normal((size, size + 3))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("as_tree", [False, True])
def test_a_game_in_any_unit_is_solved_to_the_same_share_of_it(scale: float, as_tree: bool) -> None:
    payoff = gaussian(0)
    game: ZeroSumGame = MatrixGame(payoff * scale)
    game = game.tree() if as_tree else game
    value, x, y = game.solve()
    assert game.exploitability(x, y) <= 1e-10 * scale
    assert value / scale == pytest.approx(MatrixGame(payoff).solve().value, abs=1e-10)
    rng = np.random.default_rng(1)
    plans = [np.stack([game.random_plan(p, rng) for _ in range(9)]) for p in (0, 1)]
    found = game.population_exploitability(*plans) / scale
    plain: ZeroSumGame = MatrixGame(payoff)
    plain = plain.tree() if as_tree else plain
    assert found == pytest.approx(plain.population_exploitability(*plans), rel=1e-9)


@pytest.mark.parametrize("scale", SCALES)
def test_known_equilibria_come_out_in_any_unit(scale: float) -> None:
    for solve in (nash, nash_simplex):
        x, y = solve(scale * RPS)
        np.testing.assert_allclose([x, y], 1.0 / 3.0, atol=1e-12)
    rps = SymmetricMatrixGame(scale * RPS)
    np.testing.assert_allclose(rps.solve().x, 1.0 / 3.0, atol=1e-12)
    np.testing.assert_allclose(rps.tree().solve().y[1:], 1.0 / 3.0, atol=1e-12)
    cycle = MatrixGame(scale * CYCLE)
    for solution in (cycle.solve(), simplex_game(cycle.payoff)):
        np.testing.assert_allclose(solution.x[:2], solution.x[2:], atol=1e-12)
        assert cycle.exploitability(solution.x, solution.y) <= 1e-15 * scale
    # Two of three hands are played 1/3 to 2/3, and lose 1/3.
    pair = rps.population_exploitability_of(np.eye(3)[:2])
    assert pair / scale == pytest.approx(1.0 / 3.0, rel=1e-12)


@pytest.mark.parametrize("power", [-990, -31, 990])
def test_games_that_differ_by_a_power_of_two_have_the_same_solution_to_the_bit(power: int) -> None:
    for seed in range(4):
        payoff = gaussian(seed, size=4 + 5 * seed)
        if seed % 2:
            payoff = payoff.round(0)  # ties, and degenerate programs
        scaled = np.ldexp(payoff, power)
        pairs: list[tuple[Equilibrium, Equilibrium]] = [
            (MatrixGame(payoff).solve(), MatrixGame(scaled).solve()),
            (MatrixGame(payoff).tree().solve(), MatrixGame(scaled).tree().solve()),
            (simplex_game(payoff), simplex_game(scaled)),
            (wide_game(payoff[:3])[0], wide_game(scaled[:3])[0]),
        ]
        for one, other in pairs:
            np.testing.assert_array_equal(one.x, other.x)
            np.testing.assert_array_equal(one.y, other.y)
            assert np.ldexp(one.value, power) == other.value


@pytest.mark.parametrize("offset", [10.0, -1e6, 1e9, 1e12])
@pytest.mark.parametrize("as_tree", [False, True])
def test_a_small_spread_about_a_large_mean_is_solved_as_far_as_its_digits_go(
    offset: float, as_tree: bool
) -> None:
    raised = gaussian(3, size=12) + offset
    exact = raised - offset  # what is left of the payoffs after they were rounded
    game: ZeroSumGame = MatrixGame(raised)
    plain: ZeroSumGame = MatrixGame(exact)
    if as_tree:
        game, plain = game.tree(), plain.tree()
    value, x, y = game.solve()
    assert plain.exploitability(x, y) <= 1e-9
    assert value == pytest.approx(plain.solve().value + offset, rel=1e-15, abs=1e-9)
    rng = np.random.default_rng(0)
    plans = [np.stack([game.random_plan(p, rng) for _ in range(5)]) for p in (0, 1)]
    for figure in ("nash_conv", "population_exploitability"):
        mixed = plans if figure != "nash_conv" else [rows[0] for rows in plans]
        found, right = (getattr(which, figure)(*mixed) for which in (game, plain))
        assert found == pytest.approx(right, rel=1e-9), figure
    guaranteed = game.population_value(0, plans[0]).value
    assert guaranteed == pytest.approx(plain.population_value(0, plans[0]).value + offset, rel=1e-9)


@pytest.mark.parametrize("constant", [0.0, 1e-300, -7.0, 1e300])
def test_constant_payoffs_are_a_game_whose_value_they_are(constant: float) -> None:
    game = MatrixGame(np.full((3, 4), constant))
    for played in (game, game.tree()):
        value, x, y = played.solve()
        assert value == pytest.approx(constant, rel=1e-15)
        assert played.nash_conv(x, y) == 0.0
        assert played.population_exploitability(x[None], y[None]) == 0.0
    assert simplex_game(game.payoff).value == pytest.approx(constant, rel=1e-15)


@pytest.mark.parametrize("scale", [1e-9, 1e300])
@pytest.mark.parametrize(
    ("name", "as_tree"),
    [("psro", True), ("psd-psro", True), ("psd-psro-paper", False), ("psro-rn", False)],
)
def test_learners_draw_the_same_populations_in_any_unit(
    name: str, as_tree: bool, scale: float
) -> None:
    # A power of two near the scale, so that nothing but the unit differs.
    power = int(np.log2(scale))
    config = PSRO_PRESETS[name]
    if config.diversity != "none":
        config = adjusted(config, diversity_chance=1.0, diversity_weight=2.0)
    rows = []
    for payoff in (gaussian(5, size=9), np.ldexp(gaussian(5, size=9), power)):
        game = MatrixGame(payoff)
        learner = PopulationLearner(game.tree() if as_tree else game, config, 0)
        for _ in range(4):
            learner.advance()
        rows.append(learner.plans())
    for one, other in zip(*rows, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_payoffs_equal_up_to_rounding_are_tied() -> None:
    # An equilibrium makes all actions worth nothing; what is left of their worths is rounding.
    game = SymmetricMatrixGame(
        1e-9 * np.array([[0, -0.13, 0.9], [0.13, 0, -0.61], [-0.9, 0.61, 0]])
    )
    tree, played = game.tree(), np.array([0.61, 0.9, 0.13]) / 1.64
    for which, plan in ((game, played), (tree, np.append(1.0, played))):
        worth = which.gains(0, plan)[-3:]
        assert 0.0 < np.abs(worth).max() < 1e-24
        draws = (which.best_response(0, plan, np.random.default_rng(k))[1] for k in range(20))
        assert {int(plan[-3:].argmax()) for plan in draws} == {0, 1, 2}
    learner = PopulationLearner(tree, PSRO_PRESETS["psro"], 0)
    learner._table = 1e-26 * np.array([[0.0, 1.0], [-1.0, 0.0]])
    noisy = learner._solve("nash", 2, 2)
    np.testing.assert_array_equal(noisy, nash(np.zeros((2, 2))))


def test_tied_actions_are_tied_in_any_unit_and_others_are_not() -> None:
    for scale in (1.0, 1e-9, 1e-300):
        game = SymmetricMatrixGame(scale * RPS)
        chosen = {
            int(game.best_response(0, np.full(3, 1 / 3), np.random.default_rng(k))[1].argmax())
            for k in range(20)
        }
        assert chosen == {0, 1, 2}
        tree = game.tree()
        drawn = {
            int(
                tree.best_response(0, tree.uniform_plan(1), np.random.default_rng(k))[1][
                    1:
                ].argmax()
            )
            for k in range(20)
        }
        assert drawn == {0, 1, 2}
        for clear in (game, tree):
            against = 0.5 * clear.uniform_plan(1)
            against[-1] += 0.5  # scissors above all, which rock beats
            if clear is tree:
                against[0] = 1.0
            picks = [clear.best_response(0, against, np.random.default_rng(k))[1] for k in range(9)]
            assert all(pick[-3] == 1.0 for pick in picks)


def test_fingerprints_distinguish_games_in_tiny_and_huge_units() -> None:
    for scale in (1e-9, 1e-300, 1e300):
        games = [MatrixGame(scale * np.array([[0.0, k], [1.0, 0.0]])) for k in (1.0, 2.0)]
        games.append(MatrixGame(games[0].payoff * (1.0 + 1e-15)))  # rounding changes no game
        one, other, same = (game.fingerprint for game in games)
        assert one != other and one == same
        assert games[0].tree().fingerprint != games[1].tree().fingerprint
    # What saved populations of ordinary games hold: nine decimals of plain payoffs.
    cyclic = make_matrix_game("matrix:cyclic(5)")
    assert cyclic.fingerprint.startswith("1f20f8bee15e8587")
    assert cyclic.tree().fingerprint.startswith("d00ad807dd8b28df")


@pytest.mark.parametrize("size", [1e308, 1.7e308, -1.7e308, 1e302])
def test_payoffs_that_overflow_when_added_are_refused_in_one_line(
    tmp_path: Path, size: float
) -> None:
    file = tmp_path / "huge.npy"
    np.save(file, size * CYCLE)
    for make in (
        lambda: MatrixGame(size * CYCLE),
        lambda: SymmetricMatrixGame(size * CYCLE),
        lambda: load_payoff(file),
        lambda: make_matrix_game(f"matrix:rock_paper_scissors({abs(size)},1,1)"),
    ):
        with pytest.raises(GameError, match=r"divide them all by one number") as refused:
            make()
        assert "\n" not in str(refused.value)
    with pytest.raises(GameError, match="multiply all payoffs"):
        MatrixGame(5e-324 * CYCLE)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_payoffs_that_are_not_numbers_are_refused_with_their_position(
    tmp_path: Path, wrong: float
) -> None:
    payoff = CYCLE.copy()
    payoff[1, 2] = wrong
    file = tmp_path / "wrong.npy"
    np.save(file, payoff)
    for make in (lambda: MatrixGame(payoff), lambda: load_payoff(file)):
        with pytest.raises(GameError, match=rf"row 1, column 2: {wrong}"):
            make()


def test_tiny_payoffs_keep_their_unit_through_an_evaluation(tmp_path: Path) -> None:
    file = tmp_path / "tiny.npy"
    np.save(file, 1e-9 * gaussian(2, size=7))
    task = make_task(f"payoff:{file}")
    agent = resolve_agent("scripted:equilibrium", task).runs[0].load()
    report = evaluate(agent, task, workers=0, out=tmp_path)
    assert 0.0 <= (report.score or 0.0) <= 1e-19
    (record,) = read_records(next(tmp_path.rglob("episodes.jsonl")))
    assert record.return_ == pytest.approx(1e-9 * MatrixGame(gaussian(2, size=7)).solve().value)


def test_units_are_powers_of_two_and_centres_leave_mixed_signs_alone() -> None:
    assert [exponent(np.array([v])) for v in (0.0, 1.0, 1.5, 2.0, -0.5, 0.75)] == [
        0,
        0,
        1,
        1,
        -1,
        0,
    ]
    payoff = gaussian(0)
    assert 0.5 < np.abs(in_units(payoff)).max() <= 1.0
    assert spread(payoff) == np.abs(payoff).max()
    assert spread(np.array([3.0, 5.0])) == spread(np.array([-3.0, -5.0])) == 1.0
    tree = GameTree.from_openspiel("kuhn_poker")
    assert tree._centred is tree.form.payoff
