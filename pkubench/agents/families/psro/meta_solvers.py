"""Meta-solvers: from payoffs among policies to the distribution that the next ones respond to.

All are pure functions of the row player's payoffs in a zero-sum meta-game. Only ``nash`` and
``nash-simplex`` are equilibria; the others are common alternatives in population learning, and
PSRO's outcome depends on the choice. From equal starting points the two sides of an antisymmetric
game stay equal, so a single population uses ``solve_symmetric``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pkubench.envs.games.alpha_rank import MetaStrategy, alpha_rank, alpha_rank_symmetric
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.linear_programs import matrix_game
from pkubench.envs.games.payoff_matrices import checked_payoff
from pkubench.envs.games.simplex import simplex_game
from pkubench.errors import ConfigError, UnknownName

MetaSolver = Callable[[ArrayLike], MetaStrategy]


def nash(payoff: ArrayLike) -> MetaStrategy:
    """Return an equilibrium, by linear programming (HiGHS)."""
    solution = matrix_game(_table(payoff))
    return MetaStrategy(solution.x, solution.y)


def nash_simplex(payoff: ArrayLike) -> MetaStrategy:
    """Return an equilibrium by a dense simplex method, many times as fast on small tables.

    Where a game has several equilibria it may differ from that of :func:`nash`.
    """
    solution = simplex_game(_table(payoff))
    return MetaStrategy(solution.x, solution.y)


def uniform(payoff: ArrayLike) -> MetaStrategy:
    """Return equal weights, whatever the payoffs (fictitious self-play over populations)."""
    rows, columns = _table(payoff).shape
    return MetaStrategy(np.full(rows, 1.0 / rows), np.full(columns, 1.0 / columns))


def fictitious_play(
    payoff: ArrayLike, *, iterations: int = 1000, start: MetaStrategy | None = None
) -> MetaStrategy:
    """Return the average play of two players who best respond to each other's average (Brown 1951).

    Simultaneous moves; ties go to the lowest index. The start counts as one play. Its
    exploitability falls slowly, about as ``iterations ** -0.5``, and is biased upwards: score
    populations with :func:`nash`.

    Args:
        payoff: ``(rows, columns)``.
        iterations: Responses of each player.
        start: First play of both; uniform if None.
    """
    table = _table(payoff)
    if iterations < 1:
        raise ConfigError(f"iterations must be at least 1, got {iterations}")
    first = uniform(table) if start is None else start
    played_x, played_y = first.x.copy(), first.y.copy()
    worth_x, worth_y = table @ played_y, -(played_x @ table)
    for _ in range(iterations):
        row, column = int(worth_x.argmax()), int(worth_y.argmax())
        played_x[row] += 1.0
        played_y[column] += 1.0
        worth_x += table[:, column]
        worth_y -= table[row]
    return MetaStrategy(played_x / played_x.sum(), played_y / played_y.sum())


def fictitious_play_official(
    payoff: ArrayLike, *, iterations: int = 1000, rng: np.random.Generator | None = None
) -> MetaStrategy:
    """Return fictitious play as PSD-PSRO's released code keeps its books.

    It starts from a random mixture (independent uniform numbers, divided by their sum), and the
    average that it returns last is taken before the last response: the random mixture weighs as
    much as each of ``iterations - 1`` responses. So every policy has some weight, about one
    ``iterations``-th divided by their number, whatever it is worth.

    Args:
        payoff: ``(rows, columns)``.
        iterations: Plays of each player, the random start included.
        rng: Draws the starts; None draws the same ones at each call.
    """
    rows, columns = _table(payoff).shape
    draws = np.random.default_rng(0) if rng is None else rng
    start = MetaStrategy(_drawn(rows, draws), _drawn(columns, draws))
    return (
        start
        if iterations == 1
        else fictitious_play(payoff, iterations=iterations - 1, start=start)
    )


def fictitious_play_official_symmetric(
    payoff: ArrayLike, *, iterations: int = 1000, rng: np.random.Generator | None = None
) -> Floats:
    """Return :func:`fictitious_play_official` of one population, which responds to itself.

    Args:
        payoff: Antisymmetric ``(policies, policies)``.
        iterations: As for :func:`fictitious_play_official`.
        rng: As for :func:`fictitious_play_official`.
    """
    table = _table(payoff)
    if iterations < 1:
        raise ConfigError(f"iterations must be at least 1, got {iterations}")
    played = _drawn(len(table), np.random.default_rng(0) if rng is None else rng)
    worth = table @ played
    for _ in range(iterations - 1):
        response = int(worth.argmax())
        played[response] += 1.0
        worth += table[:, response]
    return np.asarray(played / played.sum())


def _drawn(size: int, rng: np.random.Generator) -> Floats:
    draws = rng.random(size)
    return np.asarray(draws / draws.sum())


def regret_matching(payoff: ArrayLike, *, iterations: int = 10_000) -> MetaStrategy:
    """Return the average play of regret matching in self-play (Hart and Mas-Colell 2000).

    Each plays in proportion to the positive part of its regrets ``R``, uniformly where none is
    positive, and then adds ``u - x @ u`` to ``R``. The average is within
    ``2 max|payoff| sqrt(n / iterations)`` of an equilibrium (each side).

    Args:
        payoff: ``(rows, columns)``.
        iterations: Plays of each player.
    """
    table = _table(payoff)
    if iterations < 1:
        raise ConfigError(f"iterations must be at least 1, got {iterations}")
    regrets = [np.zeros(size) for size in table.shape]
    sums = [np.zeros(size) for size in table.shape]
    for _ in range(iterations):
        x, y = (_matched(regret) for regret in regrets)
        for player, (own, worth) in enumerate(((x, table @ y), (y, -(x @ table)))):
            sums[player] += own
            regrets[player] += worth - own @ worth
    return MetaStrategy(sums[0] / iterations, sums[1] / iterations)


def _matched(regrets: Floats) -> Floats:
    positive = np.maximum(regrets, 0.0)
    total = positive.sum()
    return positive / total if total > 0.0 else np.full(len(regrets), 1.0 / len(regrets))


def projected_replicator(
    payoff: ArrayLike, *, iterations: int = 10_000, dt: float = 0.05, floor: float = 1e-6
) -> MetaStrategy:
    """Return the average of projected replicator dynamics (Lanctot et al. 2017).

    ``x <- P[x + dt x (u - x @ u) / max|payoff|]``, simultaneously for both players from uniform
    play, where ``P`` projects onto the distributions that give every policy at least ``floor``.
    Dividing by the largest payoff makes ``dt`` mean the same in every game.

    Args:
        payoff: ``(rows, columns)``.
        iterations: Steps.
        dt: Size of a step, in (0, 1).
        floor: Least probability of each policy; at most 1 over their number.
    """
    table = _table(payoff)
    if iterations < 1 or not 0.0 < dt < 1.0:
        raise ConfigError(f"need iterations >= 1 and dt in (0, 1), got {iterations} and {dt}")
    if not 0.0 <= floor <= 1.0 / max(table.shape):
        raise ConfigError(f"floor must lie in [0, {1.0 / max(table.shape):g}], got {floor}")
    table = table * (dt / (np.abs(table).max() or 1.0))
    x, y = uniform(table)
    sum_x, sum_y = x.copy(), y.copy()
    for _ in range(iterations):
        worth_x, worth_y = table @ y, -(x @ table)
        x, y = _replicated(x, worth_x, floor), _replicated(y, worth_y, floor)
        sum_x += x
        sum_y += y
    return MetaStrategy(sum_x / sum_x.sum(), sum_y / sum_y.sum())


def _replicated(own: Floats, worth: Floats, floor: float) -> Floats:
    moved = own + own * (worth - own @ worth)
    # The step preserves a sum of one, but multiplies an error in it by 1 - own @ worth: where the
    # value is negative, rounding errors would grow without bound.
    moved /= moved.sum()
    return project_to_simplex(moved, floor) if moved.min() < floor else moved


def project_to_simplex(point: Floats, floor: float = 0.0) -> Floats:
    """Return the nearest distribution (Euclidean) with no entry below ``floor``.

    ``max(point - shift, floor)`` with the one ``shift`` that makes it sum to one (Wang and
    Carreira-Perpinan 2013).
    """
    descending = np.sort(point)[::-1]
    kept = np.arange(1, len(point) + 1)
    # If the largest k entries stay above the floor, this is the shift.
    shifts = (np.cumsum(descending) - 1.0 + (len(point) - kept) * floor) / kept
    above = np.flatnonzero(descending - shifts > floor)
    # No entry stays above the floor where the floor determines the distribution.
    shift = shifts[above[-1]] if len(above) else np.inf
    return np.asarray(np.maximum(point - shift, floor))


SOLVERS: dict[str, MetaSolver] = {
    "nash": nash,
    "nash-simplex": nash_simplex,
    "fictitious-play": fictitious_play,
    "fictitious-play-official": fictitious_play_official,
    "regret-matching": regret_matching,
    "alpha-rank": alpha_rank,
    "projected-replicator": projected_replicator,
    "uniform": uniform,
}
"""Meta-solvers by their name in settings."""


def meta_solver(name: str) -> MetaSolver:
    """Return a meta-solver by name.

    Raises:
        UnknownName: No such solver.
    """
    if name not in SOLVERS:
        raise UnknownName("meta-solver", name, SOLVERS)
    return SOLVERS[name]


def solve(name: str, payoff: ArrayLike, rng: np.random.Generator | None = None) -> MetaStrategy:
    """Return the meta-strategies of two populations.

    Args:
        name: The meta-solver.
        payoff: ``(rows, columns)``, what the first population wins.
        rng: What ``fictitious-play-official`` draws its start from; the others draw nothing.

    Raises:
        UnknownName: No such solver.
    """
    solver = meta_solver(name)
    if solver is fictitious_play_official:
        return fictitious_play_official(payoff, rng=rng)
    return solver(payoff)


def solve_symmetric(name: str, payoff: ArrayLike, rng: np.random.Generator | None = None) -> Floats:
    """Return the meta-strategy of a single population, from its antisymmetric payoffs.

    Args:
        name: The meta-solver.
        payoff: ``(policies, policies)``.
        rng: As for :func:`solve`.

    Raises:
        UnknownName: No such solver.
    """
    solver = meta_solver(name)
    if solver is fictitious_play_official:
        return fictitious_play_official_symmetric(payoff, rng=rng)
    return alpha_rank_symmetric(payoff) if solver is alpha_rank else solver(payoff).x


def _table(payoff: ArrayLike) -> NDArray[np.float64]:
    return checked_payoff(payoff, "the meta-game")
