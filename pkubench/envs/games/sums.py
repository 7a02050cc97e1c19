"""Products of plans and payoffs whose sums come out the same on every processor.

``@`` hands sums to OpenBLAS, whose kernels add in another order on another processor, so a game's
value would differ in its last bits. Here an element is multiplied first and then added by NumPy's
``add.reduce``, whose order depends on shapes alone: SIMD levels change neither. Every number of a
game's record is computed by these functions and by sparse products, which add one entry after the
other.
"""

from __future__ import annotations

import numpy as np

from pkubench.envs.games.forest import Floats

_ENTRIES = 1 << 15
"""Products held at once: 256 KiB, which stay in a processor's cache."""


def dot(first: Floats, second: Floats) -> float:
    """Return the sum of products of two vectors."""
    return float(np.add.reduce(first * second))


def rows_dot(rows: Floats, vector: Floats) -> Floats:
    """Return ``rows @ vector``.

    Args:
        rows: float64 ``(rows, entries)``.
        vector: float64 ``(entries,)``.

    Returns:
        float64 ``(rows,)``.
    """
    result = np.empty(len(rows))
    step = max(_ENTRIES // max(len(vector), 1), 1)
    products = np.empty((min(step, len(rows)), len(vector)))
    for first in range(0, len(rows), step):
        block = rows[first : first + step]
        held = np.multiply(block, vector, out=products[: len(block)])
        np.add.reduce(held, axis=1, out=result[first : first + step])
    return result


def weighted_rows(weights: Floats, rows: Floats) -> Floats:
    """Return ``weights @ rows``.

    Args:
        weights: float64 ``(rows,)``; rows of weight 0 are left out, so pure plans cost little.
        rows: float64 ``(rows, entries)``.

    Returns:
        float64 ``(entries,)``.
    """
    used = np.flatnonzero(weights)
    if len(used) < len(rows):
        rows, weights = rows[used], weights[used]
    result = np.zeros(rows.shape[1])
    step = max(_ENTRIES // max(rows.shape[1], 1), 1)
    products = np.empty((min(step, len(rows)), rows.shape[1]))
    for first in range(0, len(rows), step):
        block = rows[first : first + step]
        held = np.multiply(block, weights[first : first + step, None], out=products[: len(block)])
        result += np.add.reduce(held, axis=0)
    return result
