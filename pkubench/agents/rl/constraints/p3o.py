"""P3O, penalised proximal policy optimisation (Zhang et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import LimitedCost


@register("p3o", formerly="exact-penalty")
@dataclass(frozen=True, slots=True, kw_only=True)
class P3O(LimitedCost):
    """An exact penalty in the loss: ``kappa max(0, mean[M r A_C] + excess)``."""

    kappa: float = 20.0
    """Weight of the penalty; large enough, the loss has the constrained problem's solution."""
    variant: Literal["published", "omnisafe"] = "published"
    """``omnisafe`` restores what its code does otherwise: costs are not clipped, and an episode's
    summed excess stands beside a mean over steps."""
    not_negative: ClassVar[tuple[str, ...]] = ("cost_limit", "kappa")
