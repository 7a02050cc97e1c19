"""A set of points, in any order (PointNet; Qi et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.nn.encoders.base import Encoder, check_sizes

if TYPE_CHECKING:
    import torch

    from pkubench.agents.nn.modules import EncoderModule


@register("point-set")
@dataclass(frozen=True, slots=True, kw_only=True)
class PointSetEncoder(Encoder):
    """An MLP shared by all points, the maximum over points, and an MLP after it."""

    point_hidden: tuple[int, ...] = (64, 64)
    """Widths of the shared layers."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the layers after the maximum."""
    padded: bool = False
    """Whether a point's last number marks it as existing (1) or as padding (0)."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_sizes(point_hidden=self.point_hidden, hidden=self.hidden)

    def mismatch(self, shape: tuple[int, ...]) -> str:
        """Require points."""
        if len(shape) != 2:
            return f"it takes points (P, D), not arrays of shape {shape}"
        return "a padded point needs two numbers or more" if self.padded and shape[1] < 2 else ""

    def build(
        self, shape: tuple[int, ...], is_bytes: bool, generator: torch.Generator
    ) -> EncoderModule:
        """Return the module (see ``Encoder.build``)."""
        from pkubench.agents.nn.modules import PointSetModule

        return PointSetModule(self, shape, generator)
