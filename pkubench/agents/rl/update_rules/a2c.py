"""The plain policy gradient on the surrogate: A2C, HAA2C, OmniSafe's PolicyGradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.update_rules.base import GradientRule, Terms, surrogate

if TYPE_CHECKING:
    from torch import Tensor


@register("a2c")
@dataclass(frozen=True, slots=True, kw_only=True)
class A2C(GradientRule):
    """``-mean[M r A]``."""

    def loss(self, terms: Terms) -> Tensor:
        """Return minus the surrogate."""
        return -surrogate(terms.ratio, terms.advantage, terms.factor)
