"""Behaviour policies: how a rollout chooses actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]


class Behaviour(Protocol):
    """Chooses the actions of a rollout."""

    def __call__(
        self, observations: Mapping[str, Array], masks: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Return raw actions, environment actions and log-probabilities, by agent id."""
        ...


class RecurrentBehaviour(Protocol):
    """Chooses the actions of a rollout with a hidden state per agent."""

    def __call__(
        self,
        observations: Mapping[str, Array],
        masks: Mapping[str, Array],
        hidden: Mapping[str, Array],
        first: Array,
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Return what ``Behaviour`` does, and the new hidden states, (N, units) by agent id.

        ``first`` is (N,) bool: where an episode begins, the hidden state is reset to zero.
        """
        ...


class Prepare(Protocol):
    """Turns an environment's arrays into network inputs, and normalises them."""

    def __call__(
        self,
        observations: Mapping[str, Array],
        state: Array,
        fresh: bool | Array,
        alive: Array | None = None,
    ) -> tuple[dict[str, Array], Array]:
        """Return network inputs.

        ``fresh``: whether the arrays, or (N,) which of their rows, have not been counted before.
        ``alive``: (N, agents) bool; what a dead agent observes is not counted. None: all live.
        """
        ...
