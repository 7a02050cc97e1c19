"""Each agent's own reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pkubench.agents.components import register
from pkubench.agents.contract import FloatArray
from pkubench.agents.rl.credit.base import CreditFormula

if TYPE_CHECKING:
    from pkubench.agents.rl.rollout import Rollout


@register("own-reward")
@dataclass(frozen=True, slots=True, kw_only=True)
class OwnReward(CreditFormula):
    """Each agent is trained on its own reward, regardless of the other agents'."""

    ends_at_death: ClassVar[bool] = True

    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the rewards unchanged."""
        return rollout.rewards
