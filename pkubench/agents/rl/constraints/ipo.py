"""IPO, interior-point policy optimisation (Liu, Ding & Liu 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import LimitedCost
from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint


@register("ipo", formerly="interior-point")
@dataclass(frozen=True, slots=True, kw_only=True)
class IPO(LimitedCost):
    """The multiplier is the slope of a logarithmic barrier.

    ``lambda = barrier / (limit - EpCost)``, and ``penalty_max`` where that is larger or the limit
    is exceeded.
    """

    barrier: float = 0.01
    """Weight of the logarithmic barrier."""
    penalty_max: float = 1.0
    """Upper bound of the multiplier, used above the limit."""
    not_negative: ClassVar[tuple[str, ...]] = ("cost_limit", "barrier", "penalty_max")

    def start(self) -> IPOBarrier:
        """Return a multiplier of 0."""
        return IPOBarrier(self.cost_limit, 0.0, self)


@dataclass(slots=True)
class IPOBarrier(MultiplierConstraint):
    """The barrier's slope at the measured cost."""

    settings: IPO

    def _adapt(self, episode_cost: float, price: float | None) -> None:
        slope = self.settings.barrier / (self.limit - episode_cost + 1e-8)
        is_inside = 0.0 <= slope <= self.settings.penalty_max
        self.value = slope if is_inside else self.settings.penalty_max
