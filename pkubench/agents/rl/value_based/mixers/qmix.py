"""QMIX (Rashid et al., ICML 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.value_based.mixers.base import Mixer
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    import torch

    from pkubench.agents.rl.value_based.networks import Monotone


@register("qmix")
@dataclass(frozen=True, slots=True, kw_only=True)
class QMIX(Mixer):
    """``h = ELU(q |W1(s)| + b1(s))``, ``Q(s, a) = h |w2(s)| + V(s)``."""

    embed: int = 32
    """Units of the mixing network's hidden layer."""
    hyper: int = 64
    """Units of the hidden layer of the networks that W1 and w2 are outputs of."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("embed", "hyper"))

    def build(self, agents: int, state: int, generator: torch.Generator) -> Monotone:
        """Return the module (see ``Mixer.build``)."""
        from pkubench.agents.rl.value_based.networks import Monotone

        return Monotone(agents, state, self.embed, self.hyper, generator)
