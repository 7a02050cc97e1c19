"""Policies of OpenSpiel: read at every information state, and as exploitable as OpenSpiel says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pkubench
from pkubench.agents.adapters.openspiel import as_population
from pkubench.agents.contract import Population
from pkubench.agents.resolve.user_code import load_code
from pkubench.errors import AgentError
from tests.evaluation.counting import counting_task

pyspiel = pytest.importorskip("pyspiel")

from open_spiel.python import policy as policies  # noqa: E402
from open_spiel.python.algorithms import cfr, exploitability  # noqa: E402

GOOFSPIEL = "goofspiel(num_cards=3,imp_info=True,points_order=descending)"
TASKS = {
    "kuhn_poker": "KuhnPoker-v0",
    "liars_dice(dice_sides=2)": "openspiel:liars_dice(dice_sides=2)",
    f"turn_based_simultaneous_game(game={GOOFSPIEL})": f"openspiel:{GOOFSPIEL}",
}


def cfr_python(game: Any) -> Any:
    solver = cfr.CFRSolver(game)
    for _ in range(3):
        solver.evaluate_and_update_policy()
    return solver.average_policy()


def random_table(game: Any) -> Any:
    table = policies.TabularPolicy(game)
    drawn = np.random.default_rng(0).exponential(size=table.action_probability_array.shape)
    drawn *= table.legal_actions_mask
    table.action_probability_array[:] = drawn / drawn.sum(1, keepdims=True)
    return table


SOLVERS: list[Any] = []
"""What ``average_policy()`` in C++ points into, and does not keep alive."""


def cfr_cpp(game: Any, tabular: bool) -> Any:
    solver = pyspiel.CFRSolver(game)
    SOLVERS.append(solver)
    for _ in range(3):
        solver.evaluate_and_update_policy()
    return solver.tabular_average_policy() if tabular else solver.average_policy()


MAKERS: dict[str, Any] = {
    "python CFR": cfr_python,
    "python table": random_table,
    "python class": lambda game: policies.FirstActionPolicy(game),
    "python from a mapping": lambda game: policies.tabular_policy_from_callable(
        game,
        lambda state: {action: 1 / len(state.legal_actions()) for action in state.legal_actions()},
    ),
    "C++ CFR": lambda game: cfr_cpp(game, False),
    "C++ table": lambda game: cfr_cpp(game, True),
    "C++ uniform": lambda game: pyspiel.UniformRandomPolicy(game),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", TASKS)
def test_a_policy_is_as_exploitable_as_openspiel_says(name: str, kind: str) -> None:
    game = pyspiel.load_game(name)
    policy = MAKERS[kind](game)
    expected = (
        exploitability.exploitability(game, policy)
        if kind.startswith("python")
        else pyspiel.nash_conv(game, policy) / 2
    )
    report = pkubench.evaluate(policy, TASKS[name], workers=0)
    assert report.metrics["exploitability"].mean == pytest.approx(expected, abs=1e-12)
    assert report.agent == type(policy).__name__


def test_a_policy_of_simultaneous_moves_plays_the_turn_based_form() -> None:
    simultaneous = pyspiel.load_game(GOOFSPIEL)
    ours = as_population(random_table(simultaneous), f"openspiel:{GOOFSPIEL}")
    table = random_table(simultaneous)
    for player in (0, 1):
        for text, row in ours.policies[player][0].items():  # type: ignore[union-attr]
            plain = text.removeprefix(f"Current player: {player}\n")
            expected = table.policy_for_key(plain)
            assert dict(row) == pytest.approx({a: expected[a] for a in row})


def test_the_probabilities_are_those_at_each_information_state() -> None:
    table = random_table(pyspiel.load_game("kuhn_poker"))
    population = as_population(table, "pkubench/KuhnPoker-v0")
    assert isinstance(population, Population)
    for player, keys in enumerate(table.states_per_player):
        (policy,) = population.policies[player]
        assert set(policy) == set(keys) and len(keys) == 6  # type: ignore[arg-type]
        for key in keys:
            found = policy[key]  # type: ignore[index]
            assert found == pytest.approx(dict(enumerate(table.policy_for_key(key))))


MADE: list[str] = []


def make_policy(task: str) -> Any:
    MADE.append(task)
    return random_table(pyspiel.load_game("kuhn_poker"))


def test_a_factory_may_return_a_policy_of_openspiel() -> None:
    task = "pkubench/KuhnPoker-v0"
    spelling = "tests.games.test_openspiel_policies:make_policy"
    assert isinstance(load_code(spelling, task), Population)
    expected = pkubench.evaluate(make_policy(task), task, workers=0).score
    assert pkubench.evaluate(spelling, task, workers=0).score == expected
    assert task in MADE
    with pytest.raises(AgentError, match="is an OpenSpiel policy; name the task"):
        load_code("tests.games.test_openspiel_policies:POLICY", None)


POLICY = policies.UniformRandomPolicy(pyspiel.load_game("kuhn_poker"))


def _one_player(game: Any) -> Any:
    return policies.TabularPolicy(game, players=[0])


@pytest.mark.parametrize(
    ("policy", "task", "message"),
    [
        (lambda: POLICY, "LeducPoker-v0", r"for kuhn_poker.*is not the game of .*LeducPoker"),
        (
            lambda: cfr_cpp(pyspiel.load_game("leduc_poker"), True),
            "KuhnPoker-v0",
            "no probabilities for player 0 .*another game",
        ),
        (
            lambda: cfr_cpp(pyspiel.load_game("liars_dice(dice_sides=3)"), True),
            "openspiel:liars_dice(dice_sides=2)",
            "another game|only",
        ),
        (
            lambda: _one_player(pyspiel.load_game("kuhn_poker")),
            "KuhnPoker-v0",
            "no probabilities for player 1.*both players",
        ),
        (lambda: POLICY, "matrix:rock_paper_scissors", "is a payoff matrix"),
        (lambda: POLICY, "SimpleSpread-v0", "for an OpenSpiel game: .*not a game"),
    ],
)
def test_a_policy_that_does_not_play_the_tasks_game_is_refused(
    policy: Any, task: str, message: str
) -> None:
    with pytest.raises(AgentError, match=message) as caught:
        pkubench.evaluate(policy(), task, workers=0)
    assert "\n" not in str(caught.value)


class NoAgent:
    """Has nothing that an agent has."""


class NoInstance:
    """An agent's class, given in place of an agent."""

    def begin(self, seeds: Any) -> None: ...
    def act(self, observation: Any, state: Any, active: Any) -> Any: ...


@pytest.mark.parametrize("value", [NoAgent(), NoInstance, 3, None, {"0": {0: 1.0}}, lambda x: x])
def test_what_is_not_an_agent_is_refused_at_the_door(value: Any) -> None:
    message = r"is not an agent \(.*\); pkubench scores an Agent \(begin and act\), a Team, .*"
    for task in (counting_task(), "KuhnPoker-v0"):
        with pytest.raises(AgentError, match=message + "OpenSpiel"):
            pkubench.evaluate(value, task, workers=0)
