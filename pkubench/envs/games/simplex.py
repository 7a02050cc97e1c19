"""Matrix games by the simplex method on a dense tableau, for learners that solve thousands.

A general solver spends more time on setting up than on a game of a few dozen policies. Every
solution here carries its own proof: the row player's guarantee and the column player's must meet,
and where they do not (degenerate games can make a tableau lose digits) HiGHS solves the game again.
"""

from __future__ import annotations

import numpy as np

from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.linear_programs import Equilibrium, matrix_game
from pkubench.envs.games.payoff_units import centre, in_units, spread
from pkubench.envs.games.sums import dot, rows_dot, weighted_rows

GAP = 1e-10
"""Largest difference of both guarantees, in units of the payoffs (see ``in_units``)."""
_PIVOT = 1e-11


def simplex_game(payoff: Floats) -> Equilibrium:
    """Solve a matrix game as :func:`matrix_game` does; quicker up to about 200 policies a side.

    With all payoffs shifted above 0 the column player's program is ``max sum(z)`` subject to
    ``payoff @ z <= 1``; the duals of its optimum are the row player's strategy (Dantzig 1951).
    Columns enter by their reduced cost, and by Bland's rule once that has taken long.

    Args:
        payoff: float64 ``(rows, columns)``, what the row player wins.
    """
    rows, columns = payoff.shape
    units = in_units(payoff - centre(payoff))
    table = np.zeros((rows + 1, rows + columns + 1))
    table[:rows, :columns] = units + (1.0 - float(units.min()))
    table[:rows, columns : rows + columns] = np.eye(rows)
    table[:rows, -1] = 1.0
    table[-1, :columns] = -1.0
    basis = np.arange(columns, columns + rows)
    most = 20 * (rows + columns)
    for turn in range(most):
        costs = table[-1, :-1]
        entering = int(costs.argmin())
        if costs[entering] >= -_PIVOT:
            break
        if turn > most // 2:
            entering = int(np.flatnonzero(costs < -_PIVOT)[0])
        column = table[:rows, entering]
        usable = np.flatnonzero(column > _PIVOT)
        if not len(usable):
            break
        ratios = table[usable, -1] / column[usable]
        tied = usable[ratios <= ratios.min() + _PIVOT]
        leaving = int(tied[basis[tied].argmin()])
        table[leaving] /= table[leaving, entering]
        factors = table[:, entering].copy()
        factors[leaving] = 0.0
        table -= factors[:, None] * table[leaving]
        basis[leaving] = entering
    z = np.zeros(rows + columns)
    z[basis] = table[:rows, -1]
    x, y = np.maximum(table[-1, columns:-1], 0.0), np.maximum(z[:columns], 0.0)
    if x.sum() > 0.0 and y.sum() > 0.0:
        x, y = x / x.sum(), y / y.sum()
        gap = float(rows_dot(units, y).max() - weighted_rows(x, units).min())
        if gap <= GAP:
            return Equilibrium(dot(x, rows_dot(payoff, y)), x, y)
    return matrix_game(payoff)


def wide_game(payoff: Floats, columns: Ints | None = None) -> tuple[Equilibrium, Ints]:
    """Solve a game of few rows and many columns, most of which are never played.

    Cutting planes: the game on some columns is solved, the column that hurts its solution most is
    added, until none hurts.

    Args:
        payoff: float64 ``(rows, columns)``.
        columns: Where to begin, such as the columns that an earlier call returned.

    Returns:
        The equilibrium, and the columns that the second player uses.
    """
    if columns is None or not len(columns):
        columns = np.array([int(payoff.mean(axis=0).argmin())])
    slack = GAP * spread(payoff)
    while True:
        solution = simplex_game(payoff[:, columns])
        worth = weighted_rows(solution.x, payoff)
        worst = int(worth.argmin())
        if worth[worst] >= solution.value - slack:
            break
        if worst in columns:  # a column cannot hurt that has been reckoned with
            return matrix_game(payoff), columns
        columns = np.append(columns, worst)
    y = np.zeros(payoff.shape[1])
    y[columns] = solution.y
    return Equilibrium(solution.value, solution.x, y), columns[solution.y > 0.0]
