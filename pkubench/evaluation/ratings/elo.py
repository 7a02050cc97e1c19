"""Elo ratings, and what they leave out: the cyclic part of a table of results.

The log-odds ``A`` of winning are antisymmetric. Their combinatorial Hodge decomposition is
``A[i, j] = r[i] - r[j] + C[i, j]``, where ``r`` are the means of the rows and the rows of ``C``
have the sum 0: ratings predict the first part and cannot say anything of the second, in which
agents beat each other in circles. mElo (Balduzzi et al. 2018) adds ``c[i]' Omega c[j]`` with a
vector of ``2 k`` numbers for each agent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pkubench.envs.games.forest import Floats
from pkubench.envs.games.payoff_matrices import checked_payoff, is_antisymmetric
from pkubench.errors import RecordError

POINTS = 400.0 / np.log(10.0)
"""Elo points of one unit of log-odds: 400 points are odds of 10 to 1."""
LEAST = 1e-3
"""Shares of wins are clipped to [LEAST, 1 - LEAST]: the log-odds of 0 and 1 are infinite."""
_STEPS, _SMALL = 200, 1e-13


class Hodge(NamedTuple):
    """A table of results as ratings and a cyclic part.

    Attributes:
        ratings: float64 ``(agents,)``; means of the rows.
        cyclic: float64 ``(agents, agents)``; what is left, antisymmetric, rows of sum 0.
        share: Sum of squares of the cyclic part over that of the table, in [0, 1]: 0 if ratings
            explain all, 1 if nothing; 0 of a table of zeros.
    """

    ratings: Floats
    cyclic: Floats
    share: float


def log_odds(wins: ArrayLike, *, least: float = LEAST) -> Floats:
    """Return the log-odds of shares of wins.

    Args:
        wins: ``(agents, agents)`` in [0, 1]; ``wins[i, j] + wins[j, i] == 1``, draws count half.
        least: Shares are clipped to ``[least, 1 - least]``.

    Raises:
        GameError, RecordError: It is no table of shares.
    """
    table = checked_payoff(wins, "the shares of wins")
    if table.min() < 0.0 or table.max() > 1.0 or not is_antisymmetric(table - 0.5):
        raise RecordError(
            "shares of wins lie in [0, 1], and what i wins against j and j against i sum to 1"
        )
    clipped = np.clip(table, least, 1.0 - least)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def hodge(payoff: ArrayLike) -> Hodge:
    """Return the combinatorial Hodge decomposition.

    Args:
        payoff: Antisymmetric ``(agents, agents)``.
    """
    table = checked_payoff(payoff, "the table of results")
    ratings = table.mean(axis=1)
    cyclic = table - (ratings[:, None] - ratings[None, :])
    total = float((table**2).sum())
    share = min(float((cyclic**2).sum()) / total, 1.0) if total > 0.0 else 0.0
    return Hodge(ratings, cyclic, share)


def elo(wins: ArrayLike, *, least: float = LEAST) -> Floats:
    """Return the ratings of largest likelihood, in Elo points of mean 0.

    Each pair has met equally often. Newton's method on ``sum over i, j of wins[i, j] log s(r[i] -
    r[j])`` with the logistic function ``s`` (Bradley and Terry 1952).

    Args:
        wins: As :func:`log_odds`.
        least: As :func:`log_odds`: of an agent that wins always no finite rating is likeliest.

    Returns:
        float64 ``(agents,)``.
    """
    table = np.clip(checked_payoff(wins, "the shares of wins"), least, 1.0 - least)
    agents = len(table)
    ratings = hodge(log_odds(table, least=least)).ratings.copy()
    for _ in range(_STEPS):
        expected = _logistic(ratings[:, None] - ratings[None, :])
        slopes = (table - expected).sum(axis=1)
        if np.abs(slopes).max() < _SMALL * agents:
            break
        curvature = -expected * (1.0 - expected)
        np.fill_diagonal(curvature, 0.0)
        np.fill_diagonal(curvature, -curvature.sum(axis=1))
        # A constant changes no likelihood: fix the mean, which makes the matrix regular.
        step = np.linalg.solve(curvature + 1.0 / agents, slopes)
        largest = float(np.abs(step).max())
        ratings += step * min(1.0, 2.0 / largest) if largest > 0.0 else step
    return np.asarray(POINTS * (ratings - ratings.mean()))


def melo_vectors(cyclic: ArrayLike, pairs: int = 1) -> Floats:
    """Return the vectors of mElo that predict a cyclic part best (least squares).

    Args:
        cyclic: Antisymmetric ``(agents, agents)``, such as ``Hodge.cyclic``.
        pairs: Pairs of numbers for each agent, ``k``.

    Returns:
        float64 ``(agents, 2 k)``: ``c`` with ``c @ Omega @ c.T`` near ``cyclic``; see
        :func:`omega`. Defined up to a rotation of each pair.
    """
    table = checked_payoff(cyclic, "the cyclic part")
    # A real antisymmetric matrix times i is Hermitian: eigenvalues w and -w of a plane each.
    sizes, planes = np.linalg.eigh(1j * table)
    vectors = np.zeros((len(table), 2 * pairs))
    for pair in range(min(pairs, len(table) // 2)):
        size = float(sizes[-1 - pair])
        plane = planes[:, -1 - pair] * np.sqrt(2.0 * max(size, 0.0))
        vectors[:, 2 * pair], vectors[:, 2 * pair + 1] = plane.real, -plane.imag
    return vectors


def omega(pairs: int) -> Floats:
    """Return mElo's antisymmetric matrix, blocks of ``[[0, 1], [-1, 0]]``, ``(2 k, 2 k)``."""
    return np.kron(np.eye(pairs), np.array([[0.0, 1.0], [-1.0, 0.0]]))


def melo_update(
    ratings: tuple[float, float],
    vectors: tuple[Floats, Floats],
    won: float,
    *,
    rating_rate: float,
    vector_rate: float,
) -> tuple[tuple[float, float], tuple[Floats, Floats]]:
    """Return both agents' ratings and vectors after a game (mElo's online rule).

    Both vectors move by the old values of the other. Vectors of zeros never move: start them at
    random.

    Args:
        ratings: Of both, in log-odds.
        vectors: Of both, ``(2 k,)`` each.
        won: 1 if the first won, 0 if the second did, 1/2 for a draw.
        rating_rate: Step of the ratings.
        vector_rate: Step of the vectors.
    """
    (mine, theirs), (own, other) = ratings, vectors
    turned = omega(len(own) // 2)
    missed = won - float(_logistic(np.asarray(mine - theirs + own @ turned @ other)))
    moved = rating_rate * missed
    return (mine + moved, theirs - moved), (
        own + vector_rate * missed * (turned @ other),
        other - vector_rate * missed * (turned @ own),
    )


def _logistic(odds: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * odds)))
