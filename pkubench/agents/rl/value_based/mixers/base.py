"""The interface of a mixer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pkubench.agents.components import Component

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixer(Component, ABC, slot="mixer", package="pkubench.agents.rl.value_based.mixers"):
    """From utilities to the value of the joint action.

    It never decreases in a utility, so that the agents' greedy actions are the greedy joint action
    (individual-global-max).
    """

    reads_state: ClassVar[bool] = True
    """Whether it is given the state; otherwise states have no numbers."""

    @abstractmethod
    def build(self, agents: int, state: int, generator: torch.Generator) -> nn.Module:
        """Return the module that maps utilities (..., agents) and states (..., state) to (...).

        Its initial weights come from ``generator`` alone.
        """
