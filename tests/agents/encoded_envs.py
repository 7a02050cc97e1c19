"""Tiny environments that need an encoder or a memory, with known optima."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams


class _Drawn(BatchEnv):
    """One agent with a question per step: reward 1 for the right one of two actions."""

    default_horizon = 8
    shape: tuple[int, ...] = (2,)
    dtype: Any = np.float32

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        high = 255 if self.dtype == np.uint8 else 1
        box = spaces.Box(0 if high == 255 else -1, high, self.shape, self.dtype)
        self.observation_spaces = {SOLE_AGENT: box}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(2)}
        self._random = RandomStreams(num_envs)
        self._answer = np.zeros(num_envs, np.int64)
        self._seen = np.zeros((num_envs, *self.shape), self.dtype)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        self._ask(ids)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        reward = (actions[SOLE_AGENT] == self._answer).astype(np.float64)[:, None]
        self._ask(self._all)
        return reward, np.zeros(self.num_envs, bool), {}

    def _ask(self, ids: IntArray) -> None:
        raise AssertionError

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._seen.copy()}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


class ImageEnv(_Drawn):
    """A bar of bright pixels somewhere in the image: is it upright (1) or lying (0)?"""

    shape, dtype = (8, 8, 1), np.uint8

    def _ask(self, ids: IntArray) -> None:
        draws = self._random.uniform(ids, 3)
        self._answer[ids] = draws[:, 0] < 0.5
        places = (draws[:, 1:] * (6, 8)).astype(int)
        for row, (long, across) in zip(ids, places, strict=True):
            image = np.zeros((8, 8), np.uint8)
            image[long : long + 3, across] = 255
            self._seen[row, ..., 0] = image if self._answer[row] else image.T


class PointEnv(_Drawn):
    """Up to six points in a line, padded; is there one on the right of 0.5?"""

    shape = (6, 2)

    def _ask(self, ids: IntArray) -> None:
        draws = self._random.uniform(ids, 8)
        counts = 1 + (draws[:, 0] * 6).astype(int)
        places = draws[:, 1:7] * 0.5
        self._answer[ids] = draws[:, 7] < 0.5
        places[np.arange(len(ids)), (draws[:, 7] * 1e6).astype(int) % counts] += (
            0.5 * self._answer[ids]
        )
        exists = np.arange(6) < counts[:, None]
        # padding says the opposite, for encoders that ignore whether a point exists
        wrong = np.where(self._answer[ids], 0.0, 1.0)[:, None]
        self._seen[ids] = np.stack([np.where(exists, places, wrong), exists], -1)


class SequenceEnv(_Drawn):
    """Four numbers in a row: is the last larger than the first?"""

    shape = (4, 1)

    def _ask(self, ids: IntArray) -> None:
        draws = self._random.uniform(ids, 4, -1.0, 1.0)
        self._seen[ids] = draws[..., None]
        self._answer[ids] = draws[:, -1] > draws[:, 0]


class RecallEnv(_Drawn):
    """A cue at the first step, noise after it: repeat the cue at the last of ``DELAY + 1`` steps.

    The return is 1 with memory and 1/2 without.
    """

    DELAY = 3
    default_horizon = DELAY + 1
    shape = (2,)

    def _ask(self, ids: IntArray) -> None:
        noise = self._random.uniform(ids, 1, -1.0, 1.0)[:, 0]
        begins = self.elapsed[ids] == 0
        self._seen[ids, 1] = noise
        self._seen[ids, 0] = 0.0
        if len(ids) and begins.all():
            self._answer[ids] = noise > 0
            self._seen[ids, 0] = np.sign(noise)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        is_last = self.elapsed == self.DELAY
        is_right = actions[SOLE_AGENT] == self._answer
        noise = self._random.uniform(self._all, 1, -1.0, 1.0)[:, 0]
        self._seen = np.stack([np.zeros(self.num_envs), noise], -1).astype(np.float32)
        return (is_last & is_right).astype(np.float64)[:, None], is_last, {}


class MortalTeam(BatchEnv):
    """Two agents; the second dies after the first step of an episode of six and earns nothing.

    Reward 1 for action 1, of each agent that is alive. Actions of a dead agent have no effect,
    and its observation is garbage.
    """

    default_horizon = 6

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, box)
        self.action_spaces = dict.fromkeys(self.agents, spaces.Discrete(2))
        self.garbage = 0.0

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        pass

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        alive = self._alive(self.elapsed)
        rewards = np.stack([actions[a] == 1 for a in self.agents], 1) * alive
        return rewards.astype(np.float64), np.zeros(self.num_envs, bool), self._alive_info(1)

    def _alive(self, elapsed: Array) -> BoolArray:
        return np.stack([np.ones(self.num_envs, bool), elapsed < 1], 1)

    def _alive_info(self, ahead: int) -> Info:
        return {"alive": self._alive(self.elapsed + ahead)}

    def _info(self) -> Info:
        return self._alive_info(0)

    def _observe(self) -> dict[str, Array]:
        seen = np.ones((self.num_envs, 2), np.float32)
        dead = np.where(self._alive(self.elapsed)[:, 1:], seen, np.float32(self.garbage))
        return {"a": seen, "b": dead}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


class NoisyTeam(BatchEnv):
    """Two agents observe noise; their actions determine reward and cost. Actions of either kind."""

    default_horizon = 5
    space: spaces.Space[Any] = spaces.Box(0.0, 1.0, (2,), np.float32)

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        box = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, box)
        self.action_spaces = dict.fromkeys(self.agents, self.space)
        self._random = RandomStreams(num_envs)
        self._draw = np.zeros((num_envs, 6))

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        self._draw[ids] = self._random.uniform(ids, 6, -1.0, 1.0)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        a, b = (np.reshape(actions[x], (self.num_envs, -1)).sum(1) for x in self.agents)
        rewards = np.stack([a * self._draw[:, 0], b - a], 1).astype(np.float64)
        self._draw = self._random.uniform(self._all, 6, -1.0, 1.0)
        return rewards, np.zeros(self.num_envs, bool), {"cost": np.abs(a + b).astype(np.float64)}

    def _observe(self) -> dict[str, Array]:
        seen = self._draw.astype(np.float32)
        return {"a": seen[:, :3], "b": seen[:, 3:]}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


class NoisyChoices(NoisyTeam):
    """The same with three actions."""

    space = spaces.Discrete(3)
