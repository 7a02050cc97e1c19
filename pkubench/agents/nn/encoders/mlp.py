"""Multi-layer perceptron on flat vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.nn.encoders.base import Encoder, check_sizes

if TYPE_CHECKING:
    import torch

    from pkubench.agents.nn.modules import EncoderModule


@register("mlp")
@dataclass(frozen=True, slots=True, kw_only=True)
class MLPEncoder(Encoder):
    """``[LayerNorm] -> (Linear -> activation -> [LayerNorm]) * k`` on flattened observations."""

    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers."""
    layer_norm: bool = True
    """LayerNorm on the input and after each activation (HARL)."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_sizes(hidden=self.hidden)

    @property
    def is_flat(self) -> bool:
        """Vectors."""
        return True

    @property
    def is_plain_mlp(self) -> bool:
        """True, but for a subclass that builds something else."""
        return type(self).build is MLPEncoder.build

    def build(
        self, shape: tuple[int, ...], is_bytes: bool, generator: torch.Generator
    ) -> EncoderModule:
        """Return the module (see ``Encoder.build``)."""
        from pkubench.agents.nn.modules import DenseModule

        return DenseModule(self, shape, generator)
