"""The catalogue of matrix games: payoffs against the literature, and how games are spelled."""

from __future__ import annotations

from math import comb

import numpy as np
import pyspiel
import pytest

from pkubench.envs.games import (
    SymmetricMatrixGame,
    make_matrix_game,
)
from pkubench.envs.games.matrix_catalogue import compositions
from pkubench.errors import ConfigError, UnknownName


def named(spelling: str) -> SymmetricMatrixGame:
    game = make_matrix_game(f"matrix:{spelling}")
    assert isinstance(game, SymmetricMatrixGame)
    return game


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


def test_the_margin_payoff_of_blotto_is_that_of_the_official_tables() -> None:
    # Stored with PSD-PSRO's code: (10, 4) has rank 40 and levels of half the largest lead; 38 % of
    # the entries differ from who wins more fields, whose rank is 248. On three fields none do.
    sign, margin = named("blotto(10,4)"), named("blotto(10,4,payoff=margin)")
    assert np.linalg.matrix_rank(margin.payoff) == 40
    assert np.linalg.matrix_rank(sign.payoff) == 248
    assert (sign.payoff != margin.payoff).mean() == pytest.approx(0.38, abs=0.005)
    np.testing.assert_array_equal(np.unique(margin.payoff), [-1.0, -0.5, 0.0, 0.5, 1.0])
    np.testing.assert_array_equal(np.sign(margin.payoff), sign.payoff)
    placed = [tuple(row) for row in compositions(10, 4).tolist()]
    # Three fields won and one lost leads by 2, the most there is; two to one leads by 1.
    assert margin.payoff[placed.index((1, 3, 3, 3)), placed.index((10, 0, 0, 0))] == 1.0
    assert margin.payoff[placed.index((0, 3, 3, 4)), placed.index((0, 2, 2, 6))] == 0.5
    np.testing.assert_array_equal(named("blotto(10,3,margin)").payoff, named("blotto(10,3)").payoff)
    assert named("blotto(10,4,margin)").name == "matrix:blotto(coins=10,fields=4,payoff=margin)"


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


def test_parameters_are_given_in_order_or_by_name() -> None:
    assert named("blotto(5,fields=3)").name == "matrix:blotto(coins=5,fields=3,payoff=sign)"
    assert make_matrix_game("matrix:cyclic").shape == (5, 5)
    assert named("elo(3, noise=0.5)").normalised().max_utility == 1.0


@pytest.mark.parametrize(
    ("spelling", "error", "says"),
    [
        ("matrix:bloto(5,3)", UnknownName, "did you mean 'blotto'"),
        ("matrix:blotto(5,3,margin,1)", ConfigError, r"blotto takes \(coins, fields, payoff\)"),
        ("matrix:blotto(5,3,1)", ConfigError, "payoff must be a word"),
        ("matrix:blotto(5,three)", ConfigError, "fields must be a whole number"),
        ("matrix:blotto(5,3,lead)", UnknownName, "margin"),
        ("matrix:rock_paper_scissors(rock=two)", ConfigError, "rock must be a number"),
        ("matrix:blotto(coin=5)", ConfigError, "coin"),
        ("matrix:blotto(5.5,3)", ConfigError, "coins must be a whole number"),
        ("matrix:blotto(40,6)", ConfigError, "more than 5,000 actions"),
        ("matrix:blotto(1000000000,500000000)", ConfigError, "more than 5,000 actions"),
        ("matrix:blotto(0,3)", ConfigError, "at least 1"),
        ("matrix:cyclic(4)", ConfigError, "odd"),
        ("matrix:elo(5,noise=-1)", ConfigError, "noise must be at least 0"),
        ("matrix:disc(0)", ConfigError, r"1 \.\. 5,000 actions"),
        ("matrix:game_of_skill(10**6)", ConfigError, "numbers or words as parameters"),
        ("matrix:game_of_skill(1000000)", ConfigError, r"5,000 actions"),
        ("matrix:gaussian(2,6000)", ConfigError, r"5,000 actions"),
        ("matrix:disc(4,seed=-1)", ConfigError, "seed must be at least 0"),
        ("matrix:rock_paper_scissors(rock=0)", ConfigError, "more than 0"),
        ("matrix:disc(__import__('os'))", ConfigError, "numbers or words as parameters"),
        ("matrix:disc(True)", ConfigError, "numbers or words as parameters"),
        ("matrix:", ConfigError, "numbers or words as parameters"),
        ("matrix:disc(**{})", ConfigError, "numbers or words as parameters"),
        ("blotto(5,3)", ConfigError, "matrix:NAME"),
    ],
)
def test_a_spelling_that_makes_no_game_is_refused(
    spelling: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make_matrix_game(spelling)
