"""A multiplier set by a PID controller (Stooke, Achiam & Abbeel 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import LimitedCost
from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint, PricedCost
from pkubench.agents.settings import check_domains


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller(LimitedCost):
    """A multiplier set by a PID controller of the cost's excess.

    ``lambda = max(0, kp P + I + kd D)`` with P a moving average of the excess, I its sum times
    ``ki``, never below 0 and starting at lambda's initial value, and D the rise of a moving average
    of the cost over ``delay`` updates, never below 0 (OmniSafe ``PIDLagrangian`` with
    ``sum_norm``). In the reward's unit, costs are in units of the limit and lambda is multiplied by
    the price.
    """

    lambda_init: float = 0.001
    """The multiplier's initial value."""
    pid_kp: float = 0.1
    """Weight of the smoothed excess of the cost over its limit."""
    pid_ki: float = 0.01
    """Weight of the summed excess."""
    pid_kd: float = 0.01
    """Weight of the rise of the smoothed cost."""
    pid_smoothing: float = 0.95
    """Share of the old value in both moving averages."""
    pid_delay: int = 10
    """Updates of the multiplier over which that rise is taken."""
    not_negative: ClassVar[tuple[str, ...]] = (
        "cost_limit",
        "lambda_init",
        "pid_kp",
        "pid_ki",
        "pid_kd",
    )

    def __post_init__(self) -> None:
        """Check the domains."""
        LimitedCost.__post_init__(self)
        check_domains(self, at_least_one=("pid_delay",), shares=("pid_smoothing",))

    def start(self) -> PIDMultiplier:
        """Return the multiplier at its initial value."""
        return PIDMultiplier(self.cost_limit, self.lambda_init, self, self.lambda_init)


@register("pid")
@dataclass(frozen=True, kw_only=True)
class PID(PricedCost, Controller):
    """The multiplier weighs the advantage of cost."""


@dataclass(slots=True)
class PIDMultiplier(MultiplierConstraint):
    """Lambda and the state of its controller."""

    settings: Controller
    integral: float
    proportional: float = 0.0
    costs: list[float] = field(default_factory=lambda: [0.0])
    """The moving average of the cost after each of the last ``pid_delay`` updates; 0 before any."""

    def _adapt(self, episode_cost: float, price: float | None) -> None:
        by = self.settings
        keep = by.pid_smoothing
        excess = self.excess
        if price is None:
            price = 1.0
        else:
            excess, episode_cost = self.relative_excess, episode_cost / (self.limit or 1.0)
        self.integral = max(0.0, self.integral + price * by.pid_ki * excess)
        self.proportional = keep * self.proportional + (1.0 - keep) * excess
        smooth = keep * self.costs[-1] + (1.0 - keep) * episode_cost
        rise = max(0.0, smooth - self.costs[0])
        self.costs = [*self.costs, smooth][-by.pid_delay :]
        direct = price * (by.pid_kp * self.proportional + by.pid_kd * rise)
        self.value = max(0.0, direct + self.integral)

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [*MultiplierConstraint.state(self), self.integral, self.proportional, *self.costs]

    def restore(self, state: Sequence[float]) -> None:
        """Restore a state that ``state`` returned."""
        MultiplierConstraint.restore(self, state[:3])
        self.integral, self.proportional = state[3:5]
        self.costs = list(state[5:])
