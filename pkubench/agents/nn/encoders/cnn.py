"""Convolutions on images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.nn.encoders.base import Encoder, check_sizes
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    import torch

    from pkubench.agents.nn.modules import EncoderModule


@register("cnn")
@dataclass(frozen=True, slots=True, kw_only=True)
class CNNEncoder(Encoder):
    """``(Conv -> activation) * k -> flatten -> (Linear -> activation) * m`` on images (H, W, C)."""

    channels: tuple[int, ...] = (16, 32)
    """Filters of each convolution."""
    kernel: int = 3
    """Side of a filter in pixels."""
    stride: int = 2
    """Stride in pixels; edges are padded so that every pixel is covered."""
    hidden: tuple[int, ...] = (128,)
    """Widths of the layers after the convolutions."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_sizes(channels=self.channels, hidden=self.hidden)
        check_domains(self, at_least_one=("kernel", "stride"))

    def mismatch(self, shape: tuple[int, ...]) -> str:
        """Require images."""
        return "" if len(shape) == 3 else f"it takes images (H, W, C), not arrays of shape {shape}"

    def build(
        self, shape: tuple[int, ...], is_bytes: bool, generator: torch.Generator
    ) -> EncoderModule:
        """Return the module (see ``Encoder.build``)."""
        from pkubench.agents.nn.modules import ConvModule

        return ConvModule(self, shape, is_bytes, generator)
