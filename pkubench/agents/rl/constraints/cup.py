"""CUP, constrained update projection (Yang et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import Weights
from pkubench.agents.rl.constraints.lagrangian import GradientAscent, LagrangeMultiplier
from pkubench.agents.rl.constraints.scale import AdvantageScale
from pkubench.agents.rl.update_rules.base import CostTerms, GradientRule, Terms

if TYPE_CHECKING:
    from torch import Tensor


@register("cup", formerly="corrected")
@dataclass(frozen=True, slots=True, kw_only=True)
class CUP(GradientAscent):
    """A second phase of every update lowers the cost; the first one ascends A_R alone."""

    corrects: ClassVar[bool] = True

    nu_scale: Literal["running", "fixed"] = "running"
    """``running``: the rate of the multiplier is divided by the running deviation of A_C, and it
    moves by the excess as a share of the limit, so that it is the same in all units of cost: the
    correction weighs costs against a KL divergence. ``fixed``: Adam on the excess (OmniSafe)."""

    def price(self, scale: AdvantageScale, cost_at_limit: float) -> float | None:
        """Return 1 over the deviation of A_C; None for a fixed scale."""
        return 1.0 / scale.cost(cost_at_limit) if self.nu_scale == "running" else None

    def needs(self, config: Any) -> str:
        """Require a rule with passes over the data, and a discount."""
        if not isinstance(config.update, GradientRule):
            return "update=ppo-clip (a rule with passes over the data)"
        return "" if config.gamma < 1.0 else "gamma below 1: it weighs costs by 1/(1 - gamma)"

    def weight(self, terms: Any) -> float:
        """Return ``nu c``, with ``c = (1 - gamma lam) / (1 - gamma)`` and the lambda of costs."""
        cost: CostTerms = terms.cost
        multiplier, gamma, lam = cost.multiplier, cost.gamma, cost.cost_lam
        return multiplier * (1.0 - gamma * lam) / (1.0 - gamma)

    def correction(self, terms: Terms) -> Tensor:
        """Return the loss of the second phase."""
        return cup_correction(
            terms.ratio, terms.cost_advantage, terms.factor, terms.kl, self.weight(terms)
        )

    def start(self) -> CUPMultiplier:
        """Return the multiplier at its initial value."""
        return CUPMultiplier(self.cost_limit, self.lambda_init, self)


@dataclass(slots=True)
class CUPMultiplier(LagrangeMultiplier):
    """The multiplier nu of the second phase."""

    def weights(self) -> Weights:
        """Return (1, 0)."""
        return Weights(1.0, 0.0)


def cup_correction(
    ratio: Tensor, cost_advantage: Tensor, factor: Tensor, kl: Tensor, weight: float
) -> Tensor:
    """Return the loss of CUP's second phase ``mean[nu c M r A_C + KL]``.

    Args:
        ratio: (B,), pi_new / pi_old, of the policy that collected the data.
        cost_advantage: (B,).
        factor: (B,), M.
        kl: (B,), KL(new || the policy after the first phase).
        weight: the multiplier nu times ``c = (1 - gamma lam) / (1 - gamma)``.
    """
    return (weight * factor * ratio * cost_advantage + kl).mean()
