"""P3O, penalised proximal policy optimisation (Zhang et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import CostConstraint, LimitedCost, one_unit_of_cost
from pkubench.agents.rl.update_rules.base import GradientRule, Terms
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from torch import Tensor


@register("p3o", formerly="exact-penalty")
@dataclass(frozen=True, slots=True, kw_only=True)
class P3O(LimitedCost):
    """An exact penalty in the loss: ``kappa max(0, mean[M r A_C] + excess)``."""

    kappa: float = 20.0
    """Weight of the penalty; large enough, the loss has the constrained problem's solution."""
    cost_clip: float = 0.2
    """eps of the pessimistic ``max(r A_C, clip(r) A_C)``."""
    gate: Literal["batch", "minibatch"] = "batch"
    """Over what the mean in ``max(0, .)`` is taken. ``batch``: the penalty is on or off for a whole
    pass, by all samples, of which costs are not clipped. ``minibatch``: the paper's loss in each
    minibatch, where noise of its mean turns the penalty on below the limit too, because
    ``E[max(0, noise + excess)] > 0``."""
    variant: Literal["published", "omnisafe"] = "published"
    """``omnisafe`` restores what its code does differently: costs are not clipped, and an episode's
    summed excess is added to a mean over steps."""
    not_negative: ClassVar[tuple[str, ...]] = ("cost_limit", "kappa")

    def __post_init__(self) -> None:
        """Check the domains."""
        LimitedCost.__post_init__(self)
        check_domains(self, positive=("cost_clip",), shares=("cost_clip",))

    def needs(self, config: Any) -> str:
        """Require a rule with a loss to add the penalty to, and costs in one unit."""
        if not isinstance(config.update, GradientRule):
            return "update=ppo-clip (a rule with a loss to add the penalty to)"
        return "" if self.variant == "omnisafe" else one_unit_of_cost(config)

    def unused(self, config: Any) -> dict[str, str]:
        """Return ``cost_clip`` where costs are not clipped."""
        return {"cost_clip": "constraint.variant=published"} if self.clip is None else {}

    @property
    def clip(self) -> float | None:
        """The clipping of costs; None: not clipped."""
        return self.cost_clip if self.variant == "published" else None

    @property
    def is_gated_by_batch(self) -> bool:
        """Whether the whole batch decides if there is a penalty."""
        return self.gate == "batch"

    def excess(self, state: CostConstraint) -> float:
        """Return the excess over the episode length, or an episode's sum (``omnisafe``)."""
        return state.excess if self.variant == "omnisafe" else LimitedCost.excess(self, state)

    def penalty(self, terms: Terms) -> Tensor:
        """Return the penalty."""
        return exact_penalty(
            terms.ratio,
            terms.cost_advantage,
            terms.factor,
            clip=self.clip,
            excess=terms.cost.excess,
            weight=self.kappa,
            is_over=terms.cost.is_over,
        )


def exact_penalty(
    ratio: Tensor,
    cost_advantage: Tensor,
    factor: Tensor,
    *,
    clip: float | None,
    excess: float,
    weight: float,
    is_over: bool | None = None,
) -> Tensor:
    """Return P3O's penalty ``kappa max(0, mean[M r A_C] + excess)``.

    Args:
        ratio: (B,), pi_new / pi_old.
        cost_advantage: (B,).
        factor: (B,), M.
        clip: eps of the pessimistic ``max(r A_C, clip(r) A_C)``; None leaves ``r A_C`` (OmniSafe).
        excess: mean episode cost minus the limit, over the mean episode length. The paper has
            discounted costs and the factor ``1 - gamma`` here.
        weight: kappa.
        is_over: whether the argument of ``max(0, .)`` is above 0, where that is decided by the
            whole batch; None: decided by these samples.
    """
    change = ratio * cost_advantage
    if clip is not None:
        change = change.maximum(ratio.clamp(1.0 - clip, 1.0 + clip) * cost_advantage)
    over = (factor * change).mean() + excess
    return weight * (over.relu() if is_over is None else over * float(is_over))
