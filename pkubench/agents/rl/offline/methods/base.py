"""The interface of a method: its settings, and the object that learns with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pkubench.agents.components import Component

if TYPE_CHECKING:
    from pkubench.agents.nn.precision import Precision
    from pkubench.agents.rl.offline.data import Prepared
    from pkubench.agents.rl.offline.learners.base import MethodLearner


class Setup(NamedTuple):
    """What a method's learner is made from."""

    data: Prepared
    batch_size: int
    seed: int
    """Of initial weights."""
    total: int
    """Gradient steps of the whole training, for schedules."""
    horizon: int
    """Steps after which the task truncates an episode."""
    precision: Precision = "float32"
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(Component, ABC, slot="method", package="pkubench.agents.rl.offline.methods"):
    """A method that learns from a data set. The component holds settings and imports no torch."""

    @abstractmethod
    def start(self, setup: Setup) -> MethodLearner:
        """Return the networks and their update."""
