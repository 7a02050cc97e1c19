"""Constraints enforced by a trust-region step itself: base of CPO and PCPO.

Both look for a step d that increases the reward's surrogate, ``g'd``, inside the ball
``d'Hd / 2 <= radius`` and on the safe side of the linearised constraint ``c + b'd <= 0``. With
``x = H^-1 g`` and ``p = H^-1 b`` every candidate is ``a x - k p``, so a rule is a pure function
from five numbers to two.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from pkubench.agents.rl.constraints.base import CostConstraint, LimitedCost, one_unit_of_cost
from pkubench.agents.rl.update_rules.trust_region import TrustRegion
from pkubench.agents.settings import check_domains


class Products(NamedTuple):
    """Inner products and radius that determine a step."""

    q: float
    """g' H^-1 g."""
    r: float
    """g' H^-1 b."""
    s: float
    """b' H^-1 b."""
    c: float
    """Excess of the cost over its limit, on the scale of ``b'd``."""
    radius: float
    """delta, in mean KL."""


class Combination(NamedTuple):
    """The step ``of_reward * H^-1 g - of_cost * H^-1 b``."""

    of_reward: float
    of_cost: float
    case: int
    """CPO's: 4 and 3, the constraint does not reach the ball; 2, safe, and it cuts the ball;
    1, unsafe, and the ball reaches the safe side; 0, unsafe and it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepConstraint(LimitedCost, ABC):
    """Base of the constraints that modify a trust-region step."""

    modifies_step: ClassVar[bool] = True
    has_cases: ClassVar[bool] = False
    """Whether ``Combination.case`` is a column of the training curve."""

    recovery: float = 1.0
    """Factor of an excess above 0, so that a policy over its limit prioritises cost recovery over
    reward. The papers have 1."""
    acceptance: Literal["held-out", "in-sample"] = "held-out"
    """Data on which the line search tests a step. ``held-out``: two steps, each from one half of
    the environments and tested on the other; their mean is taken. ``in-sample``: the papers' test,
    on the data that the step was computed from, which it passes almost always: a step maximises the
    very figures that are tested. (CPO on PointGoal1, 16,000 samples: the promised decrease of cost
    was -36 an episode, and as large with randomly permuted cost advantages.)"""
    variant: Literal["published", "omnisafe"] = "published"
    """``omnisafe`` restores what its code does differently: an episode's summed excess added to a
    mean over steps without ``recovery``, the sign of r (CPO), g for H^-1 g (PCPO)."""

    def __post_init__(self) -> None:
        """Check the domains."""
        LimitedCost.__post_init__(self)
        check_domains(self, positive=("recovery",))

    def needs(self, config: Any) -> str:
        """Require a step with a line search, and costs in one unit."""
        if not isinstance(config.update, TrustRegion):
            return "update=trust-region (it modifies the step)"
        if config.update.search_steps == 0:
            return "search_steps=15 (a line search)"
        if self.acceptance == "held-out" and config.num_envs < 2:
            return "num_envs=2 or more (acceptance=held-out tests steps on other environments)"
        return "" if self.variant == "omnisafe" else one_unit_of_cost(config)

    def unused(self, config: Any) -> dict[str, str]:
        """Return ``recovery`` where it has no effect."""
        return {"recovery": "constraint.variant=published"} if self.variant == "omnisafe" else {}

    def excess(self, state: CostConstraint) -> float:
        """Return the excess over the episode length, or an episode's sum (``omnisafe``)."""
        return state.excess if self.variant == "omnisafe" else LimitedCost.excess(self, state)

    @property
    def uses_plain_gradient(self) -> bool:
        """Whether the reward's direction is g, on the scale of the KL, instead of ``H^-1 g``."""
        return False

    @abstractmethod
    def combination(self, products: Products) -> Combination:
        """Return the step as the coefficients of its two directions."""


def to_the_boundary(q: float, radius: float) -> float:
    """Return the length of the reward's direction that reaches the ball's boundary."""
    return math.sqrt(2.0 * radius / q) if q > 0.0 else 0.0
