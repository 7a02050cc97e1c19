"""Agents that the memory environments bring along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pkubench.envs.core.batch import Array, BoolArray
from pkubench.envs.core.seeding import IntArray


class TableAgent:
    """Does the same whenever it sees the same: one action for each one-hot observation."""

    def __init__(self, actions: Sequence[int] | IntArray) -> None:
        """Act by ``actions``, one for each entry of the observation."""
        self.actions = np.asarray(actions, dtype=np.int64)

    def begin(self, seeds: IntArray) -> None:
        """Return None: no memory, and no randomness."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[IntArray, None]:
        """Return actions (episodes,) of observations (episodes, entries)."""
        return self.actions[observation.argmax(axis=1)], None
