"""A Lagrange multiplier by gradient ascent (OmniSafe ``Lagrange``; Ray, Achiam & Amodei 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import LimitedCost
from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint


@register("lagrangian")
@dataclass(frozen=True, slots=True, kw_only=True)
class Lagrangian(LimitedCost):
    """A multiplier that rises while the episode cost exceeds its limit.

    Gradient ascent on ``lambda (EpCost - limit)`` by Adam, clamped to [0, ``lambda_upper``], once
    per update, before the policy.
    """

    lambda_init: float = 0.001
    """The multiplier's initial value."""
    lambda_lr: float = 0.035
    """Adam's learning rate of the multiplier."""
    lambda_upper: float | None = None
    """Upper bound of the multiplier; None is no bound."""
    not_negative: ClassVar[tuple[str, ...]] = (
        "cost_limit",
        "lambda_init",
        "lambda_lr",
        "lambda_upper",
    )

    def start(self) -> LagrangeMultiplier:
        """Return the multiplier at its initial value."""
        return LagrangeMultiplier(self.cost_limit, self.lambda_init, self)


@dataclass(slots=True)
class LagrangeMultiplier(MultiplierConstraint):
    """Lambda and its Adam moments."""

    settings: Lagrangian
    moments: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Adam's first moment, second moment and step count."""

    def _adapt(self, episode_cost: float) -> None:
        gradient = -(episode_cost - self.limit)
        first, second, count = self.moments
        count += 1.0
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient * gradient
        step = (first / (1.0 - 0.9**count)) / (math.sqrt(second / (1.0 - 0.999**count)) + 1e-8)
        self.moments = [first, second, count]
        self.value = max(self.value - self.settings.lambda_lr * step, 0.0)
        if self.settings.lambda_upper is not None:
            self.value = min(self.value, self.settings.lambda_upper)

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [*MultiplierConstraint.state(self), *self.moments]

    def restore(self, state: Sequence[float]) -> None:
        """Restore a state that ``state`` returned."""
        MultiplierConstraint.restore(self, state[:3])
        self.moments = list(state[3:])
