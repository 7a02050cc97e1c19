"""How an off-policy learner keeps the episode cost at a limit.

The multipliers are those of ``rl/constraints``; this module has their effect on critics and actors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pkubench.agents.components import Component, register
from pkubench.agents.rl.constraints.lagrangian import GradientAscent, LagrangeMultiplier
from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint
from pkubench.agents.rl.constraints.pid import Controller, PIDMultiplier
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from torch import Tensor


class OffPolicyConstraint(
    Component, slot="constraint", package="pkubench.agents.rl.off_policy.constraints"
):
    """How costs are treated; the base class ignores them."""

    cost_norm: bool = False
    lambda_warmup_steps: int = 0

    @property
    def is_as_omnisafe(self) -> bool:
        """Whether the multiplier is updated after every update, and cost targets use modes."""
        return False

    @property
    def cost_critics(self) -> int:
        """Number of cost critics."""
        return 0

    def start(self) -> MultiplierConstraint | None:
        """Return a multiplier at its initial value; None where costs are ignored."""
        return None

    def next_cost(self, q: Tensor) -> Tensor:
        """Return the cost value of the next state, (S, B), by target critics of cost (C, S, B)."""
        return q[0] if len(q) == 1 else q[0].maximum(q[1])

    def actor_loss(self, loss: Tensor, q: Tensor, multiplier: Tensor) -> Tensor:
        """Return ``(loss + lambda mean_B Q_cost) / (1 + lambda)``, (S,).

        Args:
            loss: (S,), the rule's own: SAC's entropy is divided too.
            q: (C, S, B), cost critics; of twins the larger is taken.
            multiplier: (S,), lambda of each training seed.
        """
        return (loss + multiplier * self.next_cost(q).mean(-1)) / (1.0 + multiplier)


@register("none")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoConstraint(OffPolicyConstraint):
    """Costs are ignored."""


@dataclass(frozen=True, kw_only=True)
class HeldByMultiplier(OffPolicyConstraint):
    """A multiplier lambda: actors ascend ``(Q - lambda Q_cost) / (1 + lambda)``."""

    variant: Literal["published", "omnisafe"] = "published"
    """``published``: the multiplier is updated before a burst of updates, if an episode ended since
    the last burst; the cost critic's targets use the rule's own next actions. ``omnisafe``: it is
    updated after every update, possibly from the same episodes as before (hence learning rates of
    1e-5), and the cost critic's targets use the mode of the actor, not of the target actor."""
    cost_twins: bool = False
    """Take the larger of two cost critics, as the smaller of two reward critics is taken. OmniSafe
    has one, which becomes too low because actors minimize it."""
    cost_norm: bool = False
    """Costs are standardized by running moments before they enter the replay (OmniSafe's
    ``cost_normalize``, which also subtracts the mean); reported and constrained costs are not."""
    lambda_warmup_steps: int = 0
    """Environment steps before the first update of the multiplier."""

    @property
    def cost_critics(self) -> int:
        """Critics of cost side by side: one or twins."""
        return 1 + self.cost_twins

    @property
    def is_as_omnisafe(self) -> bool:
        """Whether ``variant`` is OmniSafe's."""
        return self.variant == "omnisafe"


@register("lagrangian")
@dataclass(frozen=True, kw_only=True)
class OffPolicyLagrangian(HeldByMultiplier, GradientAscent):
    """A multiplier learned by gradient ascent."""

    def __post_init__(self) -> None:
        """Check the domains."""
        GradientAscent.__post_init__(self)
        check_domains(self, not_negative=("lambda_warmup_steps",))

    def start(self) -> LagrangeMultiplier:
        """Return the multiplier at its initial value."""
        return GradientAscent.start(self)


@register("pid")
@dataclass(frozen=True, kw_only=True)
class OffPolicyPID(HeldByMultiplier, Controller):
    """A multiplier set by a PID controller."""

    def __post_init__(self) -> None:
        """Check the domains."""
        Controller.__post_init__(self)
        check_domains(self, not_negative=("lambda_warmup_steps",))

    def start(self) -> PIDMultiplier:
        """Return the multiplier at its initial value."""
        return Controller.start(self)
