"""Tiny environments and data sets with known answers, for tests of agents that learn from data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.components import with_settings
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.data.episodes import Episodes, EpisodesBuilder
from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.tasks.task import Task
from tests.agents.toy_envs import task_of


class DialEnv(BatchEnv):
    """Four steps that each pay the action, in [0, 2]: who is asked for R plays R / 4 throughout."""

    default_horizon = 4

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-10.0, 10.0, (2,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Box(0.0, 2.0, (1,), np.float32)}
        self._seen = np.zeros((num_envs, 2), np.float32)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._seen[ids] = np.stack([np.zeros(len(ids)), seeds % 7], 1)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        self._seen = self._seen + np.float32([1.0, 0.0])
        reward = actions[SOLE_AGENT].astype(np.float64)
        return reward, np.zeros(self.num_envs, bool), {}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._seen}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


class ChainEnv(BatchEnv):
    """Cells 0 to 4, start in 2; left and right; the ends pay 0.5 and 1 and end the episode."""

    default_horizon = 12

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (5,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(2)}
        self._cell = np.zeros(num_envs, np.int64)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._cell[ids] = 2

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        self._cell = np.clip(self._cell + 2 * actions[SOLE_AGENT] - 1, 0, 4)
        reward = np.select([self._cell == 0, self._cell == 4], [0.5, 1.0], 0.0)
        return reward[:, None], (self._cell % 4) == 0, {}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: np.eye(5, dtype=np.float32)[self._cell]}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


DIAL, CHAIN = task_of(DialEnv), task_of(ChainEnv)


def dial_data(episodes: int = 60, seed: int = 0) -> Episodes:
    """Episodes of one action each, evenly spread over its range."""
    builder = EpisodesBuilder(task=DIAL.id)
    rng = np.random.default_rng(seed)
    for k in range(episodes):
        action = 2.0 * k / (episodes - 1)
        seen = np.stack([np.arange(5), np.full(5, rng.integers(7))], 1).astype(np.float32)
        actions = np.full((4, 1), action, np.float32)
        builder.add(seen, actions, actions[:, 0].astype(np.float64), terminated=False)
    return builder.build()


def chain_data(episodes: int = 200, seed: int = 0) -> Episodes:
    """Episodes of uniformly random actions."""
    builder, env = EpisodesBuilder(task=CHAIN.id), ChainEnv(1)
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        observations, _ = env.reset(np.zeros(1, np.int64))
        seen, taken, earned = [observations[SOLE_AGENT][0].copy()], [], []
        while True:
            taken.append(rng.integers(2))
            step = env.step({SOLE_AGENT: np.array(taken[-1:])})
            earned.append(step.rewards[0, 0])
            seen.append(step.observations[SOLE_AGENT][0].copy())
            if step.terminated[0] or step.truncated[0]:
                break
        builder.add(np.stack(seen), taken, earned, bool(step.terminated[0]))
    return builder.build()


def context_of(
    agent: str, task: Task, data: Episodes, total: int = 100, seed: int = 1, **settings: Any
) -> Context:
    """What a learner of an agent is made from."""
    texts = {name: str(value) for name, value in settings.items()}
    config = with_settings(preset(agent).config(task), texts)
    return Context(
        agent=agent, task=task, settings=config, seed=seed, total=total, inputs={"data": data}
    )
