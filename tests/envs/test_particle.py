"""The particle environments against mpe2 1.1.1 step by step, and against hand-worked numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from mpe2 import simple_reference_v3, simple_speaker_listener_v4, simple_spread_v3

from pkubench.agents.families.scripted.policies import AssignmentAgent
from pkubench.envs.core.seeding import RandomStreams
from pkubench.envs.particle.base import (
    CONTACT_FORCE,
    CONTACT_MARGIN,
    CONTACT_RANGE,
    DT,
    ParticleEnv,
)
from pkubench.envs.particle.reference import SimpleReference
from pkubench.envs.particle.speaker_listener import SimpleSpeakerListener
from pkubench.envs.particle.spread import SimpleSpread
from pkubench.errors import ConfigError

SEEDS, STEPS = 40, 25

PAIRS: dict[str, tuple[type[ParticleEnv], Any, dict[str, Any], dict[str, Any]]] = {
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


def copy_start(ours: ParticleEnv, theirs: list[Any]) -> None:
    """Put the initial states of the original environments into the environments of ours."""
    for env_index, env in enumerate(theirs):
        world = env.unwrapped.world
        for index, entity in enumerate(world.entities):
            ours.positions[index, :, env_index] = entity.state.p_pos
        goals = [
            world.landmarks.index(agent._goal_b)
            for agent in world.agents
            if getattr(agent, "_goal_b", None) is not None
        ]
        if goals:
            ours.goals[:, env_index] = goals  # type: ignore[attr-defined]
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
        if step % 6 == 0:
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
        wanted = [
            env.step({agent: actions[agent][env_index] for agent in ours.agents})
            for env_index, env in enumerate(theirs)
        ]
        for index, agent in enumerate(ours.agents):
            observations, rewards, terminated, truncated = (
                np.stack([parts[k][agent] for parts in wanted]) for k in range(4)
            )
            assert got.observations[agent].dtype == observations.dtype == np.float32
            np.testing.assert_allclose(got.observations[agent], observations, rtol=0, atol=1e-6)
            np.testing.assert_allclose(got.rewards[:, index], rewards, rtol=0, atol=1e-9)
            np.testing.assert_array_equal(got.terminated, terminated)
            np.testing.assert_array_equal(got.truncated, truncated)


def move_towards_first(batch: ParticleEnv, actions: dict[str, Any], continuous: bool) -> None:
    """Overwrite the moves of the agents so that they run into agent 0."""
    for index, agent in enumerate(batch.agents):
        if index == 0 or not batch.bodies[index].moves or batch.bodies[index].channels:
            continue
        right = batch.positions[0, 0] > batch.positions[index, 0]
        if continuous:
            actions[agent][:] = 0
            actions[agent][np.arange(len(right)), np.where(right, 2, 1)] = 1.0
        else:
            actions[agent][:] = np.where(right, 2, 1)


class Playing:
    """Mean team return (the sum over agents and steps) of a policy over many episodes."""

    EPISODES = 20_000

    def __init__(self, batch: ParticleEnv, choose: Callable[..., dict[str, Any]]) -> None:
        seeds = np.arange(batch.num_envs)
        observations, _ = batch.reset(seeds)
        returns = np.zeros(batch.num_envs)
        for _ in range(STEPS):
            step = batch.step(choose(batch, observations))
            observations = step.observations
            returns += step.rewards.sum(axis=1)
        assert step.truncated.all() and not step.terminated.any()
        self.mean = returns.mean()
        self.standard_error = returns.std(ddof=1) / np.sqrt(batch.num_envs)


def random_actions(batch: ParticleEnv, observations: dict[str, Any]) -> dict[str, Any]:
    ids = np.arange(batch.num_envs)
    draws = {}
    for agent, space in batch.action_spaces.items():
        if isinstance(space, spaces.Discrete):
            draws[agent] = DICE.integers(ids, 1, int(space.n))[:, 0]
        else:
            draws[agent] = DICE.uniform(ids, space.shape[0]).astype(np.float32)
    return draws


DICE = RandomStreams(Playing.EPISODES)
DICE.seed(np.arange(Playing.EPISODES), np.arange(Playing.EPISODES) + 10**6)


def no_actions(batch: ParticleEnv, observations: dict[str, Any]) -> dict[str, Any]:
    return {
        agent: np.zeros((batch.num_envs, *space.shape), dtype=space.dtype)
        for agent, space in batch.action_spaces.items()
    }


def assigned_actions(batch: ParticleEnv, observations: dict[str, Any]) -> dict[str, Any]:
    active = np.ones(batch.num_envs, dtype=np.bool_)
    return {
        agent: AssignmentAgent(index, batch.continuous_actions).act(
            observations[agent], None, active
        )[0]
        for index, agent in enumerate(batch.agents)
    }


@pytest.mark.parametrize("rules", ["v3", "v2"])
@pytest.mark.parametrize(
    ("policy", "continuous", "published", "their_error"),
    [
        (random_actions, False, {"v3": -79.4, "v2": -115.5}, 0.17),
        (random_actions, True, {"v3": -75.7, "v2": -112.1}, 0.17),
        (no_actions, False, {"v3": -72.4, "v2": -108.8}, 0.17),
        (assigned_actions, False, {"v3": -22.3, "v2": -57.8}, 0.07),
        (assigned_actions, True, {"v3": -19.8, "v2": -56.1}, 0.06),
    ],
    ids=["random", "random-continuous", "no-op", "assignment", "assignment-continuous"],
)
def test_known_policies_of_simple_spread_get_their_known_returns(
    policy: Callable[..., dict[str, Any]],
    continuous: bool,
    published: dict[str, float],
    their_error: float,
    rules: Any,
) -> None:
    batch = SimpleSpread(Playing.EPISODES, continuous_actions=continuous, rules=rules)
    played = Playing(batch, policy)
    # Both means are estimates, ours over as many episodes as theirs; theirs are rounded to 0.1.
    tolerance = 3 * np.hypot(played.standard_error, their_error) + 0.05
    assert played.mean == pytest.approx(published[rules], abs=tolerance)


@pytest.mark.parametrize(
    ("cls", "continuous", "published", "their_error"),
    [
        (SimpleReference, True, -55.3, 1.3),
        (SimpleReference, False, -59.2, 1.4),
        (SimpleSpeakerListener, True, -78.0, 4.6),
        (SimpleSpeakerListener, False, -85.0, 4.9),
    ],
)
def test_random_play_with_messages_gets_its_known_return(
    cls: type[ParticleEnv], continuous: bool, published: float, their_error: float
) -> None:
    played = Playing(cls(Playing.EPISODES, continuous_actions=continuous), random_actions)
    assert played.mean == pytest.approx(published, abs=3 * their_error)


def placed(batch: ParticleEnv, places: list[tuple[float, float]]) -> ParticleEnv:
    """Put agents and landmarks of the only environment at rest at ``places``."""
    batch.reset(np.zeros(1, dtype=np.int64))
    batch.positions[:, :, 0] = places
    batch.refresh()
    return batch


def test_spread_pays_for_near_landmarks_and_charges_for_touching() -> None:
    # Agents 0 and 1 overlap (0.25 apart, they touch below 0.3), agent 2 stands alone.
    places = [(0.0, 0.0), (0.25, 0.0), (-0.5, -0.5), (0.0, 0.4), (0.25, -0.3), (-0.5, 0.5)]
    batch = placed(SimpleSpread(1, num_agents=3), places)
    # Nearest agents: 0 at 0.4, 1 at 0.3; the last landmark is 1 from agent 2, but agent 0 is at
    # sqrt(0.5) = 0.7071068. The reward looks at the positions after the step; nothing moves yet.
    step = batch.step({agent: np.array([0]) for agent in batch.agents})
    far = 0.4 + 0.3 + 0.5**0.5
    wanted = [-0.5 * far - 0.5, -0.5 * far - 0.5, -0.5 * far]
    np.testing.assert_allclose(step.rewards[0], wanted, rtol=0, atol=1e-12)
    old = placed(SimpleSpread(1, num_agents=3, rules="v2"), [(9.0, 9.0), *places[1:]])
    reward = old.step({agent: np.array([0]) for agent in old.agents}).rewards[0]
    # v2: the self-collision costs each agent 0.5 more, and no agents touch here.
    lost = np.hypot(0.25, 0.4) + 0.3 + np.hypot(0.75, 0.5)
    np.testing.assert_allclose(reward, [-0.5 * lost - 0.5] * 3, rtol=0, atol=1e-12)


def test_a_push_moves_an_agent_one_step_later_under_v3_and_at_once_under_v2() -> None:
    right = {"agent_0": np.array([2])}
    for rules, places in (("v3", [0.0, 0.05, 0.1375]), ("v2", [0.05, 0.1375, 0.253125])):
        batch = placed(SimpleSpread(1, num_agents=1, rules=rules), [(0.0, 0.0), (1.0, 0.0)])
        for place in places:
            batch.step(right)
            assert batch.positions[0, 0, 0] == pytest.approx(place, abs=1e-15)
        # Velocities 0.5, 0.5 × 0.75 + 0.5 = 0.875, 1.15625 under either rule.
        assert batch.velocities[0, 0, 0] == pytest.approx(1.15625, abs=1e-15)


def test_bodies_push_each_other_apart_with_the_soft_contact_force() -> None:
    batch = placed(SimpleSpread(1, num_agents=2), [(0.0, 0.0), (0.0, 0.3), (1, 1), (1, -1)])
    batch.step({agent: np.array([0]) for agent in batch.agents})
    # At exactly the touching distance the overlap is 1e-3 × log 2, the force 100 × that, dt 0.1.
    wanted = 100 * 1e-3 * np.log(2) * 0.1
    np.testing.assert_allclose(
        batch.velocities[:, :, 0], [[0, -wanted], [0, wanted]], rtol=1e-12, atol=1e-15
    )


def test_the_contact_force_left_out_is_too_small_to_be_seen() -> None:
    gap = CONTACT_RANGE
    force = CONTACT_FORCE * CONTACT_MARGIN * np.logaddexp(0.0, -gap / CONTACT_MARGIN)
    assert 0 < force * DT < 2e-50
    assert np.float32(force * DT) == 0.0


def test_two_bodies_at_one_point_do_not_break_the_environment() -> None:
    batch = placed(SimpleSpread(1, num_agents=2), [(0, 0), (0, 0), (1, 1), (-1, 0)])
    step = batch.step({"agent_0": np.array([0]), "agent_1": np.array([2])})
    assert np.isfinite(step.observations["agent_0"]).all()
    assert np.isfinite(batch.step({a: np.array([0]) for a in batch.agents}).rewards).all()


def test_reference_pays_an_agent_for_where_its_partner_stands() -> None:
    batch = SimpleReference(1, local_ratio=0.8)
    placed(batch, [(0.0, 0.0), (1.0, 0.0), (0.0, 0.5), (1.0, -0.25), (-1.0, 0.0)])
    batch.goals[:, 0] = [1, 0]  # agent 1 has to reach landmark 1, agent 0 landmark 0
    batch.refresh()
    # A move of 0 with word 3, and a move of 2 (right) with word 7.
    step = batch.step({"agent_0": np.array([0 + 5 * 3]), "agent_1": np.array([2 + 5 * 7])})
    own = np.array([-0.25, -0.5])  # agent 1 is 0.25 from landmark 1, agent 0 is 0.5 from its own
    wanted = 0.2 * own.mean() + 0.8 * own
    np.testing.assert_allclose(step.rewards[0], wanted, rtol=0, atol=1e-12)
    first, second = step.observations["agent_0"][0], step.observations["agent_1"][0]
    np.testing.assert_array_equal(first[8:11], [0.25, 0.75, 0.25])
    np.testing.assert_array_equal(second[8:11], [0.75, 0.25, 0.25])
    assert first[11:].argmax() == 7 and first[11:].sum() == 1
    assert second[11:].argmax() == 3 and second[11:].sum() == 1
    assert second[0] == 0.5 and first[0] == 0.0


def test_speaker_and_listener_share_minus_the_squared_distance() -> None:
    batch = SimpleSpeakerListener(1)
    placed(batch, [(0.7, 0.7), (0.0, 0.0), (0.5, 0.0), (0.0, -1.0), (0.3, 0.4)])
    batch.goals[0, 0] = 1
    step = batch.step({"speaker_0": np.array([2]), "listener_0": np.array([3])})
    np.testing.assert_allclose(step.rewards[0], [-1.0, -1.0], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(step.observations["speaker_0"][0], np.float32([0.15, 0.65, 0.15]))
    np.testing.assert_array_equal(step.observations["listener_0"][0, 8:], [0, 0, 1])
    step = batch.step({"speaker_0": np.array([0]), "listener_0": np.array([0])})
    # Pushed down once: velocity −0.5, so 0.05 further down, and 0.95 from the goal.
    np.testing.assert_allclose(step.rewards[0], [-(0.95**2)] * 2, rtol=0, atol=1e-12)
    assert batch.positions[0, 0, 0] == 0.7  # the speaker stays where it is


def test_messages_are_silent_at_the_start_of_an_episode() -> None:
    batch = SimpleReference(2)
    batch.reset(np.arange(2))
    batch.step({agent: np.array([49, 49]) for agent in batch.agents})
    observations, _ = batch.reset(np.array([5]), np.array([1]))
    assert observations["agent_0"][0, 11:].sum() == 1
    assert observations["agent_0"][1, 11:].sum() == 0


def test_starts_are_uniform_and_goals_are_even() -> None:
    batch = SimpleReference(20_000)
    batch.reset(np.arange(20_000))
    places = batch.positions.reshape(-1)
    assert places.min() < -0.999 and places.max() > 0.999 and np.abs(places).max() <= 1
    # Standard error of the mean of 200,000 uniform numbers: sqrt(1/3 / 200,000) = 0.0013.
    assert abs(places.mean()) < 5 * 0.0013
    assert abs((places**2).mean() - 1 / 3) < 5 * 0.0007
    shares = np.bincount(batch.goals.reshape(-1), minlength=3) / 40_000
    np.testing.assert_allclose(shares, 1 / 3, atol=5 * np.sqrt(2 / 9 / 40_000))


def test_a_large_team_adds_up_in_the_same_order_at_every_index() -> None:
    num_envs, seeds = 16, np.arange(16)
    rng = np.random.default_rng(0)
    many = SimpleSpread(num_envs, num_agents=17)
    many.reset(seeds)
    alone = SimpleSpread(1, num_agents=17)
    alone.reset(seeds[5:6])
    for _ in range(STEPS):
        actions = {agent: rng.integers(0, 5, num_envs) for agent in many.agents}
        got = many.step(actions)
        wanted = alone.step({agent: action[5:6] for agent, action in actions.items()})
        assert got.rewards[5].tobytes() == wanted.rewards[0].tobytes()
        assert got.observations["agent_9"][5].tobytes() == wanted.observations["agent_9"].tobytes()


@pytest.mark.parametrize(
    "settings",
    [{"num_agents": 0}, {"local_ratio": 1.5}, {"rules": "v1"}, {"num_envs": 0}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        SimpleSpread(**settings)
