"""Lower bounds of exploitability by learned responses, compared with exact values where known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyspiel
import pytest
from typer.testing import CliRunner

from pkubench.agents.contract import Population
from pkubench.agents.families.psro.response_bound import ResponseBound, response_bound
from pkubench.agents.resolve.loading import load_unbuilt, resolve_agent
from pkubench.agents.saved.population_file import write_population
from pkubench.cli.evaluate import app
from pkubench.cli.output import number
from pkubench.envs.games import GameTree, PolicyError, state_batch
from pkubench.envs.games.errors import GameError
from pkubench.envs.games.state_batch import StateBatch
from pkubench.envs.games.trees import game_tree
from pkubench.errors import AgentError, ConfigError
from pkubench.tasks.registry import make_task

KUHN = game_tree("kuhn_poker")


def of_plans(tree: GameTree, x: np.ndarray, y: np.ndarray) -> Population:
    return Population(([tree.behaviour(x, 0)], [tree.behaviour(y, 1)]), (np.ones(1), np.ones(1)))


def test_plays_on_states_show_what_the_tree_shows() -> None:
    tree = game_tree("leduc_poker")
    slow = StateBatch("leduc_poker", 40, 1000)
    slow.reset(np.arange(40))
    texts = [s.text for player in (0, 1) for s in tree.information_states(player)]
    rng = np.random.default_rng(0)
    ends: dict[str, list[float]] = {}
    while not slow.over.all():
        for index in np.flatnonzero(~slow.over).tolist():
            state = slow.states[slow.row[index]]
            place = texts.index(state.text)
            np.testing.assert_array_equal(
                slow.tensors[slow.row[index]],
                tree.tensors(int(slow.player[index]))[place - 468 * int(slow.player[index])],
            )
            assert np.flatnonzero(slow.masks[slow.row[index]]).tolist() == list(state.legal_actions)
        weights = rng.random((40, 3)) * slow.masks[slow.row]
        slow.step(weights.argmax(axis=1))
    for index, state in enumerate(slow._plays):
        ends[str(state.history())] = slow.returns[index].tolist()
        assert slow.returns[index].tolist() == state.returns()
    assert len(ends) > 20
    assert (slow.row == slow.terminal_row).all() and (slow.returns.sum(axis=1) == 0.0).all()


def test_chance_on_states_draws_with_its_probabilities_at_every_index() -> None:
    games = StateBatch("kuhn_poker", 3000, 100)
    games.reset(np.arange(3000))
    cards = [state.history()[0] for state in games._plays]
    np.testing.assert_allclose(np.bincount(cards) / 3000, 1 / 3, atol=0.04)
    alone = StateBatch("kuhn_poker", 1, 100)
    for seed in (0, 7, 2999):
        alone.reset(np.array([seed]))
        assert alone._plays[0].history() == games._plays[seed].history()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_bound_is_near_the_exact_value_and_not_above_it(seed: int) -> None:
    entrant = of_plans(KUHN, KUHN.uniform_plan(0), KUHN.uniform_plan(1))
    exact = KUHN.nash_conv(KUHN.uniform_plan(0), KUHN.uniform_plan(1))
    found = response_bound(entrant, "kuhn_poker", 2000, seed)
    assert found.nash_conv_low < exact
    assert found.estimate > 0.75 * exact
    assert (found.plays, found.scored, found.worst) == (2000, 1000, -2.0)
    values = [KUHN.best_response(0, KUHN.uniform_plan(1))[0]]
    values.append(KUHN.best_response(1, KUHN.uniform_plan(0))[0])
    for won, error, best in zip(found.wins, found.errors, values, strict=True):
        assert won < best + 4 * error


def test_no_response_gains_against_an_equilibrium() -> None:
    solution = KUHN.solve()
    found = response_bound(of_plans(KUHN, solution.x, solution.y), "kuhn_poker", 1000, 4)
    # With this seed chance makes the responses win more than there is to be won.
    assert found.estimate > 0.01
    report = found.to_json()
    assert [report[name] for name in report if "at_least" in name] == [0.0, 0.0]


def test_a_mixture_is_played_as_whole_policies() -> None:
    # Half always pass, half always bet. Who has passed never calls a later bet, and a response that
    # learns so bets after every pass; against averaged actions it would not be worth as much.
    timid, bold = (KUHN.realization_plan(lambda _, a=a: {a: 1.0}, 0) for a in (0, 1))
    policies = [KUHN.behaviour(plan, 0) for plan in (timid, bold)]
    uniform = KUHN.behaviour(KUHN.uniform_plan(1), 1)
    entrant = Population((policies, [uniform]), (np.array([0.5, 0.5]), np.ones(1)))
    found = response_bound(entrant, "kuhn_poker", 2000, 0)
    best, _ = KUHN.best_response(1, KUHN.mix([timid, bold], [0.5, 0.5]))
    averaged, _ = KUHN.best_response(1, KUHN.uniform_plan(0))
    assert abs(best - averaged) > 0.05
    assert found.wins[1] == pytest.approx(best, abs=max(0.06, 3 * found.errors[1]))


def test_a_game_too_large_for_a_tree_is_bounded() -> None:
    name = "liars_dice(numdice=2)"
    assert pyspiel.load_game(name).max_game_length() > 20

    class Uniform:
        def action_probabilities(self, observation: np.ndarray, mask: np.ndarray) -> np.ndarray:
            return mask / mask.sum(axis=1, keepdims=True)

    found = response_bound(Uniform(), name, 400, 0)  # type: ignore[arg-type]
    assert 0.3 < found.estimate <= 2.0
    again = response_bound(Uniform(), name, 400, 0)  # type: ignore[arg-type]
    assert again == found


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_file_is_played_without_a_tree(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrant = of_plans(KUHN, KUHN.uniform_plan(0), KUHN.uniform_plan(1))
    path = tmp_path / f"mine.{suffix}"
    task = make_task("openspiel:kuhn_poker")
    write_population(path, entrant, task)
    monkeypatch.setattr(GameTree, "from_openspiel", None)
    met = load_unbuilt(resolve_agent(str(path), task), "kuhn_poker")
    found = response_bound(met, "kuhn_poker", 200, 0)
    assert found == response_bound(entrant, "kuhn_poker", 200, 0)
    with pytest.raises(AgentError, match=r"population of 'kuhn_poker.*not the game 'leduc"):
        load_unbuilt(resolve_agent(str(path), task), "leduc_poker")


def test_the_command_reports_a_lower_bound_with_its_budget(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    task = make_task("openspiel:kuhn_poker")
    write_population(path, of_plans(KUHN, KUHN.uniform_plan(0), KUHN.uniform_plan(1)), task)
    words = [str(path), "openspiel:kuhn_poker", "--responses", "1000"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0
    assert "LOWER BOUND" in said.output and "learned from 1,000 plays, scored by 500" in said.output
    report = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert report["responses_win_estimate"] == pytest.approx(sum(report["response_wins"]))
    low = report["exploitability_at_least_95"]
    assert report["responses_win_estimate"] / 2 > low > 0.0
    # Everything in the table is in one unit, and of exploitability's scale.
    table = " ".join(said.stdout.split())
    assert f"exploitability, at least {number(low)} " in table
    assert f"exploitability, estimate {number(report['responses_win_estimate'] / 2)} " in table
    first, second = report["response_wins"]
    assert f"response in the first seat {number(first)} " in table
    assert f"response in the second seat {number(second)} " in table
    assert "payoff per game" in table
    assert {name for name in report if "at_least" in name} == {
        "nash_conv_at_least_95",
        "exploitability_at_least_95",
    }
    assert report["plays_of_learning"] == 1000


def test_random_is_played_without_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GameTree, "from_openspiel", None)
    words = [
        "random",
        "openspiel:liars_dice(numdice=2,dice_sides=2)",
        "--responses",
        "200",
        "--json",
    ]
    report = json.loads(CliRunner().invoke(app, words).stdout)
    assert report["exploitability_at_least_95"] > 0.0


def test_errors_of_an_entrant_are_reported_at_the_states_of_plays() -> None:
    entrant = of_plans(KUHN, KUHN.uniform_plan(0), KUHN.uniform_plan(1))
    lacking = {k: v for k, v in KUHN.behaviour(KUHN.uniform_plan(1), 1).items() if k != "0b"}
    broken = Population((entrant.policies[0], [lacking]), (np.ones(1), np.ones(1)))
    with pytest.raises(PolicyError, match=r"player 1 lacks 1 of 1 .*'0b'"):
        response_bound(broken, "kuhn_poker", 200, 0)
    with pytest.raises(ConfigError, match="at least 100 plays"):
        response_bound(entrant, "kuhn_poker", 50, 0)
    with pytest.raises(AgentError, match="has none; pass a population"):
        response_bound(object(), "kuhn_poker", 200, 0)  # type: ignore[arg-type]
    with pytest.raises(GameError, match="no information-state tensors"):
        response_bound(entrant, "go_fish", 200, 0)
    with pytest.raises(GameError, match="do not fit"):
        StateBatch("kuhn_poker", 2, 1 << 40)


def test_the_memory_of_masks_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # A state of Kuhn poker takes 11 singles and 2 bytes.
    for most, fits in ((100 * 46, True), (100 * 46 - 1, False)):
        monkeypatch.setattr(state_batch, "MAX_BYTES", most)
        with nullcontext() if fits else pytest.raises(GameError, match="2 actions do not fit"):
            StateBatch("kuhn_poker", 2, 99)


def bound_of(first: Sequence[float], second: Sequence[float], worst: float) -> ResponseBound:
    """Return the bound after these payoffs."""
    seats = [np.array(won, float) for won in (first, second)]
    errors = tuple(float(won.std(ddof=1) / np.sqrt(len(won))) for won in seats)
    wins = tuple(float(won.mean()) for won in seats)
    return ResponseBound((wins[0], wins[1]), (errors[0], errors[1]), 100, len(first), worst)


def test_the_bound_is_a_sum_with_a_one_sided_interval() -> None:
    first, second = [1.0, 2.0, 0.0, 1.0, 2.0], [0.5, 1.0, -1.0, 1.0, 1.0]
    bound = bound_of(first, second, -2.0)
    assert bound.estimate == pytest.approx(sum(first) / 5 + sum(second) / 5)
    more = [np.array([*won, -2.0]) for won in (first, second)]  # one play more, lost
    error = np.sqrt(sum(won.var(ddof=1) / 6 for won in more))
    expected = sum(won.mean() for won in more) - 1.6448536 * error
    assert bound.nash_conv_low == pytest.approx(max(expected, 0.0), abs=1e-6)
    many = bound_of(first * 20, second * 20, -2.0)
    more = [np.array([*won, -2.0]) for won in (first * 20, second * 20)]
    error = np.sqrt(sum(won.var(ddof=1) / 101 for won in more))
    expected = sum(won.mean() for won in more) - 1.6448536 * error
    assert many.nash_conv_low == pytest.approx(expected, abs=1e-6) and expected > 0.5
    assert many.to_json()["nash_conv_at_least_95"] == many.nash_conv_low
    assert many.to_json()["exploitability_at_least_95"] == many.nash_conv_low / 2
    below = bound_of([-1.0, -1.1], [0.5, 0.4], -2.0)
    assert below.estimate == pytest.approx(-0.6) and below.nash_conv_low == 0.0


@pytest.mark.parametrize("chance", [0.5, 0.9, 0.98, 0.995])
def test_the_bound_holds_in_19_of_20_however_seldom_a_response_loses(chance: float) -> None:
    rng = np.random.default_rng(0)
    won = np.where(rng.random((1000, 2, 100)) < chance, 1.0, -1.0)
    exact = 2 * (2 * chance - 1)
    holds = [bound_of(*seats, -1.0).nash_conv_low <= exact for seats in won]
    assert np.mean(holds) > 0.945
