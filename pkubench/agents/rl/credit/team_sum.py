"""The team's reward for every agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.contract import FloatArray
from pkubench.agents.rl.credit.base import CreditFormula

if TYPE_CHECKING:
    from pkubench.agents.rl.rollout import Rollout


@register("team-sum")
@dataclass(frozen=True, slots=True, kw_only=True)
class TeamSum(CreditFormula):
    """The sum over agents in every column, as in HARL."""

    is_shared: ClassVar[bool] = True

    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the sum, repeated."""
        total = rollout.rewards.sum(-1, keepdims=True)
        return np.broadcast_to(total, rollout.rewards.shape)
