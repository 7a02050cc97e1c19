"""CPO, constrained policy optimisation (Achiam, Held, Tamar & Abbeel 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.step import (
    Combination,
    Products,
    StepConstraint,
    to_the_boundary,
)


@register("cpo", formerly="linearised")
@dataclass(frozen=True, slots=True, kw_only=True)
class CPO(StepConstraint):
    """The best step inside the ball and on the safe side of the linearized constraint."""

    has_cases: ClassVar[bool] = True

    def combination(self, products: Products) -> Combination:
        """Return the step as the coefficients of its two directions."""
        if self.variant == "omnisafe":  # the paper's formulas with the objective's gradient
            products = products._replace(r=-products.r)
        return cpo_combination(products)


def cpo_combination(n: Products) -> Combination:
    """Solve ``max g'd`` in the ball and the half-space (Achiam et al. 2017, theorem 2).

    With a multiplier lambda of the ball and nu of the constraint, ``d = (x - nu p) / lambda`` and
    ``nu = max(0, lambda c + r) / s``. The dual, as a function of lambda alone, is concave and
    smooth, so its maximum is the peak of one of the two formulas it has where nu is positive and
    where it is 0. In case 0 the ball has no safe point, and the cost is decreased as far as the
    ball allows.

    The paper minimises, so its g and r are ours negated. OmniSafe uses the paper's formulas with
    the gradient of the objective: there r has the wrong sign (``variant``).
    """
    q, r, s, c, radius = n
    if not q > 0.0:  # no reward gradient: take the shortest step to the safe side
        return Combination(0.0, min(max(c, 0.0) / s, math.sqrt(2.0 * radius / s)), 0)
    slack = 2.0 * radius - c * c / s
    if slack < 0.0:  # the constraint does not cut the ball: all of it is safe, or none
        whole = to_the_boundary(q, radius), math.sqrt(2.0 * radius / s)
        return Combination(whole[0], 0.0, 3) if c < 0.0 else Combination(0.0, whole[1], 0)

    def dual(m: float) -> float:
        nu = max(0.0, m * c + r) / s
        return -0.5 * ((q - 2.0 * nu * r + nu * nu * s) / m + 2.0 * radius * m) + nu * c

    of_ball = math.sqrt(q / (2.0 * radius))
    candidates = [of_ball]
    if slack > 0.0:
        candidates.append(math.sqrt(max(q - r * r / s, 0.0) / slack))
    # with g parallel to b lambda may be 0, where d is 0 / 0
    multiplier = max((max(m, 1e-4 * of_ball) for m in candidates), key=dual)
    nu = max(0.0, multiplier * c + r) / s
    return Combination(1.0 / multiplier, nu / multiplier, 2 if c < 0.0 else 1)
