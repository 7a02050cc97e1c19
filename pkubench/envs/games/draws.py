"""Many discrete distributions in one increasing array, drawn from by one binary search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.games.forest import Floats, Ints


def running_shares(weights: Floats, group: NDArray[np.integer]) -> Floats:
    """Return running sums within each group, scaled so that each ends at exactly 1.

    A group that is never reached (no weight) is spread evenly; its draws are never made.

    Args:
        weights: Non-negative, one an outcome.
        group: 0, 0, ..., 1, 1, ...: which distribution each outcome belongs to, none left out.
    """
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    totals = np.add.reduceat(weights, starts)[group]
    sizes = np.diff(np.append(starts, len(group)))[group]
    shares = np.where(totals > 0.0, weights / np.where(totals > 0.0, totals, 1.0), 1.0 / sizes)
    running = np.cumsum(shares)
    running -= (running[starts] - shares[starts])[group]
    # From the last entry with weight on, exactly 1: what has none is then never drawn.
    index = np.arange(len(group))
    last = np.maximum.reduceat(np.where(shares > 0.0, index, -1), starts)[group]
    return np.where(index >= last, 1.0, np.minimum(running, 1.0))


def pick(cumulative: Floats, number: Ints, draws: Floats) -> Ints:
    """Draw from distributions laid one after the other.

    Args:
        cumulative: Increasing; distribution ``g`` covers the values from ``g`` to ``g + 1``.
        number: Which distribution, one a draw.
        draws: In [0, 1).

    Returns:
        Positions in ``cumulative``.
    """
    # Adding a draw just below 1 may round up to the next distribution's range.
    value = np.minimum(number + draws, np.nextafter(number + 1.0, 0.0))
    positions: Ints = np.searchsorted(cumulative, value, "right").astype(np.int64, copy=False)
    return positions
