"""Parts of a learner, brought by declaration: the tutorial "Add an algorithm" explains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench import register_preset
from pkubench.agents.components import register
from pkubench.agents.contract import FloatArray
from pkubench.agents.registry import Preset
from pkubench.agents.rl.constraints.base import LimitedCost
from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint
from pkubench.agents.rl.credit.base import CreditFormula
from pkubench.agents.rl.update_rules.base import GradientRule, Terms, surrogate
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from torch import Tensor

    from pkubench.agents.rl.rollout import Rollout


@register("ppo-kl")
@dataclass(frozen=True, slots=True, kw_only=True)
class PPOPenalty(GradientRule):
    """``-mean[M r A] + beta mean[KL]`` (Schulman et al. 2017, section 4, with a fixed beta)."""

    uses_kl = True
    beta: float = 1.0
    """Weight of the KL divergence between the policy now and before the update."""

    def __post_init__(self) -> None:
        """Check the domains."""
        GradientRule.__post_init__(self)
        check_domains(self, not_negative=("beta",))

    def loss(self, terms: Terms) -> Tensor:
        """Return the penalized surrogate loss."""
        gain = surrogate(terms.ratio, terms.advantage, terms.factor)
        return -gain + self.beta * terms.kl.mean()


@register("fixed-multiplier")
@dataclass(frozen=True, slots=True, kw_only=True)
class FixedMultiplier(LimitedCost):
    """The actor ascends (A_R - lambda A_C) / (1 + lambda); lambda is constant."""

    weight: float = 1.0
    """lambda."""

    def start(self) -> MultiplierConstraint:
        """Return the multiplier."""
        return MultiplierConstraint(self.cost_limit, self.weight)


@register("blend")
@dataclass(frozen=True, slots=True, kw_only=True)
class Blend(CreditFormula):
    """A share of each agent's own reward, and the rest of the team's mean."""

    own: float = 0.5
    """The share, in [0, 1]."""

    def __post_init__(self) -> None:
        """Check the domain."""
        check_domains(self, shares=("own",))

    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the blended rewards."""
        team = rollout.rewards.mean(-1, keepdims=True)
        return self.own * rollout.rewards + (1.0 - self.own) * team


register_preset(
    Preset(
        name="happo-blend",
        family="on-policy",
        base="happo",
        settings={"credit": "blend", "own": 0.8},
        summary="HAPPO on a blend of own and team reward",
    )
)
