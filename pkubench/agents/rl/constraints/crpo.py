"""CRPO, constraint-rectified policy optimisation (Xu, Liang & Lan 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import CostConstraint, LimitedCost, Weights


@register("crpo", formerly="rectified")
@dataclass(frozen=True, slots=True, kw_only=True)
class CRPO(LimitedCost):
    """Ascend the reward while the cost is within tolerance, else descend the cost."""

    relative_tolerance: float = 0.08
    """Excess of the cost up to which the reward is ascended, as a share of the limit; OmniSafe's 2
    at its limit of 25."""
    not_negative: ClassVar[tuple[str, ...]] = ("cost_limit", "relative_tolerance")

    def start(self) -> CRPOSwitch:
        """Return the switch, set to the reward."""
        return CRPOSwitch(self.cost_limit, self.relative_tolerance * self.cost_limit)


@dataclass(slots=True)
class CRPOSwitch(CostConstraint):
    """Chooses reward or cost by the measured cost."""

    tolerance: float
    """Excess up to which the reward is ascended, in units of cost."""

    def weights(self) -> Weights:
        """Return (1, 0) or (0, -1)."""
        return Weights(1.0, 0.0) if self.excess <= self.tolerance else Weights(0.0, -1.0)
