"""Recorded episodes are what was played, by one agent or a team, and while an agent trains."""

from __future__ import annotations

import numpy as np
import pytest

from pkubench.data.episodes import Episodes
from pkubench.data.recording import RecordingEnv
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError, DataError

TASK = "pkubench/RiskyCorridor-v0"


def recorded_walks(num_envs: int, seeds: list[int]) -> Episodes:
    """Walk on until the end in each of the episodes, by planks if its seed is odd."""
    env = RecordingEnv(make_batch(TASK, num_envs))
    for first in range(0, len(seeds), num_envs):
        now = np.array(seeds[first : first + num_envs])
        env.reset(now)
        over = np.zeros(num_envs, dtype=bool)
        while not over.all():
            step = env.step({"agent": 1 + now % 2}, ~over)
            over |= step.terminated | step.truncated
    return env.recorded(task=TASK, name="walks")


def test_an_episode_is_recorded_as_it_was_played():
    episodes = recorded_walks(1, [3])
    env = make_batch(TASK, 1)
    seen = [env.reset(np.array([3]))[0]["agent"][0]]
    rewards, costs = [], []
    for _ in range(episodes.num_steps):
        step = env.step({"agent": np.array([2])})
        seen.append(step.observations["agent"][0])
        rewards.append(step.rewards[0, 0])
        costs.append(step.info["cost"][0])
    assert step.terminated[0] and episodes.terminated.tolist() == [True]
    np.testing.assert_array_equal(episodes.observations, seen[:-1])
    np.testing.assert_array_equal(episodes.final_observations[0], seen[-1])
    assert episodes.rewards.tolist() == rewards and episodes.costs.tolist() == costs
    assert set(episodes.actions.tolist()) == {2}


def test_the_batch_does_not_matter():
    seeds = [11, 12, 13, 14]
    alone, together = recorded_walks(1, seeds), recorded_walks(4, seeds)
    order = {tuple(r): k for k, r in enumerate(_stories(alone))}
    assert sorted(_stories(alone)) == sorted(_stories(together))
    assert alone.select([order[tuple(s)] for s in _stories(together)]).sha256 == together.sha256


def _stories(episodes: Episodes) -> list[tuple[float, ...]]:
    starts = zip(episodes.starts[:-1], episodes.starts[1:], strict=True)
    return [(*episodes.costs[a:b].tolist(), float(b - a)) for a, b in starts]


def test_what_is_cut_off_is_left_out_and_the_time_limit_truncates():
    env = RecordingEnv(make_batch(TASK, 2, max_episode_steps=3))
    env.reset(np.array([1, 2]))
    env.step({"agent": np.zeros(2, np.int64)})
    env.reset(np.array([3]), np.array([1]))  # its first episode is cut off after a step
    for _ in range(2):
        env.step({"agent": np.zeros(2, np.int64)})
    assert (env.num_episodes, env.num_steps) == (1, 3)
    found = env.recorded(task=TASK, name="x")
    assert (found.lengths.tolist(), found.terminated.tolist()) == ([3], [False])
    with pytest.raises(DataError, match="no episodes"):
        env.recorded(task=TASK, name="x")
    with pytest.raises(ConfigError, match="without a time limit"):
        RecordingEnv(make_batch(TASK, 1, max_episode_steps=None))


def test_actions_are_recorded_as_they_are_executed():
    env = RecordingEnv(make_batch("pkubench/SpeedLimit-v0", 1))
    env.reset(np.array([1]))
    high = float(env.action_spaces["agent"].high.ravel()[0])
    for _ in range(20):
        env.step({"agent": np.full((1, *env.action_spaces["agent"].shape), 7.0, np.float32)})
    assert set(env.recorded(task="", name="x").actions.ravel().tolist()) == {high}


def test_a_team_has_an_axis_of_agents():
    env = RecordingEnv(make_batch("pkubench/SimpleSpread-v0", 2))
    env.reset(np.array([1, 2]))
    for k in range(25):
        actions = {agent: np.full(2, (k + i) % 5) for i, agent in enumerate(env.agents)}
        step = env.step(actions)
    found = env.recorded(task="pkubench/SimpleSpread-v0", name="x")
    assert found.agents == ("agent_0", "agent_1", "agent_2")
    assert found.actions.shape == found.rewards.shape == (50, 3)
    assert found.actions[:2].tolist() == [[0, 1, 2], [1, 2, 3]]
    np.testing.assert_array_equal(found.rewards[24], step.rewards[0])
    np.testing.assert_array_equal(
        found.final_observations[1],
        [step.observations[agent][1] for agent in env.agents],
    )
