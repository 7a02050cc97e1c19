"""Numbers as bins, dimension by dimension, as the Trajectory Transformer reads and writes them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_BEYOND = np.finfo(np.float32).max
"""An edge that no number reaches."""


class Discretiser(NamedTuple):
    """N bins in each of D dimensions, of equal numbers of data.

    Thresholds are the sorted data's every ceil(M / N)-th value and the maximum; a bin stands for
    its middle. Where a dimension has at most N different values (one-hot entries, discrete actions,
    rewards of 0 and 1), they are the bins, exactly; the published code would return values between
    them.
    """

    edges: Array
    """(D, N - 1) float32 ascending: a number's bin is how many of them it has reached."""
    values: Array
    """(D, N) float32: the number that stands for a bin."""

    @staticmethod
    def of(data: Array, bins: int) -> Discretiser:
        """Return the bins of data (M, D) float32."""
        dimensions = data.shape[1]
        edges = np.full((dimensions, bins - 1), _BEYOND, np.float32)
        values = np.zeros((dimensions, bins), np.float32)
        for d in range(dimensions):
            ordered = np.sort(data[:, d])
            known = np.unique(ordered)
            if len(known) <= bins:
                middles, inner = known, (known[1:] + known[:-1]) / 2
            else:
                step = -(-len(ordered) // bins)
                thresholds = np.append(ordered[::step], ordered[-1])
                middles, inner = (thresholds[1:] + thresholds[:-1]) / 2, thresholds[1:-1]
            edges[d, : len(inner)] = inner
            values[d, : len(middles)] = middles
            values[d, len(middles) :] = middles[-1]
        return Discretiser(edges, values)

    def encode(self, data: Array) -> Array:
        """Return the bins (M, D) int64 of data (M, D)."""
        columns = zip(self.edges, data.T.astype(np.float32), strict=True)
        found = [np.searchsorted(edges, column, side="right") for edges, column in columns]
        return np.stack(found, 1).astype(np.int64)

    def decode(self, bins: Array) -> Array:
        """Return the numbers (M, D) float32 of bins (M, D)."""
        chosen: Array = self.values[np.arange(len(self.values)), bins]
        return chosen
