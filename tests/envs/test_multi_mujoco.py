"""The Multi-Agent MuJoCo worlds against Gymnasium-Robotics' ``mamujoco_v1``, number by number.

Tolerances: observations, ends and what makes up the reward have equal bits. The team's reward is
the sum of equal shares, hence the original's up to rounding (1e-12).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from pkubench.envs.multi_mujoco.robot import MultiRobot
from pkubench.envs.registry import make_batch

ROBOTS = {
    "HalfCheetah": ("2x3", "6x1"),
    "Hopper": ("3x1",),
    "Walker2d": ("2x3", "6x1"),
    "Swimmer": ("2x1",),
    "Ant": ("4x2", "2x4", "2x4d"),
    "Humanoid": ("9p8", "17x1"),
}
PAIRS = [(robot, name) for robot, names in ROBOTS.items() for name in names]
every_world = pytest.mark.parametrize(("robot", "factorization"), PAIRS)
every_robot = pytest.mark.parametrize("robot", ROBOTS)

UNNAMED = {("Walker2d", "6x1"): "2x3", ("Humanoid", "17x1"): "9|8"}
"""Factorizations the original lacks -> the one whose joints are dealt out singly."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo leaves its log in the working folder when it warns."""
    monkeypatch.chdir(tmp_path)


def world(robot: str, factorization: str = "", num_envs: int = 1, **settings: Any) -> MultiRobot:
    name = f"Multi{robot}{factorization or ROBOTS[robot][0]}-v0"
    made = make_batch(name, num_envs, **settings)
    assert isinstance(made, MultiRobot)
    return made


def original(robot: str, factorization: str, agent_obsk: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gymnasium_robotics import mamujoco_v1
    settings: dict[str, Any] = {"agent_conf": factorization.replace("p", "|")}
    known = UNNAMED.get((robot, factorization))
    if known:
        parts, edges, roots = mamujoco_v1.get_parts_and_edges(robot, known)
        alone = [(joint,) for part in parts for joint in part]
        made = {"partition": alone, "edges": edges, "globals": roots}
        settings = {"agent_conf": known, "agent_factorization": made}
    return mamujoco_v1.parallel_env(robot, agent_obsk=agent_obsk, **settings)


def actions(ours: MultiRobot, steps: int, seed: int = 0) -> list[dict[str, Any]]:
    """Random actions, some of them out of range: one mapping a step, (num_envs, size) an agent."""
    random = np.random.default_rng(seed)
    tape = []
    for _ in range(steps):
        given = {}
        for agent, space in ours.action_spaces.items():
            assert isinstance(space, gymnasium.spaces.Box)
            unit = random.uniform(-1.2, 1.2, (ours.num_envs, *space.shape))
            given[agent] = (unit * space.high).astype(np.float32)
        tape.append(given)
    return tape


def copied(ours: MultiRobot, lane: int, theirs: Any) -> dict[str, Any]:
    """Put the original into the physical state of a lane; return what its agents see there."""
    theirs.reset(seed=0)
    theirs.single_agent_env.unwrapped.set_state(ours.qpos[lane].copy(), ours.qvel[lane].copy())
    seen: dict[str, Any] = theirs._get_obs()
    return seen


@pytest.mark.parametrize("agent_obsk", [0, 1, 2])
@every_world
def test_agents_see_and_earn_what_they_do_in_the_original(
    robot: str, factorization: str, agent_obsk: int
) -> None:
    steps, lanes = 40, 2
    ours = world(robot, factorization, lanes, agent_obsk=agent_obsk)
    theirs = original(robot, factorization, agent_obsk)
    assert ours.agents == tuple(theirs.possible_agents)
    for agent in ours.agents:
        assert ours.observation_spaces[agent] == theirs.observation_space(agent)
        assert ours.action_spaces[agent] == theirs.action_space(agent)
    tape = actions(ours, steps)
    for episode in (0, 1):  # the second one runs in lanes that have a past
        seen, _ = ours.reset(np.arange(lanes) + 10 * episode)
        whole = [ours.state()]
        begun = []
        for lane in range(lanes):
            first = copied(ours, lane, theirs)
            begun.append((ours.qpos[lane].copy(), ours.qvel[lane].copy()))
            for agent in ours.agents:
                assert np.array_equal(seen[agent][lane], first[agent])
            assert np.array_equal(whole[0][lane], theirs.state())
        record = []
        for given in tape:
            record.append(ours.step(given))
            whole.append(ours.state())
        ends = 0
        for lane, (qpos, qvel) in enumerate(begun):
            theirs.reset(seed=0)
            theirs.single_agent_env.unwrapped.set_state(qpos, qvel)
            for t, given in enumerate(tape):
                observations, rewards, terminated, _, infos = theirs.step(
                    {agent: values[lane] for agent, values in given.items()}
                )
                step = record[t]
                for agent in ours.agents:
                    assert np.array_equal(step.observations[agent][lane], observations[agent])
                    assert terminated[agent] == step.terminated[lane]
                assert np.array_equal(whole[t + 1][lane], theirs.state())
                reward, info = rewards["agent_0"], infos["agent_0"]
                assert step.rewards[lane].sum() == pytest.approx(reward, rel=1e-12, abs=1e-12)
                for name, values in step.info.items():
                    if name != "simulation_failed":
                        assert values[lane] == info[name], name
                ends += terminated["agent_0"]
        assert (ends > 0) == (robot in ("Hopper", "Walker2d", "Humanoid")) or robot == "Ant"


@every_world
def test_by_default_agents_see_the_state_and_their_number_on_one_scale(
    robot: str, factorization: str
) -> None:
    ours, raw = (world(robot, factorization, 3, agent_obsk=k) for k in (None, 0))
    seeds = np.array([4, 5, 6])
    seen, _ = ours.reset(seeds)
    raw.reset(seeds)
    for given in actions(ours, 6):
        states = raw.state()
        for lane, state in enumerate(states):
            for place, agent in enumerate(ours.agents):
                number = np.zeros(len(ours.agents))
                number[place] = 1.0
                vector = np.concatenate([state, number])
                expected = (vector - np.mean(vector)) / np.std(vector)
                np.testing.assert_allclose(seen[agent][lane], expected, rtol=0, atol=1e-12)
            expected = (state - np.mean(state)) / np.std(state)
            np.testing.assert_allclose(ours.state()[lane], expected, rtol=0, atol=1e-12)
        seen = ours.step(given).observations
        raw.step(given)
