"""A Lagrange multiplier by gradient ascent (OmniSafe ``Lagrange``; Ray, Achiam & Amodei 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import LimitedCost
from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint, PricedCost


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientAscent(LimitedCost):
    """A multiplier that rises while the episode cost exceeds its limit.

    Gradient ascent on ``lambda (EpCost - limit)``, clamped to [0, ``lambda_upper``], once per
    update, before the policy. By Adam where its steps have no scale (``Constraint.price``). With
    one, by optimistic ascent (Daskalakis et al. 2018): ``lambda_lr price (2 e - e')`` with e and e'
    the excess as a share of the limit, in [-1, 1], now and at the update before. Ascent and descent
    in alternation circle round a saddle point whose policy draws lots; the second term damps the
    circles, and there is no memory of early, larger excesses, as in Adam's moments.
    """

    lambda_init: float = 0.001
    """The multiplier's initial value."""
    lambda_lr: float = 0.035
    """Learning rate of the multiplier."""
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


@register("lagrangian")
@dataclass(frozen=True, kw_only=True)
class Lagrangian(PricedCost, GradientAscent):
    """The multiplier weighs the advantage of cost."""


@dataclass(slots=True)
class LagrangeMultiplier(MultiplierConstraint):
    """Lambda and its Adam moments."""

    settings: GradientAscent
    moments: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Adam's first moment, second moment and step count."""
    share: float | None = None
    """The excess as a share of the limit, in [-1, 1], at the last update with a scale."""

    def _adapt(self, episode_cost: float, price: float | None) -> None:
        if price is None:
            rise = self.settings.lambda_lr * self._step_of_adam(-self.excess)
        else:
            share = min(max(self.relative_excess, -1.0), 1.0)
            before = share if self.share is None else self.share
            rise = self.settings.lambda_lr * price * (2.0 * share - before)
            self.share = share
        self.value = max(self.value + rise, 0.0)
        if self.settings.lambda_upper is not None:
            self.value = min(self.value, self.settings.lambda_upper)

    def _step_of_adam(self, gradient: float) -> float:
        """Return Adam's step at a rate of 1."""
        first, second, count = self.moments
        count += 1.0
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient * gradient
        step = (first / (1.0 - 0.9**count)) / (math.sqrt(second / (1.0 - 0.999**count)) + 1e-8)
        self.moments = [first, second, count]
        return -float(step)

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        share = math.nan if self.share is None else self.share
        return [*MultiplierConstraint.state(self), *self.moments, share]

    def restore(self, state: Sequence[float]) -> None:
        """Restore a state that ``state`` returned."""
        MultiplierConstraint.restore(self, state[:3])
        self.moments = list(state[3:6])
        self.share = None if math.isnan(state[6]) else state[6]
