"""FOCOPS, first-order constrained optimisation in policy space (Zhang, Vuong & Ross 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.update_rules.base import GradientRule, Terms
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from torch import Tensor


@register("focops")
@dataclass(frozen=True, slots=True, kw_only=True)
class FOCOPS(GradientRule):
    """``mean[1(KL <= eta) (KL - M r A / lam)]``."""

    uses_kl = True

    focops_eta: float = 0.02
    """eta: states above this KL are masked."""
    focops_lam: float = 1.5
    """lam: temperature of the optimal policy."""

    def __post_init__(self) -> None:
        """Check the domains."""
        GradientRule.__post_init__(self)
        check_domains(self, positive=("focops_eta", "focops_lam"))

    def loss(self, terms: Terms) -> Tensor:
        """Return the loss of one minibatch."""
        return focops(
            terms.ratio,
            terms.advantage,
            terms.factor,
            terms.kl,
            trusted=self.focops_eta,
            softness=self.focops_lam,
        )


def focops(
    ratio: Tensor, advantage: Tensor, factor: Tensor, kl: Tensor, *, trusted: float, softness: float
) -> Tensor:
    """Return FOCOPS' loss ``mean[1(KL <= eta) (KL - M r A / lam)]``.

    Its gradient points from the present policy to ``pi_old exp(A / lam)``, the optimal
    nonparametric policy; states with a KL outside the trust region are masked.

    Args:
        ratio: (B,), pi_new / pi_old.
        advantage: (B,), of reward and cost together.
        factor: (B,), M.
        kl: (B,), KL(new || old).
        trusted: eta.
        softness: lam.
    """
    inside = (kl.detach() <= trusted).to(kl.dtype)
    return (inside * (kl - factor * ratio * advantage / softness)).mean()
