"""PCPO, projection-based constrained policy optimisation (Yang et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.step import (
    Combination,
    Products,
    StepConstraint,
    to_the_boundary,
)


@register("pcpo", formerly="projected")
@dataclass(frozen=True, slots=True, kw_only=True)
class PCPO(StepConstraint):
    """The reward's trust-region step, projected onto the constraint in KL."""

    @property
    def uses_plain_gradient(self) -> bool:
        """As in OmniSafe's code."""
        return self.variant == "omnisafe"

    def combination(self, products: Products) -> Combination:
        """Return the step as the coefficients of its two directions."""
        return pcpo_combination(products)


def pcpo_combination(n: Products) -> Combination:
    """Step to the ball's boundary for the reward, then project onto the constraint in KL.

    ``d = sqrt(2 radius / q) x - max(0, (sqrt(2 radius / q) r + c) / s) p`` (Yang et al.
    2020). The projection may leave the ball.
    """
    length = to_the_boundary(n.q, n.radius)
    return Combination(length, max(0.0, (length * n.r + n.c) / n.s), 0)
