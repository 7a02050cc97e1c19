"""Pieces of sequences, over which recurrent networks are trained (truncated backpropagation)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


class Chunks(NamedTuple):
    """Where the steps of K = ceil(T / length) chunks of N sequences are in arrays (T, N, ...).

    ``array[steps, envs]`` is (length, K N, ...): chunk by chunk, each with all sequences. The last
    chunk is padded by repetitions of the last step, which do not ``exist``.
    """

    steps: IntArray
    """(length, K N)."""
    envs: IntArray
    """(K N,)."""
    exists: npt.NDArray[np.bool_]
    """(length, K N)."""

    @staticmethod
    def of(steps: int, envs: int, length: int) -> Chunks:
        """Return the chunks of ``envs`` sequences of ``steps`` steps."""
        begins = np.repeat(np.arange(0, steps, length), envs)
        places = np.arange(length)[:, None] + begins
        columns = np.tile(np.arange(envs), len(begins) // envs)
        return Chunks(np.minimum(places, steps - 1), columns, places < steps)

    def starts(self, hidden: Any, states: Any) -> list[Any]:
        """Return the hidden states (N, units) before each chunk.

        Args:
            hidden: (N, units), before the first step.
            states: (T, N, units), after each step.
        """
        begins = self.steps[0].reshape(-1, len(hidden))[:, 0]
        return [hidden, *(states[begin - 1] for begin in begins[1:].tolist())]
