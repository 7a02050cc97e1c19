"""Alpha-rank: policies ranked by how long an evolving population plays them.

A Markov chain over pure profiles: one population at a time, a mutant takes over with the fixation
probability of a Moran process under selection of strength ``alpha``; the stationary distribution is
the ranking (Omidshafiei et al. 2019). The formulas are those of OpenSpiel's ``egt.alpharank``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pkubench.envs.games.forest import Floats
from pkubench.envs.games.markov_chains import stationary
from pkubench.envs.games.payoff_matrices import checked_payoff
from pkubench.errors import ConfigError

MAX_PROFILES = 2_500
"""Largest Markov chain; its cost is cubic."""
EPSILON = 1e-10
"""Rate of transitions to worse policies in the limit of strong selection."""
_TIE = 1e-12
"""Payoffs closer than this, in units of the largest one, are equal up to rounding."""
_MIN_SELECTION = 1e-14


class MetaStrategy(NamedTuple):
    """A distribution over each population.

    Attributes:
        x: float64 ``(rows,)``.
        y: float64 ``(columns,)``.
    """

    x: Floats
    y: Floats


def alpha_rank(
    payoff: ArrayLike,
    *,
    alpha: float | None = None,
    population: int = 50,
    epsilon: float = EPSILON,
) -> MetaStrategy:
    """Return the marginals of alpha-rank (Omidshafiei et al. 2019) with two populations.

    A Markov chain over pairs of policies: one player at a time, drawn with its new policy from all
    ``rows + columns - 2``, switches with the probability that a mutant takes over a population of
    ``population`` individuals under selection of strength ``alpha``. Its stationary distribution
    ranks the pairs.

    Args:
        payoff: ``(rows, columns)``, at most ``MAX_PROFILES`` pairs.
        alpha: Strength of selection, in units of 1 over payoff; None is its limit, in which better
            policies always take over, equal ones half of the time, worse ones almost never.
        population: Individuals of each population, at least 2.
        epsilon: How often a worse policy takes over in the limit, in (0, 1/2).

    Raises:
        ConfigError: Too many pairs, or a setting out of its domain.
    """
    table = checked_payoff(payoff, "alpha-rank")
    rows, columns = table.shape
    takes_over = _fixation(alpha, population, float(np.abs(table).max()), epsilon)
    _check_size(table.size)
    chain = np.zeros((rows, columns, rows, columns))
    for j in range(columns):  # player 0 switches from row i to row k
        chain[:, j, :, j] = takes_over(table[None, :, j] - table[:, None, j])
    for i in range(rows):  # player 1, who minimises, switches from column j to column l
        chain[i, :, i, :] = takes_over(table[i, :, None] - table[i, None, :])
    weights = stationary(chain.reshape(table.size, table.size)).reshape(rows, columns)
    return MetaStrategy(weights.sum(axis=1), weights.sum(axis=0))


def alpha_rank_symmetric(
    payoff: ArrayLike,
    *,
    alpha: float | None = None,
    population: int = 50,
    epsilon: float = EPSILON,
) -> Floats:
    """Return alpha-rank of one population in a symmetric game.

    As :func:`alpha_rank`, but a mutant ``r`` meets residents ``s`` of its own population: their
    fitnesses differ by ``payoff[r, s] * population / (population - 1)``.

    Args:
        payoff: Antisymmetric ``(policies, policies)``.
        alpha: As for :func:`alpha_rank`.
        population: As for :func:`alpha_rank`.
        epsilon: As for :func:`alpha_rank`.
    """
    table = checked_payoff(payoff, "alpha-rank")
    _check_square(table)
    _check_size(len(table))
    takes_over = _fixation(alpha, population, float(np.abs(table).max()), epsilon)
    return stationary(takes_over(table.T * (population / (population - 1.0))))


def alpha_rank_general(payoff: ArrayLike, *, alpha: float, population: int = 50) -> Floats:
    """Return alpha-rank of one population in a symmetric game that need not be zero-sum.

    Among ``k`` mutants ``r`` in a population of ``m``, a mutant earns
    ``f_r = ((k - 1) M[r, r] + (m - k) M[r, s]) / (m - 1)`` and a resident
    ``f_s = (k M[s, r] + (m - k - 1) M[s, s]) / (m - 1)``; the mutant takes over with probability
    ``1 / (1 + sum over l < m of prod over k <= l of exp(-alpha (f_r - f_s)))``.

    Args:
        payoff: ``(policies, policies)``, what a row earns when it meets a column.
        alpha: Strength of selection; its limit is defined for zero-sum games only.
        population: Individuals, at least 2.

    Raises:
        ConfigError: As :func:`alpha_rank_symmetric`.
    """
    table = checked_payoff(payoff, "alpha-rank")
    _check_square(table)
    _check_size(len(table))
    _check_settings(alpha, population, EPSILON)
    size, same, met = population, np.diagonal(table), table.T  # met[s, r] = M[r, s]
    mutants = np.arange(1, size)[:, None, None]
    ahead = (
        (mutants - 1) * same[None, None, :]
        + (size - mutants) * met[None]
        - mutants * table[None]
        - (size - mutants - 1) * same[None, :, None]
    ) / (size - 1)
    paths = -alpha * np.cumsum(ahead, axis=0)
    top = np.maximum(paths.max(axis=0), 0.0)  # sums of exponentials overflow without it
    total = np.exp(-top) + np.exp(paths - top).sum(axis=0)
    rates = np.exp(-top) / total
    return stationary(np.maximum(rates, np.finfo(np.float64).tiny))


def _check_square(table: Floats) -> None:
    if table.shape[0] != table.shape[1]:
        raise ConfigError(f"a symmetric game has a square payoff matrix, got {table.shape}")


def _check_settings(alpha: float | None, population: int, epsilon: float) -> None:
    if alpha is not None and not 0.0 < alpha < float("inf"):
        raise ConfigError(f"alpha must be positive or None, got {alpha}")
    if population < 2:
        raise ConfigError(f"population must be at least 2, got {population}")
    if not 0.0 < epsilon < 0.5:
        raise ConfigError(f"epsilon must lie in (0, 1/2), got {epsilon}")


def _fixation(
    alpha: float | None, population: int, scale: float, epsilon: float
) -> Callable[[Floats], Floats]:
    """Return the probability that a mutant takes over, as a function of its advantage.

    ``scale`` is the largest payoff.
    """
    _check_settings(alpha, population, epsilon)

    def in_the_limit(advantage: Floats) -> Floats:
        better = np.where(advantage > 0.0, 1.0 - epsilon, epsilon)
        return np.asarray(np.where(np.abs(advantage) <= _TIE * scale, 0.5, better))

    def with_alpha(advantage: Floats) -> Floats:
        # (1 - exp(-u)) / (1 - exp(-m u)), written for u >= 0; a negative u has exp((m - 1) u)
        # times the value at -u.
        u = float(alpha or 0.0) * advantage
        size = np.maximum(np.abs(u), _MIN_SELECTION)
        rate = np.expm1(-size) / np.expm1(-population * size)
        rate = np.where(u < 0.0, rate * np.exp((population - 1) * np.minimum(u, 0.0)), rate)
        # Underflow must not make transitions impossible: the chain would be reducible.
        return np.asarray(np.maximum(rate, np.finfo(np.float64).tiny))

    return in_the_limit if alpha is None else with_alpha


def _check_size(profiles: int) -> None:
    if profiles > MAX_PROFILES:
        raise ConfigError(
            f"alpha-rank is limited to {MAX_PROFILES:,} profiles, and there are {profiles:,}; "
            "use fewer policies, or another meta-solver"
        )
