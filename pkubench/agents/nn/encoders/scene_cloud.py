"""Numbers followed by a point cloud, in one row: PointNet (Qi et al. 2017) beside the numbers.

The smaller of the two backbones of UniDexGrasp++ (Wan et al. 2023): the mean of a cloud and the
middle of its extent stand before each point, the first half of a point's features is pooled by the
maximum and the second by the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.nn.encoders.base import Encoder, check_sizes
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from pkubench.agents.nn.modules import EncoderModule


@register("scene-cloud")
@dataclass(frozen=True, slots=True, kw_only=True)
class SceneCloudEncoder(Encoder):
    """An MLP shared by the points of a cloud, and one of what is pooled and the other numbers."""

    points: int = 1024
    """Points of the cloud, the last ``points * channels`` numbers of an observation."""
    channels: int = 8
    """Numbers of a point; the first three are its position."""
    point_hidden: tuple[int, ...] = (128, 256)
    """Widths of the layers shared by the points."""
    cloud_hidden: tuple[int, ...] = (256, 128)
    """Widths of the layers after pooling."""
    hidden: tuple[int, ...] = (1024, 1024, 512, 512)
    """Widths of the layers that the other numbers enter."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_sizes(
            point_hidden=self.point_hidden, cloud_hidden=self.cloud_hidden, hidden=self.hidden
        )
        if self.points < 1 or self.channels < 3 or not self.hidden:
            raise ConfigError("a scene cloud has one point or more, of three numbers or more")
        if not self.point_hidden or self.point_hidden[-1] < 2:
            raise ConfigError("point_hidden must end with two features or more: two kinds of pools")

    def mismatch(self, shape: tuple[int, ...]) -> str:
        """Require a row with such a cloud at its end."""
        size = self.points * self.channels
        if len(shape) != 1 or shape[0] <= size:
            return (
                f"it takes rows that end with points={self.points} of channels={self.channels}, "
                f"longer than {size} numbers, not arrays of shape {shape}"
            )
        return ""

    def build(
        self, shape: tuple[int, ...], is_bytes: bool, generator: torch.Generator
    ) -> EncoderModule:
        """Return the module (see ``Encoder.build``)."""
        from pkubench.agents.nn.modules import SceneCloudModule

        return SceneCloudModule(self, shape, generator)
