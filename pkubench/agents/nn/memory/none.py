"""No memory: actions depend only on the present observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pkubench.agents.components import register
from pkubench.agents.nn.memory.base import Memory

if TYPE_CHECKING:
    import torch


@register("none")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoMemory(Memory):
    """Policies without memory."""

    is_recurrent: ClassVar[bool] = False

    def build(self, features: int, generator: torch.Generator) -> None:
        """Return None."""
        return
