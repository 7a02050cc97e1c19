"""The interface of a credit step: which rewards each agent's advantages are computed from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pkubench.agents.components import Component
from pkubench.agents.contract import FloatArray

if TYPE_CHECKING:
    from pkubench.agents.rl.rollout import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit(Component, ABC, slot="credit", package="pkubench.agents.rl.credit"):
    """Assigns the rewards of a rollout to the agents."""

    is_shared: ClassVar[bool] = False
    """Whether all columns are equal, so that one critic of the state serves all agents."""
    ends_at_death: ClassVar[bool] = False
    """Whether an agent's rewards end with its death, so that no value follows it."""

    @abstractmethod
    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the reward of each agent, float64 (T, N, agents)."""
