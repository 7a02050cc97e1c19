"""Return differences in the way of RUDDER (Arjona-Medina et al., NeurIPS 2019), for teams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.credit.learned import LearnedCredit
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    import torch

    from pkubench.agents.rl.credit.episodes import Layout
    from pkubench.agents.rl.credit.models.base import CreditNetwork


@register("rudder")
@dataclass(frozen=True, slots=True, kw_only=True)
class RudderCredit(LearnedCredit):
    """A step's credit is the change of an LSTM's prediction of the return; equal for all agents.

    As in AREL's comparison: plain differences, without RUDDER's corrections of the remainder (which
    ``normaliser=remainder`` adds) and without its lessons buffer.
    """

    is_shared: ClassVar[bool] = True

    units: int = 64
    """Size of the LSTM's hidden state; 512 in the published code."""
    layers: int = 1
    """Layers of the LSTM; 2 in the published code."""
    early_weight: float = 0.1
    """Weight of the predictions before the end in the loss."""
    start_value: Literal["zero", "learned"] = "zero"
    """The prediction before the first step: 0, so that credit sums to the last prediction, or
    ``learned`` as published, which leaves the difference out."""

    def __post_init__(self) -> None:
        """Check the domains."""
        LearnedCredit.__post_init__(self)
        check_domains(self, at_least_one=("units", "layers"), not_negative=("early_weight",))

    def network(self, layout: Layout, generator: torch.Generator) -> CreditNetwork:
        """Return the network with initial weights (see ``LearnedCredit``)."""
        from pkubench.agents.rl.credit.models.rudder import RudderNetwork

        return RudderNetwork(self, layout, generator)
