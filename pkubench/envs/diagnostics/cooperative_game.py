"""What the diagnostic games share: one decision each, all at once, one payoff for the team."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray

_STAGES: Final = 2
"""The game is still to be played, or it is over."""


class CooperativeGame(BatchEnv):
    """Every agent chooses once, without seeing the others' choices; then the game is over.

    One step makes it a bandit whatever an agent's discount is: nothing comes after the payoff.
    What an agent sees is the stage, one-hot: (1, 0) before the choice and (0, 1) after it. It is
    the same for all agents, so agents of one shared policy cannot tell themselves apart. Nothing
    is left to chance: seeds change nothing.

    The team return (the sum of rewards over agents) is the payoff, so each agent's reward is the
    payoff divided by the number of agents.
    """

    def __init__(
        self,
        num_envs: int,
        max_episode_steps: int | None,
        action_spaces: list[spaces.Space[Any]],
    ) -> None:
        """Make ``num_envs`` environments for one agent an action space."""
        super().__init__(num_envs, max_episode_steps)
        self.agents = tuple(f"agent_{i}" for i in range(len(action_spaces)))
        seen = spaces.Box(0.0, 1.0, (_STAGES,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, seen)
        self.action_spaces = dict(zip(self.agents, action_spaces, strict=True))
        self.state_space = seen
        self._is_over: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        first = action_spaces[0]
        self._choices: Array = np.zeros(
            (num_envs, len(self.agents), *(first.shape or ())), dtype=first.dtype
        )

    @property
    @abstractmethod
    def optimal_actions(self) -> dict[str, Array]:
        """A best joint action: agent id -> one action of its space."""

    @abstractmethod
    def _payoffs(self, choices: Array) -> FloatArray:
        """Return the team's payoff (environments,) of joint actions (environments, agents, ...)."""

    def state(self) -> npt.NDArray[np.float32]:
        """Return the stage, one-hot, (num_envs, 2)."""
        stages: npt.NDArray[np.float32] = np.stack([~self._is_over, self._is_over], axis=1).astype(
            np.float32
        )
        return stages

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._is_over[ids] = False
        self._choices[ids] = 0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        indices = self._all if active is None else np.flatnonzero(active)
        for index, agent in enumerate(self.agents):
            self._choices[indices, index] = actions[agent][indices]
        self._is_over[indices] = True
        payoffs = np.zeros(self.num_envs)
        payoffs[indices] = self._payoffs(self._choices[indices])
        shares = np.repeat(payoffs[:, None] / self.num_agents, self.num_agents, axis=1)
        return shares, np.ones(self.num_envs, dtype=np.bool_), {}

    def _observe(self) -> dict[str, Array]:
        return {agent: self.state() for agent in self.agents}
