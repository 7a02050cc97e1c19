"""Anyone's Gymnasium environment, with costs of its own: names, reading, and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from pkubench.agents.registry import preset
from pkubench.agents.suitability import why_not
from pkubench.envs.by_id.environment import GymEnvironment
from pkubench.envs.by_id.naming import parsed, with_costs
from pkubench.envs.core.registry import make_batch, traits
from pkubench.errors import ConfigError, UnknownName
from pkubench.evaluation.metrics import constraint, feasible
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import Aggregate

PENDULUM = "gym:InvertedDoublePendulum-v5(cost=-distance_penalty:3,cost=-velocity_penalty:1)"


class Told(gymnasium.Env[Any, Any]):
    """Reports the infos it is given, step by step, and ends after three steps."""

    observation_space = spaces.Dict({"a": spaces.Box(-9, 9, (1,)), "b": spaces.Box(-9, 9, (2,))})
    action_space = spaces.Box(-1.0, 1.0, (1,))
    infos: ClassVar[list[dict[str, Any]]] = []
    cuts: ClassVar[bool] = False
    acted: ClassVar[list[float]] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.at = 0
        return {"a": [0.0], "b": [1.0, 2.0]}, {"cost": 99.0}

    def step(self, action: Any) -> Any:
        info = self.infos[self.at % len(self.infos)]
        self.at += 1
        self.acted.append(float(action[0]))
        ends = self.at == 3
        observation = {"a": [float(self.at)], "b": [1.0, 2.0]}
        return observation, 1.0, ends and not self.cuts, ends and self.cuts, info


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Told, "acted", [])
    gymnasium.register("Told-v0", Told)
    yield
    gymnasium.registry.pop("Told-v0")


def play(name: str, infos: list[dict[str, Any]], steps: int = 3) -> list[dict[str, list[float]]]:
    """Return the infos of the steps of one environment."""
    Told.infos = infos
    env = make_batch(name, 1)
    env.reset(np.array([0]))
    found = []
    for _ in range(steps):
        step = env.step({"agent": np.array([[5.0]], np.float32)})
        found.append({key: value.tolist() for key, value in step.info.items()})
        if step.terminated[0] or step.truncated[0]:
            env.reset(np.array([1]))
    return found


def test_a_name_is_read_and_spelled_in_one_way() -> None:
    name = parsed("gym:mine/Maze-v3( cost=a.b:1e1,cost=-c:2.5 , missing=zero)")
    assert (name.env_id, name.costs) == ("mine/Maze-v3", (("a.b", 10.0), ("-c", 2.5)))
    assert name.text == "gym:mine/Maze-v3(cost=a.b:10,cost=-c:2.5,missing=zero)"
    assert parsed(name.text) == name
    assert "+" not in parsed("gym:A-v0(cost=k:1.5e300)").text  # a plus sign begins a variant
    assert with_costs("gym:A-v0", ["x", "y:3", "z"], ["1", "2"], "error") == (
        "gym:A-v0(cost=x:1,cost=y:3,cost=z:2)"
    )
    assert with_costs("gym:A-v0", ["cost"], [], "error") == "gym:A-v0(cost=cost:25)"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gym:A-v0(cost=x:-1)", "at least 0"),
        ("gym:A-v0(cost=x:nan)", "at least 0"),
        ("gym:A-v0(cost=x)", "at least 0"),
        ("gym:A-v0(cost=x:1,cost=x:2)", "twice"),
        ("gym:A-v0(price=x:1)", "unknown"),
        ("gym:A-v0(missing=zero)", "no cost="),
        ("gym:os:A-v0", "PKUBENCH_PLUGINS=os"),
    ],
)
def test_a_name_that_is_spelled_wrongly_is_refused(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parsed(name)


@pytest.mark.parametrize(
    ("keys", "limits"), [(["x", "y"], ["1"]), (["x"], ["1", "2"]), (["x:1"], ["2"])]
)
def test_limits_that_do_not_pair_with_keys_are_refused(keys: list[str], limits: list[str]) -> None:
    with pytest.raises(ConfigError, match="--cost-"):
        with_costs("gym:A-v0", keys, limits, "error")


def test_an_id_that_no_package_registers_is_unknown_and_imports_nothing() -> None:
    with pytest.raises(UnknownName, match="PKUBENCH_PLUGINS"):
        make_batch("gym:Nowhere-v0", 1)


def test_costs_are_those_of_the_infos_and_never_those_of_the_reset() -> None:
    name = "gym:Told-v0(cost=hit:2,cost=deep.er:3,cost=-paid:4,cost=terminated:1)"
    steps = [
        {"hit": True, "deep": {"er": 0.5}, "paid": -2.0, "cost_sum": 7},
        {"hit": np.array([3]), "deep.er": 9.0, "deep": {"er": 1}, "paid": 0},
        {"hit": 0, "deep": {"er": 0.25}, "paid": np.float32(-0.5)},
    ]
    found = play(name, steps)
    assert [info["cost"] for info in found] == [[1.0], [3.0], [0.0]]
    assert [info["cost.deep.er"] for info in found] == [[0.5], [9.0], [0.25]]
    assert [info["cost.-paid"] for info in found] == [[2.0], [0.0], [0.5]]
    assert [info["cost.terminated"] for info in found] == [[0.0], [0.0], [1.0]]
    assert [info["total_cost.deep.er"] for info in found] == [[0.5], [9.5], [9.75]]
    assert [info["total_cost.hit"] for info in found] == [[1.0], [4.0], [4.0]]
    env = make_batch(name, 1)
    assert env.reset(np.array([0]))[1]["cost"].tolist() == [0.0]
    assert Told.acted[:3] == [1.0] * 3  # actions are clipped to the bounds
    assert set(found[0]) == set(env.reset(np.array([0]))[1])


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"other": 1.0}, "reports no 'cost' in the infos of a step, which have other"),
        ({"cost": -1.0}, "--cost-key=-cost turns its sign"),
        ({"cost": float("nan")}, "nan"),
        ({"cost": float("inf")}, "inf"),
        ({"cost": [1.0, 2.0]}, "not one number"),
        ({"cost": "much"}, "not one number"),
    ],
)
def test_a_step_without_a_proper_cost_is_an_error(info: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        play("gym:Told-v0(cost=cost:5)", [{"cost": 1.0}, info])


def test_a_sparse_cost_counts_as_zero_on_request_and_its_share_is_reported() -> None:
    name = "gym:Told-v0(cost=cost:5,missing=zero)"
    found = play(name, [{"cost": 2.0}, {}, {}])
    assert [info["cost"][0] for info in found] == [2.0, 0.0, 0.0]
    assert [info["cost_reported"][0] for info in found] == [1.0, 0.5, 1 / 3]
    assert "cost_reported" in {metric.name for metric in make_task(name).metrics}


def test_a_sparse_cost_that_ten_episodes_do_not_have_is_a_mistake() -> None:
    name = "gym:Told-v0(cost=cots:5,missing=zero)"
    play(name, [{"cost": 2.0}], steps=29)
    with pytest.raises(ConfigError, match="in 10 episodes"):
        play(name, [{"cost": 2.0}], steps=30)


def test_an_episode_that_the_environment_cuts_is_truncated_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Told, "cuts", True)
    Told.infos = [{}]
    env = make_batch("gym:Told-v0", 2)
    env.reset(np.array([0, 1]))
    ends = [env.step({"agent": np.zeros((2, 1), np.float32)}) for _ in range(3)]
    assert [step.truncated.tolist() for step in ends] == [[False] * 2, [False] * 2, [True] * 2]
    assert not any(step.terminated.any() for step in ends)
    env.reset(np.array([5]), np.array([1]))
    assert env._limits().tolist()[1] > 3  # type: ignore[union-attr]


def test_a_real_environment_is_played_as_gymnasium_plays_it() -> None:
    pytest.importorskip("mujoco")
    env, original = make_batch(PENDULUM, 2), gymnasium.make("InvertedDoublePendulum-v5")
    observations, _ = env.reset(np.array([3, 2**40 + 7]))
    assert np.array_equal(observations["agent"][0], original.reset(seed=3)[0])
    rng, ended = np.random.default_rng(0), False
    while not ended:
        actions = rng.uniform(-1, 1, (2, 1)).astype(np.float32)
        step = env.step({"agent": actions})
        observation, reward, ended, _, info = original.step(actions[0])
        assert np.array_equal(step.observations["agent"][0], observation)
        assert (step.rewards[0, 0], step.terminated[0]) == (reward, ended)
        assert step.info["cost"][0] == -info["distance_penalty"]
        assert step.info["cost.-velocity_penalty"][0] == -info["velocity_penalty"]
    assert isinstance(env, GymEnvironment) and traits(PENDULUM).has_cost


def test_a_task_with_two_limits_is_feasible_if_both_are_kept() -> None:
    task = make_task(PENDULUM)
    second = "total_cost.-velocity_penalty"
    assert task.cost_limit == 3.0 and task.further_limits == {second: 1.0}
    assert feasible(task, 3.0, {second: 1.0}) is True
    assert feasible(task, 2.0, {second: 1.01}) is False
    assert feasible(task, 3.01, {second: 0.0}) is False
    assert feasible(task, 3.0, {}) is None
    kept = constraint(3.0, Aggregate(2.0, 1.0, 3.0, 2), [2.0, 2.0], 0.0, [True, False])
    assert kept is not None and kept.runs_within == "1 of 2"


@pytest.mark.parametrize(
    ("agent", "fits"),
    [("ppo-lag", True), ("trpo-pid", True), ("ppo", True), ("cpo", False), ("focops", False)],
)
def test_agents_for_one_limit_refuse_two(agent: str, fits: bool) -> None:
    pytest.importorskip("mujoco")
    why = why_not(preset(agent), make_task(PENDULUM))
    assert (why == "") is fits and (fits or "one cost limit" in why)
    one = make_task("gym:InvertedDoublePendulum-v5(cost=terminated:1)")
    assert why_not(preset(agent), one) == ""
