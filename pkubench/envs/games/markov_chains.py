"""Stationary distributions of Markov chains, for alpha-rank."""

from __future__ import annotations

import numpy as np

from pkubench.envs.games.forest import Floats

_PANEL = 64
"""States eliminated between two matrix products."""


def stationary(rates: Floats) -> Floats:
    """Return the stationary distribution of a Markov chain.

    Grassmann, Taskar and Heyman (1985): elimination without subtractions, so that probabilities
    many orders of magnitude apart come out accurate.

    Args:
        rates: Non-negative ``(states, states)``, from row to column, up to a common factor; the
            diagonal is ignored. The chain must have one recurrent class that holds state 0.
    """
    work = np.array(rates, np.float64)
    np.fill_diagonal(work, 0.0)
    # States are eliminated from the last to the second. Those of a panel first update each other's
    # rows and columns; the block above and left of the panel is updated by one matrix product.
    for end in range(len(work), 1, -_PANEL):
        first = max(end - _PANEL, 1)
        for state in range(end - 1, first - 1, -1):
            row, column = work[state, :state], work[:state, state]
            column /= row.sum()
            work[first:state, :state] += np.outer(column[first:], row)
            work[:first, first:state] += np.outer(column[:first], row[first:])
        work[:first, :first] += work[:first, first:end] @ work[first:end, :first]
    weights = np.zeros(len(work))
    weights[0] = 1.0
    for state in range(1, len(work)):
        weights[state] = weights[:state] @ work[:state, state]
    return np.asarray(weights / weights.sum())
