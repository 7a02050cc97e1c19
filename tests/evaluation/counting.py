"""A tiny environment and its task, for tests of the harness: guess the number that is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.registry import EnvSpec, environments, register_environment
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.tasks.task import Metric, Protocol, Reference, Task

CHOICES = 3


class CountingEnv(BatchEnv):
    """Shows (step, number); reward 1 for repeating the number, cost 1 for choosing 2.

    Ends with chance 0.1 per step, so that episodes end at different steps. Observations are views
    of the environment's own memory: careless on purpose, since the harness must not pass that on.
    """

    default_horizon = 12

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        players: int = 1,
        continuous: bool = False,
        masked: bool = False,
        broken: bool = False,
    ) -> None:
        self.broken = broken
        super().__init__(num_envs, max_episode_steps)
        self.agents = (SOLE_AGENT,) if players == 1 else tuple(f"p{i}" for i in range(players))
        box = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        act: spaces.Space[Any] = spaces.Discrete(CHOICES)
        if continuous:
            act = spaces.Box(-1.0, 3.0, (1,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, box)
        self.action_spaces = dict.fromkeys(self.agents, act)
        self.masked = masked
        self.random = RandomStreams(num_envs)
        self.board = np.zeros((players, num_envs, 2))
        self.total = np.zeros(num_envs)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.random.seed(ids, seeds)
        self.total[ids] = 0
        self.board[:, ids, 0] = 0
        self._draw(ids)

    def _draw(self, ids: IntArray) -> None:
        self.board[:, ids, 1] = self.random.integers(ids, len(self.agents), CHOICES).T

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        if self.broken:
            raise RuntimeError("broken environment")
        chosen = np.stack([actions[a].reshape(self.num_envs) for a in self.agents])
        rewards = (np.abs(chosen - self.board[:, :, 1]) < 0.5).astype(np.float64).T * 0.1
        self.total += rewards.sum(axis=1)
        ended = self.random.uniform(self._all, 1)[:, 0] < 0.1
        self.board[:, :, 0] += 1
        self._draw(self._all)
        info = {
            "cost": (chosen == 2).any(axis=0).astype(np.float64),
            "success": self.total > 0.45,
            "total": self.total.copy(),
            **self._info(),
        }
        return rewards, ended, info

    def _info(self) -> Info:
        if not self.masked:
            return {}
        mask = np.ones((self.num_envs, CHOICES), np.int8)
        mask[:, 0] = 0
        return {"action_mask": mask}

    def _observe(self) -> dict[str, Array]:
        return {agent: self.board[i] for i, agent in enumerate(self.agents)}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


RETURN = Metric(name="return", higher_is_better=True, unit="reward", describe="sum of rewards")
COST = Metric(name="cost", higher_is_better=False, unit="steps", describe="choices of 2")
SUCCESS = Metric(
    name="success", higher_is_better=True, unit="share", describe="many hits", interval="wilson"
)
TOTAL = Metric(
    name="total", higher_is_better=True, unit="reward", describe="the environment's own sum"
)


def counting_task(
    *metrics: Metric, cost_limit: float | None = None, episodes: int = 40, **settings: Any
) -> Task:
    """A task on the counting environment; every combination of settings gets an id of its own."""
    name = "-".join(f"{key}{value}" for key, value in settings.items()) or "plain"
    spec = EnvSpec(
        id=f"pkubench/Counting{name}-v0",
        entry_point="tests.evaluation.counting:CountingEnv",
        horizon=12,
        kwargs=settings,
    )
    if spec.id not in environments():
        register_environment(spec)
    return Task(
        id=spec.id,
        suite="test",
        title="counting",
        metrics=metrics or (RETURN,),
        protocol=Protocol(
            episodes=episodes, horizon=12, budget={"environment_steps": 1}, quick_episodes=4
        ),
        cost_limit=cost_limit,
        references={
            "random": Reference(agent="random", score=0.0, n=1, command=""),
            "reference": Reference(agent="best", score=2.0, n=1, command=""),
        },
    )
