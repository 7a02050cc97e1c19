"""Tiny environments with known optima, for tests of learners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.components import changed, settings_of, slots_of
from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.registry import EnvSpec, environments, register_environment
from pkubench.envs.core.seeding import IntArray
from pkubench.tasks.task import Metric, Protocol, Task

RETURN = Metric(name="return", higher_is_better=True, unit="reward", describe="sum of rewards")
COST = Metric(name="cost", higher_is_better=False, unit="cost", describe="sum of costs")


class SharingEnv(BatchEnv):
    """Two agents, reward 1 when their actions differ: a shared policy gets at most one half."""

    default_horizon = 4

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        box = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.observation_spaces = {a: box for a in self.agents}
        self.action_spaces = {a: spaces.Discrete(2) for a in self.agents}

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        pass

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        reward = (actions["a"] != actions["b"]).astype(np.float64) / 2
        return np.stack([reward, reward], 1), np.zeros(self.num_envs, bool), {}

    def _observe(self) -> dict[str, Array]:
        return {a: np.ones((self.num_envs, 2), np.float32) for a in self.agents}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


MEAN_LENGTH = (1 - 0.9**20) / 0.1


class SpeedEnv(BatchEnv):
    """Reward 1 - (1 - a)^2, cost a, for a in [0, 1]: a strictly concave constrained problem.

    Ends early with probability 0.1 per step, so copies are out of phase, and an episode has
    ``MEAN_LENGTH`` steps on average. Unconstrained, a = 1; with an episode's cost at most
    MEAN_LENGTH / 2, a = 1/2 and the best feasible return is 0.75 MEAN_LENGTH.
    """

    default_horizon = 20

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-10, 10, (2,), np.float64)}
        self.action_spaces = {SOLE_AGENT: spaces.Box(-1.0, 1.0, (1,), np.float32)}
        from pkubench.envs.core.seeding import RandomStreams

        self._random = RandomStreams(num_envs)
        self._draw = np.zeros((num_envs, 2))

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        self._draw[ids] = self._random.uniform(ids, 2, -1.0, 1.0)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        action = np.clip(actions[SOLE_AGENT].astype(np.float64), 0.0, 1.0)
        self._draw = self._random.uniform(self._all, 2, -1.0, 1.0)
        reward = 1.0 - (1.0 - action) ** 2
        return reward, self._draw[:, 0] > 0.8, {"cost": action[:, 0]}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._draw.copy()}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


class RowEnv(SpeedEnv):
    """The same, observed as a row of eight numbers, of which the last may be points."""

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-10, 10, (8,), np.float64)}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: np.tile(self._draw, (1, 4))}


class BudgetEnv(BatchEnv):
    """Two agents share a budget: reward 1 - (1 - a)^2 + (1 - (1 - b)^2) / 2, cost (a + b) / 2.

    Episodes of ``default_horizon`` steps. With a cost of at most 1/2 per step, a + b = 1, and the
    marginal rewards 2 (1 - a) and 1 - b are equal where a = 2/3, b = 1/3: return 7/6 per step.
    Equal shares earn 9/8. Unconstrained, a = b = 1.
    """

    default_horizon = 10

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        self.observation_spaces = {a: spaces.Box(0.0, 1.0, (2,), np.float32) for a in self.agents}
        self.action_spaces = {a: spaces.Box(0.0, 1.0, (1,), np.float32) for a in self.agents}

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        pass

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        a, b = (np.clip(actions[x][:, 0].astype(np.float64), 0.0, 1.0) for x in self.agents)
        reward = 1.0 - (1.0 - a) ** 2 + (1.0 - (1.0 - b) ** 2) / 2.0
        shares = np.stack([reward, reward], 1) / 2.0
        return shares, np.zeros(self.num_envs, bool), {"cost": (a + b) / 2.0}

    def _observe(self) -> dict[str, Array]:
        return {a: np.ones((self.num_envs, 2), np.float32) for a in self.agents}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


def task_of(
    env: type[BatchEnv], cost_limit: float | None = None, cost: bool = False, **more: Any
) -> Task:
    """Register a test environment once and return a task on it, which may record costs."""
    name = f"pkubench/{env.__name__}-v0"
    if name not in environments():
        register_environment(
            EnvSpec(
                id=name,
                entry_point=f"{env.__module__}:{env.__qualname__}",
                horizon=env.default_horizon,
            )
        )
    protocol = Protocol(
        episodes=4,
        horizon=env.default_horizon,
        budget={"environment_steps": 1000},
        quick_episodes=2,
    )
    return Task(
        id=name,
        suite="test",
        title="a test environment",
        metrics=(RETURN, COST) if cost else (RETURN,),
        protocol=protocol,
        cost_limit=cost_limit,
        **more,
    )


def applicable(config: Any, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return those of some settings, as text, that ``config`` and its components have."""
    slots = {name: value for name, value in settings.items() if name in slots_of(type(config))}
    names = {s.name.rpartition(".")[2] for s in settings_of(changed(config, slots))}
    return {k: str(v) for k, v in settings.items() if k.rpartition(".")[2] in names}
