"""Grasping: starts at rest without penetration, grasps that last, and a search that finds them."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

import pkubench
from pkubench.envs.core.batch import FloatArray
from pkubench.envs.grasp.environments import GraspSphere
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.items import Solid
from pkubench.envs.grasp.objects.model import GraspObject, make_object
from pkubench.envs.grasp.open_loop import ScriptAgent
from pkubench.envs.grasp.search import EPISODE_STEPS, Round, search
from tests.envs.test_grasp_slots import lumps

POPULATION = 128
SECONDS = 10.0


def box(name: str, *half: float) -> GraspObject:
    corners = np.stack(np.meshgrid(*[(-h, h) for h in half]), axis=-1).reshape(-1, 3)
    return make_object(name, [corners])


@pytest.fixture(scope="module")
def found() -> list[Round]:
    """Rounds of a search, until half of the population holds the ball or time is over."""
    rounds = []
    for one in search(GraspSphere(POPULATION), seed=0):
        rounds.append(one)
        if one.held.mean() >= 0.5 or one.processor_s > 2 * SECONDS:
            return rounds
    raise AssertionError


def open_hand(env: GraspBatch) -> dict[str, FloatArray]:
    action = np.zeros((env.num_envs, 24), dtype=np.float32)
    action[:, 6:] = 2.0 * (np.clip(0.0, env._low, None) - env._low) / env._span - 1.0
    return {"agent": action}


def test_large_objects_start_without_penetration_and_leave_the_hand_alone() -> None:
    shapes = [box("box/0001", 1, 1, 1), box("box/0002", 1, 0.2, 0.1), box("box/0003", 1, 0.9, 0.1)]
    items = [Solid(shape, 0.15) for shape in (*shapes, *(lumps(3, k) for k in range(5)))]
    env = GraspBatch(items, 8 * len(items))
    numbers = np.arange(env.num_envs) % len(items)
    env.reset(np.arange(env.num_envs), options={"object": numbers, "pose": numbers * 3 % 7})
    tops = []
    for index in range(env.num_envs):
        model, data = env.batch.get_model(index), env.batch.get_data(index)
        mujoco.mj_forward(model, data)
        bodies = model.geom_bodyid[data.contact.geom].reshape(-1, 2)
        assert not ((bodies > 0) & (bodies < model.nbody - 1)).any(), "a hand touches something"
        assert data.contact.dist.min(initial=0.0) > -2e-4
        item, quat = items[numbers[index]], data.qpos[32:36]
        points = item.scale * item.object.vertices
        turned = np.zeros((len(points), 3))
        for row, point in enumerate(points):
            mujoco.mju_rotVecQuat(turned[row], point, quat)
        tops.append(data.qpos[31] + turned[:, 2].max())
        assert data.qpos[31] + turned[:, 2].min() == pytest.approx(0.6, abs=2e-4)
    lowest = env.qpos[:, 2] - env.reach_down_m
    assert (lowest - np.array(tops)).min() == pytest.approx(0.05, abs=1e-9)
    assert env.qpos[:, 2].min() >= 0.8 and env.qpos[:, 2].max() > 0.84
    before = env.qpos[:, 29:].copy()
    for _ in range(30):
        env.step(open_hand(env))
        assert np.abs(env.qvel[:, :3]).max() < 0.05
    assert np.abs(env.qpos[:, 29:32] - before[:, :3]).max() < 1e-3, "an object was not at rest"


def test_half_of_a_search_holds_the_ball_within_ten_seconds(found: list[Round]) -> None:
    assert found[-1].held.mean() >= 0.5
    assert found[-1].reached.mean() >= 0.5
    assert found[-1].processor_s <= SECONDS
    assert found[0].held.mean() < found[-1].held.mean()


def test_random_actions_do_not_lift_the_ball() -> None:
    env = GraspSphere(POPULATION)
    env.reset(np.arange(POPULATION))
    rng = np.random.default_rng(0)
    for _ in range(200):
        step = env.step({"agent": rng.uniform(-1, 1, (POPULATION, 24)).astype(np.float32)})
    assert step.truncated.all()
    assert step.info["success"].mean() < 0.01


def after_the_script(script: FloatArray, friction: float, steps: int) -> GraspSphere:
    env = GraspSphere(1, None, friction=friction)
    observations, _ = env.reset(np.zeros(1, dtype=np.int64))
    agent, active = ScriptAgent(script), np.ones(1, dtype=np.bool_)
    state = agent.begin(np.zeros(1, dtype=np.int64))
    for _ in range(EPISODE_STEPS + steps):
        action, state = agent.act(observations["agent"], state, active)
        observations = env.step({"agent": action}).observations
    return env


def test_a_grasp_still_holds_after_five_seconds(found: list[Round]) -> None:
    env = after_the_script(found[-1].mean, friction=1.0, steps=300)
    assert env.success.hold.all()
    assert env.qpos[0, 31] > 0.65 + 0.15


def test_without_friction_the_ball_stays_below(found: list[Round]) -> None:
    env = after_the_script(found[-1].mean, friction=0.0, steps=0)
    assert not env.success.any.any()
    assert env.qpos[0, 31] < 0.65 + 0.03


def test_a_ball_that_is_let_go_falls_and_the_first_success_stays(found: list[Round]) -> None:
    env = after_the_script(found[-1].mean, friction=1.0, steps=0)
    assert env.success.final.all()
    for _ in range(60):
        info = env.step(open_hand(env)).info
    assert info["success"].all()
    assert not info["success_final"].any() and not info["success_hold"].any()


def test_a_search_needs_episodes_that_are_long_enough() -> None:
    with pytest.raises(pkubench.errors.ConfigError, match="episodes of 155 steps, got 100"):
        next(search(GraspSphere(16, 100), 0))
    with pytest.raises(pkubench.errors.ConfigError, match="at least 16 environments, got 2"):
        next(search(GraspSphere(2), 0))
