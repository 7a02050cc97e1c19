"""A team that is paid at the end of an episode, and made-up episodes for credit models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from pkubench.agents.components import choices
from pkubench.agents.rl.credit.base import Credit, CreditContext
from pkubench.agents.rl.credit.episodes import Episodes
from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray

LEARNED = ("stas", "stas-ml", "arel", "tar2", "rudder")
NETWORKS: dict[str, dict[str, Any]] = {
    "stas": {"width": 8, "coalitions": 4},
    "stas-ml": {"width": 8, "coalitions": 4},
    "arel": {},
    "tar2": {"width": 8, "coalitions": 4},
    "rudder": {"units": 8},
}


class WithheldTeam(BatchEnv):
    """Agents are shown 0 or 1, and each earns 1 for acting so, at the end of 2 to 4 steps.

    ``dense_reward`` is what a step earned; that is each agent's difference reward, too.
    """

    default_horizon = 4
    size = 2

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        difference_rewards: bool = False,
    ) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.difference_rewards = difference_rewards
        self.agents = tuple("abc"[: self.size])
        box = spaces.Box(0.0, 9.0, (2,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, box)
        self.action_spaces = dict.fromkeys(self.agents, spaces.Discrete(2))
        self.seeds, self.at = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)
        self.held = np.zeros((num_envs, self.size))

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.seeds[ids], self.at[ids], self.held[ids] = seeds, 0, 0.0

    @property
    def shown(self) -> IntArray:
        """(N, agents)."""
        mixed = (self.seeds % 1009)[:, None] * 7 + self.at[:, None] * 5 + np.arange(self.size) * 3
        found: IntArray = (mixed // 2) % 2
        return found

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        earned = np.stack([actions[a] for a in self.agents], 1) == self.shown
        self.at += 1
        self.held += earned
        ended = self.at >= 2 + self.seeds % 3
        paid = np.where(ended[:, None], self.held, 0.0)
        return paid, ended, self._reports(earned.astype(np.float64))

    def _reports(self, earned: FloatArray) -> Info:
        more = {"difference_reward": earned.copy()} if self.difference_rewards else {}
        return {"dense_reward": earned, **more}

    def _info(self) -> Info:
        return self._reports(np.zeros((self.num_envs, self.size)))

    def _observe(self) -> dict[str, Array]:
        at = self.at.astype(np.float32)
        return {
            a: np.stack([at, self.shown[:, k].astype(np.float32)], 1)
            for k, a in enumerate(self.agents)
        }

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


class WithheldOne(WithheldTeam):
    """A single agent."""

    size = 1


class WithheldThree(WithheldTeam):
    """Three agents."""

    size = 3


def context_of(
    agents: int, numbers: int = 3, actions: int = 4, horizon: int | None = 6
) -> CreditContext:
    """Return what a credit model of a made-up team is made for."""
    names = tuple("abcdefgh"[:agents])
    return CreditContext(
        names,
        dict.fromkeys(names, (numbers,)),
        dict.fromkeys(names, spaces.Discrete(actions)),
        (agents * numbers,),
        "cpu",
        horizon,
    )


def made_up(lengths: list[int], agents: int = 2, seed: int = 0, actions: int = 4) -> Episodes:
    """Return random episodes of three numbers an observation."""
    rng = np.random.default_rng(seed)
    count, longest = len(lengths), max(lengths)
    seen = rng.standard_normal((count, agents, longest + 1, 3)).astype(np.float32)
    acted = rng.integers(actions, size=(count, agents, longest))
    for k, length in enumerate(lengths):
        seen[k, :, length + 1 :], acted[k, :, length:] = 0.0, 0
    returns = rng.standard_normal(count) * 5.0
    return Episodes(seen, acted, np.array(lengths), returns)


def started(name: str, agents: int = 2, actions: int = 4, seed: int = 0, **settings: Any) -> Any:
    """Return a credit model of a made-up team, by the component's name."""
    cls: Any = choices(Credit)[name]
    known = NETWORKS.get(name, {})
    component = cls(**{**known, **settings})
    return component.start(context_of(agents, actions=actions), torch.Generator().manual_seed(seed))
