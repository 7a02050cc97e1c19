"""Teams under a speed limit: the team's environment with the cost of the single-agent one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.envs.core.registry import make_batch
from pkubench.envs.multi_mujoco.robot import MultiRobot
from pkubench.envs.safety.locomotion import Locomotion
from pkubench.errors import UnknownName
from pkubench.tasks.registry import make_task

PAIRS = [("HalfCheetah", "2x3", 3.2096, 2.8795), ("Ant", "4x2", 2.6222, 2.5745)]
NUM_ENVS, STEPS = 16, 60


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo leaves its log in the working folder when it warns."""
    monkeypatch.chdir(tmp_path)


def _running_start(env: Any, seed: int) -> tuple[Any, Any]:
    """Return states with planar speeds around the limits, (NUM_ENVS, nq) and (NUM_ENVS, nv)."""
    env.reset(np.arange(NUM_ENVS))
    qpos, qvel = env.qpos.copy(), env.qvel.copy()
    qvel[:, :2] = np.random.default_rng(seed).uniform(-4.0, 6.0, (NUM_ENVS, 2))
    return qpos, qvel


@pytest.mark.parametrize(("robot", "factorization", "v1", "v0"), PAIRS)
@pytest.mark.parametrize("thresholds", ["v1", "v0"])
def test_the_same_joint_action_costs_a_team_what_it_costs_one_agent(
    robot: str, factorization: str, v1: float, v0: float, thresholds: str
) -> None:
    one: Any = make_batch(f"{robot}Velocity-v0", NUM_ENVS, thresholds=thresholds)
    name = f"Multi{robot}{factorization}Velocity-v0"
    team: Any = make_batch(name, NUM_ENVS, thresholds=thresholds)
    assert isinstance(one, Locomotion) and isinstance(team, MultiRobot)
    start = _running_start(one, 3)
    team.reset(np.arange(NUM_ENVS))
    for env in (one, team):
        env._place(np.arange(NUM_ENVS), *start)
    width = team.action_spaces["agent_0"].shape[0]
    tape = np.random.default_rng(0).uniform(-1.0, 1.0, (STEPS, NUM_ENVS, width * len(team.agents)))
    dealt_out = np.argsort(team._order)  # which joint each number of the joint action moves
    costs = []
    for joint in tape.astype(np.float32):
        alone = one.step({"agent": joint})
        given = joint[:, dealt_out]
        parts = np.split(given, len(team.agents), axis=1)
        team_step = team.step(dict(zip(team.agents, parts, strict=True)))
        assert (one.ctrl == team.ctrl).all()
        for key in ("x_velocity", "cost", "cost_velocity"):
            np.testing.assert_array_equal(team_step.info[key], alone.info[key])
        speed = alone.info["x_velocity"]
        if robot == "Ant":
            speed = np.hypot(speed, alone.info["y_velocity"])
        limit = v1 if thresholds == "v1" else v0
        np.testing.assert_array_equal(team_step.info["cost"], speed > limit)
        costs.append(team_step.info["cost"])
    assert 0.02 < np.mean(costs) < 0.98  # steps on both sides of the limit


@pytest.mark.parametrize(("robot", "factorization", "v1", "v0"), PAIRS)
def test_all_but_the_cost_is_the_environment_without_a_limit(
    robot: str, factorization: str, v1: float, v0: float
) -> None:
    free: Any = make_batch(f"Multi{robot}{factorization}-v0", 4)
    limited: Any = make_batch(f"Multi{robot}{factorization}Velocity-v0", 4)
    assert limited.speed_limit.threshold == v1 > v0
    random = np.random.default_rng(1)
    seeds = np.arange(4) + 7
    for a, b in zip(free.reset(seeds)[0].values(), limited.reset(seeds)[0].values(), strict=True):
        np.testing.assert_array_equal(a, b)
    for _ in range(30):
        actions = {
            a: random.uniform(-1, 1, (4, *space.shape)).astype(np.float32)
            for a, space in free.action_spaces.items()
        }
        one, two = free.step(actions), limited.step(actions)
        np.testing.assert_array_equal(one.rewards, two.rewards)
        np.testing.assert_array_equal(one.terminated, two.terminated)
        np.testing.assert_array_equal(free.state(), limited.state())
        for agent in free.agents:
            np.testing.assert_array_equal(one.observations[agent], two.observations[agent])
        assert set(two.info) - set(one.info) == {"cost", "cost_velocity"}


def test_it_is_a_constrained_task_and_wrong_settings_are_named() -> None:
    task = make_task("MultiHalfCheetah2x3Velocity-v1")
    assert (task.suite, task.cost_limit, task.protocol.horizon) == ("constrained", 25.0, 1000)
    assert task.metric("cost").unit == "steps"
    with pytest.raises(UnknownName, match="set of thresholds"):
        make_batch("MultiAnt4x2Velocity-v1", 1, thresholds="v7")
    with pytest.raises(UnknownName, match="factorization"):
        make_batch("MultiAnt4x2Velocity-v1", 1, factorization="9x9")
