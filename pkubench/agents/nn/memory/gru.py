"""A gated recurrent unit (Cho et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.nn.memory.base import Memory
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    import torch

    from pkubench.agents.nn.modules import Recurrent


@register("gru")
@dataclass(frozen=True, slots=True, kw_only=True)
class GRUMemory(Memory):
    """A hidden state, zero where an episode begins.

    Trained on whole rollouts by backpropagation through time, from the stored hidden state at the
    start of each.
    """

    units: int = 64
    """Size of the hidden state."""

    def __post_init__(self) -> None:
        """Check the domain."""
        check_domains(self, at_least_one=("units",))

    def build(self, features: int, generator: torch.Generator) -> Recurrent:
        """Return the module (see ``Memory.build``)."""
        from pkubench.agents.nn.modules import Recurrent

        return Recurrent(features, self.units, generator)
