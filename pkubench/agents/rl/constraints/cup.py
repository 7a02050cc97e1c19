"""CUP, constrained update projection (Yang et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import Weights
from pkubench.agents.rl.constraints.lagrangian import LagrangeMultiplier, Lagrangian


@register("cup", formerly="corrected")
@dataclass(frozen=True, slots=True, kw_only=True)
class CUP(Lagrangian):
    """A second phase of every update lowers the cost; the first one ascends A_R alone."""

    def start(self) -> CUPMultiplier:
        """Return the multiplier at its initial value."""
        return CUPMultiplier(self.cost_limit, self.lambda_init, self)


@dataclass(slots=True)
class CUPMultiplier(LagrangeMultiplier):
    """The multiplier nu of the second phase."""

    def weights(self) -> Weights:
        """Return (1, 0)."""
        return Weights(1.0, 0.0)
