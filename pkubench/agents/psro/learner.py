"""What the training loop asks of a game learner."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Tensors = dict[str, NDArray[Any]]


class GameLearner(Protocol):
    """Improves a pair of populations, one iteration at a time."""

    iteration: int
    report_every: int
    """Iterations between two lines of the training curve."""
    pure: bool
    """Whether all policies are pure, which saves them in one byte a state."""

    @property
    def finished(self) -> bool:
        """Whether further iterations would change nothing."""
        ...

    def advance(self) -> None:
        """Do one iteration."""
        ...

    def measure(self, last: bool) -> dict[str, float]:
        """Return named figures of the present populations; ``last`` asks for all of them."""
        ...

    def plans(self) -> tuple[Floats, Floats]:
        """Return both populations, one realization plan a row."""
        ...

    def meta_strategy(self) -> tuple[Floats, Floats]:
        """Return the distribution over each population."""
        ...

    def state(self) -> Tensors:
        """Return the arrays from which ``restore`` goes on to the same result."""
        ...

    def restore(self, state: Tensors) -> None:
        """Go back to a saved state."""
        ...
