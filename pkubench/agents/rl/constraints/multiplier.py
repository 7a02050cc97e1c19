"""Constraints with a multiplier lambda: the actor ascends (A_R - lambda A_C) / (1 + lambda)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pkubench.agents.rl.constraints.base import CostConstraint, Weights


@dataclass(slots=True)
class MultiplierConstraint(CostConstraint):
    """A multiplier; subclasses adapt it to the measured cost."""

    value: float
    """lambda, at least 0."""

    def weights(self) -> Weights:
        """Return 1/(1 + lambda) and -lambda/(1 + lambda)."""
        return Weights(1.0 / (1.0 + self.value), -self.value / (1.0 + self.value))

    @property
    def multiplier(self) -> float:
        """Lambda."""
        return self.value

    def metrics(self) -> dict[str, float]:
        """Return ``multiplier``."""
        return {"multiplier": self.value}

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [*CostConstraint.state(self), self.value]

    def restore(self, state: Sequence[float]) -> None:
        """Restore a state that ``state`` returned."""
        CostConstraint.restore(self, state[:2])
        self.value = state[2]
