"""A small causal transformer on sequences (Vaswani et al. 2017), normalised before each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.nn.encoders.base import Encoder
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from pkubench.agents.nn.modules import EncoderModule

MAX_LAYERS = 100
"""Bounds what a saved description can make a loader build."""


@register("sequence")
@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceEncoder(Encoder):
    """Causal self-attention over an observation (L, d); the features are the last position's."""

    width: int = 64
    """Width of each position's features."""
    heads: int = 4
    """Attention heads; must divide ``width``."""
    layers: int = 1
    """Blocks of attention and a feed-forward layer of four times the width."""
    dropout: float = 0.0
    """Dropout rate after attention and feed-forward layers, in updates only."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("width", "heads", "layers"), shares=("dropout",))
        if self.layers > MAX_LAYERS:
            raise ConfigError(f"layers must be at most {MAX_LAYERS}, got {self.layers}")
        if self.width % self.heads:
            raise ConfigError(f"heads must divide width={self.width}, got {self.heads}")

    def mismatch(self, shape: tuple[int, ...]) -> str:
        """Require sequences."""
        return "" if len(shape) == 2 else f"it takes sequences (L, d), not arrays of shape {shape}"

    def build(
        self, shape: tuple[int, ...], is_bytes: bool, generator: torch.Generator
    ) -> EncoderModule:
        """Return the module (see ``Encoder.build``)."""
        from pkubench.agents.nn.modules import SequenceModule

        return SequenceModule(self, shape, generator)
