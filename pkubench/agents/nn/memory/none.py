"""No memory: actions depend only on the present observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.nn.memory.base import Memory

if TYPE_CHECKING:
    import torch


@register("none")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoMemory(Memory):
    """Policies without memory."""

    def build(self, features: int, generator: torch.Generator) -> None:
        """Return None."""
        return
