"""The interface of game learners, and the base of learners of one average policy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.games.zero_sum import ZeroSumGame

Floats = NDArray[np.float64]
Tensors = dict[str, NDArray[Any]]


class GameLearner(Protocol):
    """Improves a pair of populations, one iteration at a time."""

    iteration: int
    report_every: int
    """Iterations between two lines of the training curve."""
    pure: bool
    """Whether all policies are pure, which are saved in one byte per state."""

    @property
    def finished(self) -> bool:
        """Whether further iterations would change nothing."""
        ...

    def advance(self) -> None:
        """Do one iteration."""
        ...

    def measure(self, last: bool) -> dict[str, float]:
        """Return named metrics of the present populations; with ``last``, all of them."""
        ...

    def plans(self) -> tuple[Floats, Floats]:
        """Return both populations, one realization plan per row."""
        ...

    def meta_strategy(self) -> tuple[Floats, Floats]:
        """Return the distribution over each population."""
        ...

    def state(self) -> Tensors:
        """Return the arrays from which ``restore`` resumes to the same result."""
        ...

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        ...


class AverageLearner(ABC):
    """A learner of one average policy per player."""

    pure = False
    game: ZeroSumGame

    @abstractmethod
    def average(self) -> tuple[Floats, Floats]:
        """Return both average policies, as plans."""

    def measure(self, last: bool) -> dict[str, float]:
        """Return the metrics of the average policies (payoff units of the game)."""
        x, y = self.average()
        nash_conv = max(self.game.nash_conv(x, y), 0.0)
        # For one policy per player, population exploitability is NashConv.
        return {
            "nash_conv": nash_conv,
            "exploitability": 0.5 * nash_conv,
            "value": self.game.expected_value(x, y),
            "policies": 2.0,
            "population_exploitability": nash_conv,
        }

    def plans(self) -> tuple[Floats, Floats]:
        """Return both average policies, one plan in one row each."""
        x, y = self.average()
        return x[None].copy(), y[None].copy()

    def meta_strategy(self) -> tuple[Floats, Floats]:
        """Return the trivial mixtures."""
        return np.ones(1), np.ones(1)
