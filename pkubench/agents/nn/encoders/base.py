"""The interface of an encoder: whether it fits a space, and the torch module that encodes.

The component holds settings and imports torch only to build the module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pkubench.agents.components import Component
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from pkubench.agents.nn.modules import EncoderModule


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder(Component, ABC, slot="encoder", package="pkubench.agents.nn.encoders"):
    """From observations to features, for actors and critics."""

    activation: Literal["relu", "tanh"] = "relu"
    """After each hidden layer."""
    init: Literal["orthogonal", "kaiming"] = "orthogonal"
    """Initial weights of linear layers, the head included: HARL's or torch's own."""

    @property
    def is_flat(self) -> bool:
        """Whether observations are vectors of float32 numbers, which can be normalised."""
        return False

    @property
    def is_plain_mlp(self) -> bool:
        """Whether ``build`` makes what ``nn/networks.py`` makes of ``hidden`` and ``layer_norm``.

        Such a network has hand-written gradients, and acts without torch.
        """
        return False

    def mismatch(self, shape: tuple[int, ...]) -> str:
        """Return why this cannot encode observations of ``shape``, or ""."""
        return ""

    @abstractmethod
    def build(
        self, shape: tuple[int, ...], is_bytes: bool, generator: torch.Generator
    ) -> EncoderModule:
        """Return the module for observations of ``shape``, initialised from ``generator`` alone.

        Args:
            shape: of one observation.
            is_bytes: observations are uint8 and scaled to [0, 1].
            generator: source of the initial weights.
        """


def check_sizes(**sizes: Iterable[Any]) -> None:
    """Check that layers have whole positive sizes.

    Raises:
        ConfigError: one does not.
    """
    for name, units in sizes.items():
        if not all(type(size) is int and size > 0 for size in units):
            raise ConfigError(f"{name} must be a list of layer sizes such as [64, 64]: {units}")
