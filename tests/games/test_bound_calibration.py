"""Bounds by approximate responses against exact values; local best responses by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from pkubench.agents.contract import Population
from pkubench.agents.families.psro.local_response import LocalResponse
from pkubench.agents.families.psro.response_bound import QueriedEntrant, response_bound
from pkubench.cli.evaluate import app
from pkubench.envs.games.errors import GameError
from pkubench.envs.games.state_batch import StateBatch
from pkubench.envs.games.trees import game_tree
from pkubench.errors import ConfigError

GAMES = {"kuhn_poker": 1, "leduc_poker": 1, "liars_dice(dice_sides=4)": 0}
"""Name -> whether it is poker."""
ONE = np.ones(1)


def random_policies(game: str, seed: int) -> tuple[Population, float]:
    """One random policy a seat, uniform on the simplex at each state, and its exact NashConv."""
    tree, rng = game_tree(game), np.random.default_rng(seed)
    policies, plans = [], []
    for player in (0, 1):
        policy = {
            state.text: dict(
                zip(
                    state.legal_actions,
                    rng.dirichlet(np.ones(len(state.legal_actions))).tolist(),
                    strict=True,
                )
            )
            for state in tree.information_states(player)
        }
        policies.append(policy)
        plans.append(tree.realization_plan(policy, player))
    return Population(([policies[0]], [policies[1]]), (ONE, ONE)), tree.nash_conv(*plans)


def kuhn(first: dict[str, float], second: dict[str, float]) -> Population:
    """Policies by their probabilities of betting; 1/2 where none is given."""
    tree = game_tree("kuhn_poker")
    seats = [
        {
            state.text: {0: 1.0 - given.get(state.text, 0.5), 1: given.get(state.text, 0.5)}
            for state in tree.information_states(player)
        }
        for player, given in enumerate((first, second))
    ]
    return Population(([seats[0]], [seats[1]]), (ONE, ONE))


def local_values(entrant: Population, side: int, history: list[int]) -> dict[int, float]:
    games = StateBatch("kuhn_poker", 1, 100)
    games.reset(np.zeros(1, np.int64))
    state = games.play(0).get_game().new_initial_state()
    for action in history:
        state.apply_action(action)
    return LocalResponse(games, QueriedEntrant(entrant, games, 1 - side), side).values(state)


def test_local_values_worked_out_by_hand() -> None:
    # The first seat bets its king always and its jack every second time: behind a bet, a queen
    # meets a king with 2/3. A call wins or loses 2, a fold loses 1.
    entrant = kuhn({"2": 1.0, "1": 0.0, "0": 0.5}, {})
    values = local_values(entrant, 1, [2, 1, 1])
    assert values[1] / values[0] == pytest.approx((2 * 1 / 3 - 2 * 2 / 3) / -1.0)
    assert values[0] < values[1] < 0.0
    # A bet of the jack wins 1 if the other folds, its queen 3 of 4 times, its king never.
    entrant = kuhn({}, {"1b": 0.25, "2b": 1.0})
    values = local_values(entrant, 0, [0, 2])
    bet = (0.75 * 1 + 0.25 * -2) / 2 - 2 / 2
    assert values[1] / values[0] == pytest.approx(bet / -1.0)


def test_against_uniform_play_of_kuhn_poker_it_is_a_best_response() -> None:
    # It always bets, calls with king and queen, and folds the jack: 1/2 in the first seat, 5/12 in
    # the second; their sum is uniform play's NashConv, 11/12.
    found = response_bound(kuhn({}, {}), "kuhn_poker", 3000, 0, responder="lbr")
    for won, error, exact in zip(found.wins, found.errors, (1 / 2, 5 / 12), strict=True):
        assert abs(won - exact) < 4 * error < 0.2
    assert (found.plays, found.scored) == (0, 3000)


def test_a_mixture_is_told_apart_by_what_it_does() -> None:
    # Half never bets, half always: who has bet is the second, whose card says nothing; averaged
    # without the memory of the first bet, a pass after a pass would look like either.
    timid, bold = (kuhn(dict.fromkeys("012", share), {}).policies[0][0] for share in (0.0, 1.0))
    entrant = Population(([timid, bold], kuhn({}, {}).policies[1]), (np.array([0.5, 0.5]), ONE))
    games = StateBatch("kuhn_poker", 1, 100)
    games.reset(np.zeros(1, np.int64))
    state = games.play(0).get_game().new_initial_state()
    for action in (2, 1, 1):
        state.apply_action(action)
    response = LocalResponse(games, QueriedEntrant(entrant, games, 0), 1)
    belief = response.belief(state)
    assert len(belief) == 2
    for _, weights in belief:
        assert weights[0] == 0.0 and weights[1] > 0.0


def misses(game: str, policies: int, plays: int, responder: str) -> tuple[int, float]:
    """How often the bound exceeds the exact value, and the median share of it that is found."""
    count, shares = 0, []
    for seed in range(policies):
        entrant, exact = random_policies(game, seed)
        found = response_bound(entrant, game, plays, seed, responder=responder)
        count += found.nash_conv_low > exact
        shares.append(found.estimate / exact)
    return count, float(np.median(shares))


CASES = [("dqn", game) for game in GAMES] + [("lbr", game) for game in GAMES if GAMES[game]]


@pytest.mark.parametrize(("responder", "game"), CASES)
def test_bounds_of_a_few_random_policies_hold(responder: str, game: str) -> None:
    # Of three at 95 %, two miss with probability 0.007 at most.
    count, share = misses(game, 3, 300, responder)
    assert count <= 1 and share > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("responder", "game"), CASES)
def test_bounds_of_fifty_random_policies_hold_at_their_level(responder: str, game: str) -> None:
    # At 95 %, of 50 more than 6 miss with probability 0.012 even if every response is a best one.
    count, share = misses(game, 50, 300, responder)
    assert count <= 6 and share > 0.4


def test_what_cannot_be_answered_locally_is_refused() -> None:
    entrant, _ = random_policies("liars_dice(dice_sides=4)", 0)
    with pytest.raises(GameError, match="kuhn_poker and leduc_poker only"):
        response_bound(entrant, "liars_dice(dice_sides=4)", 100, 0, responder="lbr")
    with pytest.raises(ConfigError, match="'dqn' or 'lbr', got 'psro'"):
        response_bound(entrant, "liars_dice(dice_sides=4)", 100, 0, responder="psro")


def test_the_command_takes_a_responder() -> None:
    words = ["random", "openspiel:kuhn_poker", "--responses", "400", "--responder", "lbr"]
    report = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert report["responder"] == "lbr" and report["plays_of_learning"] == 0
    said = CliRunner().invoke(app, words).output
    assert "LOWER BOUND" in said and "local best responses, scored by 400 plays" in said
    said = CliRunner().invoke(app, ["random", "openspiel:kuhn_poker", "--responder", "lbr"])
    assert "give --responses PLAYS too" in said.output + str(said.exception)


# Larger games

LARGER = (
    "phantom_ttt",
    "goofspiel(imp_info=True,num_cards=8,points_order=descending)",
    "liars_dice(numdice=2)",
)


@pytest.mark.parametrize("game", LARGER)
def test_larger_games_are_bounded_without_a_tree(game: str) -> None:
    words = ["random", f"openspiel:{game}", "--responses", "200", "--json"]
    report = json.loads(CliRunner().invoke(app, words).stdout)
    assert report["plays_of_learning"] == 200 and report["plays_of_scoring"] == 100
    # A response to uniform play wins something even after 200 plays; nobody wins more than 1.
    assert -0.2 < report["responses_win_estimate"] <= 2.0
    assert 0.0 <= report["nash_conv_at_least_95"] <= report["responses_win_estimate"] + 0.2


def test_uniform_play_of_phantom_tic_tac_toe_ends_as_measured_elsewhere() -> None:
    # Won, drawn and lost by the first seat: .587, .127, .286, measured with OpenSpiel alone.
    count, rng = 1500, np.random.default_rng(0)
    games = StateBatch("phantom_ttt", count, 60_000)
    games.reset(np.arange(count))
    while not games.over.all():
        weights = rng.random((count, games.masks.shape[1])) * games.masks[games.row]
        games.step(weights.argmax(axis=1))
    won = games.returns[:, 0]
    shares = [float((won == value).mean()) for value in (1.0, 0.0, -1.0)]
    for share, expected in zip(shares, (0.587, 0.127, 0.286), strict=True):
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / count)
