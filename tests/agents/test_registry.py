"""What agents declare: where they train, what to try first, and that it is true of their code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pkubench.agents.registry import LIMITED, families, family_of, import_function, preset, presets
from pkubench.agents.suitability import can_train, trainable, why_not
from pkubench.envs.core.registry import EnvFamily, register_env_family, traits
from pkubench.errors import ConfigError, UnknownName
from pkubench.tasks.registry import make_task, tasks
from pkubench.tasks.scoring import Episodes
from pkubench.tasks.task import Task
from pkubench.training.request import constraint_name, request
from tests.agents.encoded_envs import MortalTeam
from tests.agents.toy_envs import task_of

PLAYED = [p for p in presets().values() if family_of(p).unit == "environment_steps"]
TRAINED = [p for p in PLAYED if family_of(p).is_trained]


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.name)
def test_the_functions_that_a_family_names_are_there(family: Any) -> None:
    for path in (family.configure, family.load, family.make, family.bound):
        assert path is None or callable(import_function(path))
    assert (family.load is None) == (family.kind == "")


@pytest.mark.parametrize("agent", TRAINED, ids=lambda agent: agent.name)
def test_an_agent_holds_a_cost_limit_where_it_says_so(agent: Any) -> None:
    assert (constraint_name(agent.config()) != "none") == (LIMITED in agent.tags)
    of_suites = [task for task in tasks() if task.suite in agent.suites]
    # some families need teams of agents with equal spaces, or numbers and no texts
    of_suites = [
        task for task in of_suites if not (family_of(agent).fits(task) or agent.fits(task))
    ]
    assert of_suites
    for task in of_suites:
        assert can_train(agent, task) == (LIMITED not in agent.tags or task.cost_limit is not None)


def of_another_package(name: str, **changes: Any) -> Task:
    """A shipped task as if it were of an unknown suite."""
    return replace(make_task(name), suite="own", **changes)


@pytest.mark.parametrize(
    ("agent", "task", "reason"),
    [
        ("random", make_task("SimpleSpread-v0"), "it is not trained"),
        ("ppo", make_task("SimpleSpread-v0"), "it trains on constrained, diagnostics, align"),
        ("ppo", make_task("QAModeration-v0"), "it reads numbers, and here observations are texts"),
        ("ppo", make_task("SVOSlider-v0"), ""),
        ("ippo", make_task("PrisonersDilemma-v0"), ""),
        ("cpo", make_task("PointGoal0-v0"), "it needs a cost limit"),
        ("cpo", of_another_package("SimpleSpread-v0"), "it needs a cost limit"),
        ("happo", of_another_package("KuhnPoker-v0"), "it learns from episodes"),
        ("happo", of_another_package("KuhnPoker-v0", scoring=Episodes()), ""),
        ("hasac", of_another_package("KuhnPoker-v0", scoring=Episodes()), "action masks"),
        ("psro", of_another_package("KuhnPoker-v0", scoring=Episodes()), "two-player zero-sum"),
        ("psro", of_another_package("KuhnPoker-v0"), ""),
        ("psro", of_another_package("SimpleSpread-v0"), "two-player zero-sum games"),
        ("happo", of_another_package("SimpleSpread-v0"), ""),
        ("stas", make_task("HopperVelocity-v0"), "on credit tasks and where rewards are delayed"),
        ("stas", make_task("HopperVelocity-v0+delay=20"), ""),
        ("dense", make_task("SimpleSpread-v0+delay=episode"), ""),
        ("difference", make_task("Navigation3-v0+delay=20"), ""),
        ("difference", make_task("SimpleSpread-v0+delay=20"), "it trains on credit tasks, and"),
        ("difference", of_another_package("SimpleSpread-v0"), "it reads difference rewards"),
        ("happo", make_task("SimpleSpread-v0+delay=20"), ""),
        ("hasac", of_another_package("SimpleSpread-v0"), ""),
    ],
)
def test_why_an_agent_does_not_train_on_a_task(agent: str, task: Task, reason: str) -> None:
    found = why_not(preset(agent), task)
    assert reason in found and bool(reason) == bool(found)
    assert can_train(preset(agent), task) == (not reason)


def test_learners_with_a_replay_buffer_refuse_agents_that_die_before_their_team() -> None:
    task = task_of(MortalTeam)
    assert traits(task.id).has_deaths and not traits("SimpleSpread-v0").has_deaths
    assert "agents that die" in why_not(preset("hasac"), task)
    assert why_not(preset("happo"), task) == ""
    with pytest.raises(ConfigError, match="agents that die"):
        request("hasac", task, {}, steps=10, seeds=[0])


def test_networks_of_numbers_do_not_train_on_text_tasks() -> None:
    from tests.agents.contract_agents import task_on

    task = replace(task_on("Doubling", "TextEnv"), suite="own")
    assert traits(task.id).is_text
    assert "here actions are text" in why_not(preset("happo"), task)


@pytest.mark.parametrize(
    ("task", "first"),
    [
        ("SimpleSpread-v0", ["happo", "mappo", "ippo"]),
        ("PointGoal1-v0", ["ppo-lag", "trpo-lag", "rcpo"]),
        ("PointGoal0-v0", ["ppo", "policy-gradient", "natural-pg"]),
        ("MultiAnt4x2Velocity-v1", ["happo-lag", "hasac-lag", "hatd3-lag"]),
        ("KuhnPoker-v0", ["psro", "cfr+", "p-psro"]),
        ("AliceAndBob-v0", ["stas", "undecomposed", "stas-ml"]),
        ("SimpleSpread-v0+delay=episode", ["stas", "undecomposed", "stas-ml"]),
    ],
)
def test_what_to_try_first_on_a_task(task: str, first: list[str]) -> None:
    fitting = trainable(make_task(task))
    assert [agent.name for agent in fitting][:3] == first
    official = [agent.is_official for agent in fitting]
    assert official == sorted(official)


def test_an_unknown_agent_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'happo'"):
        preset("hapo")


def test_traits_are_read_from_the_environment_where_settings_may_change_them() -> None:
    assert traits("SimpleSpread-v0").action == "discrete"
    assert traits("SimpleSpread-v0", continuous_actions=True).action == "box"
    assert traits("matrix:cyclic(3)").is_zero_sum_game


def test_a_prefix_of_environments_is_taken_once() -> None:
    with pytest.raises(ConfigError, match="another family 'matrix'"):
        register_env_family(EnvFamily(prefix="matrix", entry_point="mine:Matrix"))
