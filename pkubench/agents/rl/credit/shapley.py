"""Exact values of games whose coalitions can be enumerated: the truth that credit is scored by.

A game of n players is the array v of the 2^n values of its coalitions: entry c is that of the
coalition whose members are the set bits of c, agent 0 the lowest.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]


def shapley_values(game: Array) -> FloatArray:
    """Return the Shapley value of each player, (n,) (Shapley 1953).

    ``sum over C without i of |C|! (n - |C| - 1)! / n! (v(C + i) - v(C))``.
    """
    n = players_of(game)
    weights = [factorial(k) * factorial(n - k - 1) / factorial(n) for k in range(n)]
    return _average(game, np.array(weights))


def banzhaf_values(game: Array) -> FloatArray:
    """Return the Banzhaf value of each player, (n,): all coalitions of the others weigh equally."""
    n = players_of(game)
    return _average(game, np.full(n, 0.5 ** (n - 1)))


def players_of(game: Array) -> int:
    """Return n.

    Raises:
        ValueError: it does not have 2^n values.
    """
    n = len(game).bit_length() - 1
    if n < 1 or len(game) != 1 << n:
        raise ValueError(f"a game of n players has 2^n values, not {len(game)}")
    return n


def expected_marginals(game: Array, members: Array, weights: Array) -> FloatArray:
    """Return each player's weighted mean of marginal contributions to given coalitions, (n,).

    Args:
        game: (2^n,).
        members: (M, n, n) bool; row i of each is a coalition, in which i itself is ignored.
        weights: (M, n), each column a distribution.
    """
    n = players_of(game)
    bits = 1 << np.arange(n)
    joined = (members.astype(np.int64) | np.eye(n, dtype=np.int64)) @ bits
    marginals = np.asarray(game, np.float64)[joined] - np.asarray(game, np.float64)[joined - bits]
    found: FloatArray = (weights * marginals).sum(0)
    return found


def shapley_of_actions(game: Array, played: Array) -> FloatArray:
    """Return the Shapley values of the game among those who took part, (B, n).

    For a team whose return is ``v`` of the agents that take part, this is each agent's exact credit
    for a joint action: that in the game ``C -> v(C and those who took part)``.

    Args:
        game: (2^n,).
        played: (B, n) bool, who took part.
    """
    n = players_of(game)
    codes = np.asarray(played, np.int64) @ (1 << np.arange(n))
    found = {int(c): shapley_values(np.asarray(game)[np.arange(1 << n) & c]) for c in set(codes)}
    return np.stack([found[int(code)] for code in codes])


def shapley_error(credit: Array, game: Array, played: Array) -> float:
    """Return the mean absolute difference of credits (B, n) from the exact ones."""
    return float(np.abs(credit - shapley_of_actions(game, played)).mean())


def _average(game: Array, weights: FloatArray) -> FloatArray:
    """Return weighted sums of marginal contributions; ``weights`` by the size of the coalition."""
    n = players_of(game)
    codes, values = np.arange(len(game)), np.asarray(game, np.float64)
    sizes = np.array([int(c).bit_count() for c in codes])
    found = np.empty(n)
    for i in range(n):
        without = codes[(codes >> i) & 1 == 0]
        gains = values[without | (1 << i)] - values[without]
        found[i] = weights[sizes[without]] @ gains
    return found
