"""The particle worlds against mpe2 1.1.1 step by step, and against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpe2 import simple_reference_v3, simple_speaker_listener_v4, simple_spread_v3

from pkubench.envs.particle.reference import SimpleReference
from pkubench.envs.particle.speaker_listener import SimpleSpeakerListener
from pkubench.envs.particle.spread import SimpleSpread
from pkubench.envs.particle.world import ParticleWorld

SEEDS, STEPS = 100, 25

PAIRS: dict[str, tuple[type[ParticleWorld], Any, dict[str, Any], dict[str, Any]]] = {
    "spread": (SimpleSpread, simple_spread_v3, {}, {}),
    "spread-2": (SimpleSpread, simple_spread_v3, {"num_agents": 2}, {"N": 2}),
    "spread-5": (
        SimpleSpread,
        simple_spread_v3,
        {"num_agents": 5, "local_ratio": 0.3},
        {"N": 5, "local_ratio": 0.3},
    ),
    "reference": (SimpleReference, simple_reference_v3, {}, {}),
    "reference-local": (
        SimpleReference,
        simple_reference_v3,
        {"local_ratio": 0.8},
        {"local_ratio": 0.8},
    ),
    "speaker-listener": (SimpleSpeakerListener, simple_speaker_listener_v4, {}, {}),
}
MAIN = ("spread", "reference", "speaker-listener")


def originals(module: Any, count: int, continuous: bool, settings: dict[str, Any]) -> list[Any]:
    """Return ``count`` original environments at the start of their episodes."""
    envs = []
    for seed in range(count):
        env = module.parallel_env(max_cycles=STEPS, continuous_actions=continuous, **settings)
        env.reset(seed=seed)
        envs.append(env)
    return envs


def copy_start(ours: ParticleWorld, theirs: list[Any]) -> None:
    """Put the initial states of the original environments into the lanes of ours."""
    for lane, env in enumerate(theirs):
        world = env.unwrapped.world
        for index, entity in enumerate(world.entities):
            ours.positions[index, :, lane] = entity.state.p_pos
        goals = [
            world.landmarks.index(agent._goal_b)
            for agent in world.agents
            if getattr(agent, "_goal_b", None) is not None
        ]
        if goals:
            ours.goals[:, lane] = goals  # type: ignore[attr-defined]
    ours.refresh()


@pytest.mark.parametrize("continuous", [False, True], ids=["discrete", "continuous"])
@pytest.mark.parametrize("name", PAIRS)
def test_every_step_equals_mpe2(name: str, continuous: bool) -> None:
    count = SEEDS if name in MAIN else 10
    cls, module, settings, original_settings = PAIRS[name]
    theirs = originals(module, count, continuous, original_settings)
    ours = cls(num_envs=count, continuous_actions=continuous, **settings)
    ours.reset(np.arange(count))
    copy_start(ours, theirs)
    assert ours.agents == tuple(theirs[0].possible_agents)
    for agent in ours.agents:
        assert ours.action_spaces[agent] == theirs[0].action_space(agent)
        assert ours.observation_spaces[agent] == theirs[0].observation_space(agent)
    assert ours.state_space == theirs[0].state_space
    rng = np.random.default_rng(7)
    for step in range(STEPS):
        state = np.stack([env.state() for env in theirs])
        assert ours.state().dtype == state.dtype
        np.testing.assert_allclose(ours.state(), state, rtol=0, atol=1e-6)
        # The continuous actions reach outside [0, 1], because both sides must clip them.
        actions = {
            agent: rng.uniform(-0.3, 1.3, (count, *space.shape)).astype(np.float32)
            if continuous
            else rng.integers(0, space.n, count)
            for agent, space in ours.action_spaces.items()
        }
        if step % 5 == 0:  # bring some of them together, so that contact forces matter
            move_towards_first(ours, actions, continuous)
        got = ours.step(actions)
        for lane, env in enumerate(theirs):
            wanted = env.step({agent: actions[agent][lane] for agent in ours.agents})
            for index, agent in enumerate(ours.agents):
                assert got.observations[agent].dtype == np.float32
                np.testing.assert_allclose(
                    got.observations[agent][lane], wanted[0][agent], rtol=0, atol=1e-6
                )
                assert abs(got.rewards[lane, index] - wanted[1][agent]) < 1e-9
                assert got.terminated[lane] == wanted[2][agent]
                assert got.truncated[lane] == wanted[3][agent]


def move_towards_first(world: ParticleWorld, actions: dict[str, Any], continuous: bool) -> None:
    """Overwrite the moves of the agents so that they run into agent 0."""
    for index, agent in enumerate(world.agents):
        if index == 0 or not world.bodies[index].moves or world.bodies[index].channels:
            continue
        right = world.positions[0, 0] > world.positions[index, 0]
        if continuous:
            actions[agent][:] = 0
            actions[agent][np.arange(len(right)), np.where(right, 2, 1)] = 1.0
        else:
            actions[agent][:] = np.where(right, 2, 1)
