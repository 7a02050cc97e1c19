"""Monte-Carlo returns of the episodes that end in a rollout, which may have begun before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.agents.contract import BoolArray, IntArray

Array = npt.NDArray[Any]


class Steps(NamedTuple):
    """T steps of N environments."""

    images: Array
    """(T, N, 7, 7, 3) uint8."""
    tasks: IntArray
    """(T, N)."""
    values: Array
    """(T, N) float32, the critic's at the time."""
    rewards: Array
    """(T, N) float32."""
    first: BoolArray
    """(T, N): the step begins an episode."""
    ended: BoolArray
    """(T, N): the episode terminated or was truncated."""


class Experience(NamedTuple):
    """States of episodes that ended, n in all."""

    images: Array
    """(n, 7, 7, 3) uint8."""
    tasks: IntArray
    returns: Array
    """(n,) float32, G."""
    values: Array
    """(n,) float32, the critic's when the state was visited."""
    episodes: IntArray
    """(n,) numbers of the episodes."""


def monte_carlo(length: int, last_reward: float, gamma: float) -> Array:
    """Return ``gamma^(T_end - t) r_end`` of each of ``length`` steps, (length,) float32.

    >>> monte_carlo(3, 0.5, 0.5).tolist()
    [0.125, 0.25, 0.5]
    """
    steps: Array = gamma ** np.arange(length - 1, -1, -1) * last_reward
    return steps.astype(np.float32)


class EpisodeRecorder:
    """Keeps the steps of episodes under way in each of ``num_envs`` environments."""

    def __init__(self, num_envs: int, gamma: float) -> None:
        """Start without any episode."""
        self.gamma = gamma
        self.numbers: IntArray = np.full(num_envs, -1, dtype=np.int64)
        """Each environment's present episode."""
        self.count = 0
        """Episodes begun."""
        blank = np.zeros((0, 7, 7, 3), np.uint8), np.zeros(0, np.float32)
        self.pending: list[tuple[Array, Array]] = [blank] * num_envs
        """Images and values of each environment's present episode."""

    def add(self, steps: Steps) -> tuple[Experience, IntArray]:
        """Take over a rollout.

        Returns:
            What ended in it, and the number of each step's episode, (T, N).
        """
        numbers: IntArray = np.empty(steps.first.shape, dtype=np.int64)
        for t, begins in enumerate(steps.first):
            started = np.flatnonzero(begins)
            self.numbers[started] = self.count + np.arange(len(started))
            self.count += len(started)
            numbers[t] = self.numbers
        found: list[tuple[Any, ...]] = []
        for n in range(len(self.numbers)):
            begin = 0
            for last in np.flatnonzero(steps.ended[:, n]).tolist():
                span = slice(begin, last + 1)
                images, values = self._joined(n, steps, span)
                length = len(values)
                returns = monte_carlo(length, float(steps.rewards[last, n]), self.gamma)
                task, number = steps.tasks[last, n], numbers[last, n]
                found.append(
                    (images, np.full(length, task), returns, values, np.full(length, number))
                )
                self.pending[n] = images[:0], values[:0]
                begin = last + 1
            self.pending[n] = self._joined(n, steps, slice(begin, None))
        blank = self.pending[0]
        none = np.zeros(0, np.int64)
        found = found or [(blank[0][:0], none, blank[1][:0], blank[1][:0], none)]
        return Experience(*(np.concatenate(of) for of in zip(*found, strict=True))), numbers

    def _joined(self, n: int, steps: Steps, span: slice) -> tuple[Array, Array]:
        images, values = self.pending[n]
        return (
            np.concatenate([images, steps.images[span, n]]),
            np.concatenate([values, steps.values[span, n]]),
        )

    def state(self) -> dict[str, Any]:
        """Return everything as arrays."""
        images, values = (np.concatenate(of) for of in zip(*self.pending, strict=True))
        return {
            "images": images,
            "values": values,
            "lengths": np.array([len(values) for _, values in self.pending]),
            "numbers": self.numbers.copy(),
            "count": self.count,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned."""
        cuts = np.cumsum(state["lengths"])[:-1]
        images, values = (np.split(np.array(state[name]), cuts) for name in ("images", "values"))
        self.pending = list(zip(images, values, strict=True))
        self.numbers = np.array(state["numbers"], dtype=np.int64)
        self.count = int(state["count"])
