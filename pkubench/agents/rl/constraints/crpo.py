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

    tolerance: float = 2.0
    """Tolerance: excess of the cost up to which the reward is ascended."""
    not_negative: ClassVar[tuple[str, ...]] = ("cost_limit", "tolerance")

    def start(self) -> CRPOSwitch:
        """Return the switch, set to the reward."""
        return CRPOSwitch(self.cost_limit, self.tolerance)


@dataclass(slots=True)
class CRPOSwitch(CostConstraint):
    """Chooses reward or cost by the measured cost."""

    tolerance: float

    def weights(self) -> Weights:
        """Return (1, 0) or (0, -1)."""
        return Weights(1.0, 0.0) if self.excess <= self.tolerance else Weights(0.0, -1.0)
