"""The interface of a memory: the torch module between an encoder and a head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pkubench.agents.components import Component

if TYPE_CHECKING:
    import torch

    from pkubench.agents.nn.modules import MemoryModule


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Component, ABC, slot="memory", package="pkubench.agents.nn.memory"):
    """What actors and critics remember within an episode."""

    is_recurrent: ClassVar[bool] = True
    """Whether there is a hidden state; False: ``build`` returns None."""

    @property
    def chunk_length(self) -> int | None:
        """Steps of the sequences that it is trained on; None: those of a whole rollout."""
        return None

    @abstractmethod
    def build(self, features: int, generator: torch.Generator) -> MemoryModule | None:
        """Return the module after an encoder of ``features`` features; None: no memory."""
