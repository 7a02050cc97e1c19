"""Value decomposition networks (Sunehag et al., AAMAS 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pkubench.agents.components import register
from pkubench.agents.rl.value_based.mixers.base import Mixer

if TYPE_CHECKING:
    import torch

    from pkubench.agents.rl.value_based.networks import Sum


@register("vdn")
@dataclass(frozen=True, slots=True, kw_only=True)
class VDN(Mixer):
    """``Q(s, a) = sum_i Q_i(tau_i, a_i)``."""

    reads_state: ClassVar[bool] = False

    def build(self, agents: int, state: int, generator: torch.Generator) -> Sum:
        """Return the module (see ``Mixer.build``)."""
        from pkubench.agents.rl.value_based.networks import Sum

        return Sum()
