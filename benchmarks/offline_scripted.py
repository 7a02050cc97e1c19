"""Data sets of tasks whose optimum is known: its actions, and random ones in between."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pkubench.agents.contract import Array, BoolArray, IntArray
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.data.episodes import Episodes, joined
from pkubench.envs.core.seeding import RandomStreams

if TYPE_CHECKING:
    from benchmarks.offline_data import Maker

THIRD = 1 / 3
"""How far from random play to the expert a medium agent is."""
GRID = np.arange(0, 21) / 20
"""Shares of the optimum's actions."""


@dataclass(frozen=True)
class NoisyAgent:
    """Plays an agent's action with probability ``share``, and a uniform random one otherwise."""

    agent: Any
    random: Any
    share: float

    def begin(self, seeds: IntArray) -> Any:
        """Start the agent, the random actions, and the draws between them."""
        draws = RandomStreams.started(seeds + 1)
        return self.agent.begin(seeds), self.random.begin(seeds), draws

    def act(self, observation: Array, state: Any, active: BoolArray) -> tuple[Array, Any]:
        """Return actions (episodes,)."""
        inner, random, draws = state
        wanted, inner = self.agent.act(observation, inner, active)
        other, random = self.random.act(observation, random, active)
        is_own = draws.uniform(np.arange(len(active)), 1)[:, 0] < self.share
        return np.where(is_own, wanted, other), (inner, random, draws)


class Scripted:
    """Data of the known optimum, with random actions in between."""

    PROBED = 2000
    """Episodes to measure a share's mean return on."""

    def __init__(self, maker: Maker) -> None:
        self.maker, self.size = maker, maker.plan.size

    def _play(self, share: float, name: str, run: int, episodes: int) -> Episodes:
        task = self.maker.task
        agent = NoisyAgent(scripted_agent("optimum", task.id), self.maker.random_entrant(), share)
        return self.maker.play(agent, name, run, episodes=episodes)

    def random(self, name: str) -> tuple[Episodes, str]:
        """Return episodes of random play, and who acted."""
        return self._play(0.0, name, 0, self.size), "uniform random actions"

    def few(self, name: str) -> tuple[Episodes, str]:
        """Return the first tenth of the random set."""
        whole, policy = self.random(name)
        return whole.select(np.arange(self.size // 10)), policy

    def expert(self, name: str) -> tuple[Episodes, str]:
        """Return episodes of the optimum."""
        return self._play(1.0, name, 3, self.size), "scripted:optimum"

    @functools.cached_property
    def _share(self) -> float:
        """The medium agent's share of the optimum's actions."""
        base, best = self._mean(0.0), self._mean(1.0)
        wanted = base + THIRD * (best - base)
        return float(next(share for share in GRID if self._mean(share) >= wanted))

    def _mean(self, share: float) -> float:
        return float(self._play(share, "probe", 4, self.PROBED).returns.mean())

    def medium(self, name: str) -> tuple[Episodes, str]:
        """Return episodes of the agent that is a third as good."""
        share = self._share
        policy = f"scripted:optimum with probability {share:g}, else a random action"
        return self._play(share, name, 1, self.size), policy

    def mixed(self, name: str) -> tuple[Episodes, str]:
        """Return episodes of all agents from random play to the medium one."""
        shares = GRID[self._share >= GRID]
        each = -(-self.size // len(shares))
        parts = [self._play(s, name, 100 + k, each) for k, s in enumerate(shares)]
        policy = (
            f"scripted:optimum with probability 0, 0.05, ... {shares[-1]:g}, else a random "
            f"action; {each} episodes of each"
        )
        return joined(parts, name), policy
