"""Policies of one formula: a constant action, a plan, and one linear in the observation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pkubench.agents.contract import Array, BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class ConstantAgent:
    """Plays one constant action."""

    action: Array
    """An element of the agent's action space."""

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[Array, None]:
        """Return the action for every episode."""
        return np.repeat(self.action[None], len(active), axis=0), None


@dataclass(frozen=True, slots=True, eq=False)
class PlanAgent:
    """Plays a sequence of actions, whatever it observes, and begins again at its end."""

    actions: Array
    """(steps, ...), elements of the agent's action space."""

    def begin(self, seeds: IntArray) -> IntArray:
        """Return the episodes' number of steps, 0."""
        return np.zeros(len(seeds), dtype=np.int64)

    def act(self, observation: Array, state: IntArray, active: BoolArray) -> tuple[Array, IntArray]:
        """Return the actions (episodes, ...)."""
        return self.actions[state % len(self.actions)], state + 1


@dataclass(frozen=True, slots=True, eq=False)
class LinearAgent:
    """Plays ``clip(offset + gain (observation - rest), -1, 1)``; gains may change with the step."""

    gains: FloatArray
    """(steps, action, observation); after the last matrix it stays in use."""
    rest: FloatArray | float = 0.0
    """(observation,)."""
    offset: FloatArray | float = 0.0
    """(action,), the action at rest."""

    def begin(self, seeds: IntArray) -> IntArray:
        """Return the episodes' number of steps, 0."""
        return np.zeros(len(seeds), dtype=np.int64)

    def act(
        self, observation: Array, state: IntArray, active: BoolArray
    ) -> tuple[npt.NDArray[np.float32], IntArray]:
        """Return the actions (episodes, action)."""
        gains = self.gains[np.minimum(state, len(self.gains) - 1)]
        off = observation.astype(np.float64) - self.rest
        action = np.zeros(gains.shape[:2]) + self.offset
        # Written out: the rounding of a matrix product depends on the size of the batch.
        for number in range(gains.shape[2]):
            action += gains[:, :, number] * off[:, number, None]
        return np.clip(action, -1.0, 1.0).astype(np.float32), state + 1
