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

    Trained by backpropagation through time on whole rollouts, or on chunks of them, from the
    stored hidden state at the start of each.
    """

    units: int = 64
    """Size of the hidden state."""
    chunk: int | None = None
    """Steps of a chunk, of which minibatches consist (HARL and MAPPO: 10); what happened before is
    known from the hidden state alone. None: whole rollouts."""
    output_norm: bool = False
    """LayerNorm between the hidden state and the next layer (HARL, MAPPO)."""

    def __post_init__(self) -> None:
        """Check the domain."""
        check_domains(self, at_least_one=("units",), positive=("chunk",))

    @property
    def chunk_length(self) -> int | None:
        """The chunk's."""
        return self.chunk

    def build(self, features: int, generator: torch.Generator) -> Recurrent:
        """Return the module (see ``Memory.build``)."""
        from pkubench.agents.nn.modules import Recurrent

        return Recurrent(features, self.units, generator, self.output_norm)
