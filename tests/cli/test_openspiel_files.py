"""OpenSpiel policies by file, and populations as OpenSpiel policies: scored alike by both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.adapters.openspiel_files import as_openspiel, members_as_openspiel
from pkubench.agents.contract import Population
from pkubench.envs.games.trees import registered_game
from tests.cli.conftest import Command

pyspiel = pytest.importorskip("pyspiel")

from open_spiel.python import policy as policies  # noqa: E402
from open_spiel.python.algorithms import cfr  # noqa: E402

GOOFSPIEL = "goofspiel(num_cards=3,imp_info=True,points_order=descending)"
GAMES = {
    "KuhnPoker-v0": "kuhn_poker",
    "openspiel:liars_dice(dice_sides=2)": "liars_dice(dice_sides=2)",
    f"openspiel:{GOOFSPIEL}": f"turn_based_simultaneous_game(game={GOOFSPIEL})",
}


@pytest.mark.parametrize("language", ["C++", "Python"])
@pytest.mark.parametrize("task", GAMES)
def test_a_file_that_openspiel_writes_scores_what_openspiel_says(
    pkubench: Command, task: str, language: str
) -> None:
    game = pyspiel.load_game(GAMES[task])
    if language == "C++":
        solver = pyspiel.CFRSolver(game)
        for _ in range(4):
            solver.evaluate_and_update_policy()
        policy = solver.tabular_average_policy()
        Path("cfr.txt").write_text(policy.serialize())
        expected = pyspiel.nash_conv(game, policy)
    else:
        solver = cfr.CFRSolver(game)
        for _ in range(4):
            solver.evaluate_and_update_policy()
        policy = solver.average_policy()
        Path("cfr.txt").write_text(json.dumps(policy.to_dict()))
        table = {state: list(row) for state, row in policy.to_dict().items()}
        expected = pyspiel.nash_conv(game, pyspiel.TabularPolicy(table))
    said = pkubench("evaluate", "openspiel:cfr.txt", task, "--out", "out", "--json")
    assert said.code == 0, said.err
    found = said.json["metrics"]["nash_conv"]["mean"]
    assert found == pytest.approx(expected, abs=1e-9) and expected > 1e-3
    assert said.json["agent"] == "cfr"


def random_population(task: str, seed: int) -> Population:
    """Two policies per seat, one of them mixed, with uneven weights."""
    game, rng = registered_game(task), np.random.default_rng(seed)
    seats = [
        [game.behaviour(game.random_plan(player, rng, pure=pure), player) for pure in (True, False)]
        for player in (0, 1)
    ]
    return Population((seats[0], seats[1]), (np.array([0.3, 0.7]), np.array([0.6, 0.4])))


@pytest.mark.parametrize("task", GAMES)
def test_a_population_is_as_exploitable_as_its_openspiel_policy(task: str) -> None:
    population, game = random_population(task, 1), registered_game(task)
    mixed = [
        game.mix(
            [game.realization_plan(p, player) for p in population.policies[player]],
            population.meta_strategy[player],
        )
        for player in (0, 1)
    ]
    theirs = pyspiel.nash_conv(pyspiel.load_game(GAMES[task]), as_openspiel(population, task))
    assert theirs == pytest.approx(game.nash_conv(*mixed), abs=1e-9)
    # Averaging action probabilities instead of whole policies would be another policy.
    averaged = []
    for player, weights in enumerate(population.meta_strategy):
        first, second = population.policies[player]
        policy = {
            s: {a: weights[0] * first[s][a] + weights[1] * second[s][a] for a in row}
            for s, row in first.items()
        }
        averaged.append(game.realization_plan(policy, player))
    assert game.nash_conv(*averaged) != pytest.approx(theirs, abs=1e-3)


def test_members_play_their_own_seats() -> None:
    population = random_population("KuhnPoker-v0", 2)
    first, second = members_as_openspiel(population, "KuhnPoker-v0")
    assert (len(first), len(second)) == (2, 2)
    for player, members in enumerate((first, second)):
        for member, policy in zip(members, population.policies[player], strict=True):
            for state in registered_game("KuhnPoker-v0").information_states(player):
                theirs = dict(member.get_state_policy(state.text))
                row = dict(policy[state.text])  # type: ignore[index]
                game = registered_game("KuhnPoker-v0")
                plan = game.realization_plan(policy, player)
                assert set(theirs) == set(row)
                reached = game.behaviour(plan, player)[state.text]
                assert theirs == pytest.approx(reached, abs=1e-12)


def test_an_exported_population_comes_back_with_the_same_score(pkubench: Command) -> None:
    assert pkubench("export", "psro", "KuhnPoker-v0", "--openspiel", "psro.txt").code == 0
    game = pyspiel.load_game("kuhn_poker")
    said = pkubench("evaluate", "openspiel:psro.txt", "KuhnPoker-v0", "--out", "out", "--json")
    assert said.json["metrics"]["nash_conv"]["mean"] == pytest.approx(0.0, abs=1e-9)
    text = Path("psro.txt").read_text().removeprefix("TabularPolicy:").split("<~>")
    table: dict[str, Any] = {
        state: [(int(p.split("=")[0]), float.fromhex(p.split("=")[1])) for p in row.split(",")]
        for state, row in zip(text[::2], text[1::2], strict=True)
    }
    assert pyspiel.nash_conv(game, pyspiel.TabularPolicy(table)) == pytest.approx(0.0, abs=1e-9)


KUHN = policies.UniformRandomPolicy(pyspiel.load_game("kuhn_poker")).to_tabular().to_dict()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nonsense", "is no tabular policy of OpenSpiel"),
        ("TabularPolicy:0<~>0=0x1p-1", "no probabilities|does not play"),
        ("TabularPolicy:0<~>0=0x1p-1<~>1", "without probabilities"),
        ("TabularPolicy:0<~>0=1<~>0<~>0=1", "there twice"),
        (json.dumps({**KUHN, "0": [[0, 0.9], [1, 0.9]]}), "'0'"),
        (json.dumps({k: v for k, v in KUHN.items() if k != "0pb"}), "'0pb'"),
        (json.dumps([1, 2]), "is no tabular policy"),
    ],
)
def test_files_that_do_not_fit_are_named_in_one_line(
    pkubench: Command, content: str, words: str
) -> None:
    Path("p.txt").write_text(content)
    said = pkubench("evaluate", "openspiel:p.txt", "KuhnPoker-v0", "--out", "out")
    assert said.code == 2 and len(said.err.strip().splitlines()) == 1, said.err
    assert any(word in said.err for word in words.split("|")), said.err


def test_what_is_missing_is_said(pkubench: Command) -> None:
    assert (
        "no file 'nowhere.txt'" in pkubench("evaluate", "openspiel:nowhere.txt", "KuhnPoker-v0").err
    )
    assert "--openspiel FILE" in pkubench("export", "psro", "KuhnPoker-v0").err
