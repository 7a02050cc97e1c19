"""Gated Transformer-XL (Parisotto et al., ICML 2020), in its episodic form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.nn.memory.base import Memory
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from pkubench.agents.nn.gtrxl import GatedTransformer

MAX_LAYERS = 100
"""Bounds what a saved description can make a loader build."""


@register("gtrxl")
@dataclass(frozen=True, slots=True, kw_only=True)
class GTrXLMemory(Memory):
    """Every step attends to the last steps of its episode, through gates instead of residuals.

    No gradient flows into the past. There are no positions: what is remembered is its content.
    """

    width: int = 64
    """E, of a step in memory."""
    layers: int = 4
    """Blocks."""
    heads: int = 1
    """Attention heads; must divide ``width``."""
    length: int = 32
    """Steps before the present one that are attended to."""
    gate_bias: float = 2.0
    """Above 0 gates begin closed, so that a block is nearly the identity at first."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("width", "layers", "heads", "length"))
        if self.layers > MAX_LAYERS:
            raise ConfigError(f"layers must be at most {MAX_LAYERS}, got {self.layers}")
        if self.width % self.heads:
            raise ConfigError(f"heads must divide width={self.width}, got {self.heads}")

    def build(self, features: int, generator: torch.Generator) -> GatedTransformer:
        """Return the module (see ``Memory.build``)."""
        from pkubench.agents.nn.gtrxl import GatedTransformer

        return GatedTransformer(self, features, generator)
