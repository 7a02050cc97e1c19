"""Nash averaging: ratings that copies of agents and of tasks do not change.

Balduzzi, Tuyls, Perolat and Graepel (2018), "Re-evaluating Evaluation". The table of results is a
zero-sum game between a player who picks an agent and one who picks the opponent (or the task). Of
its equilibria the one of largest entropy is unique, so it treats copies alike; an agent's rating is
its mean payoff against that equilibrium: 0 of all agents that are in it, less of the others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import linprog, minimize

from pkubench.envs.games.forest import Floats
from pkubench.envs.games.payoff_matrices import checked_payoff
from pkubench.envs.games.payoff_units import centre, in_units
from pkubench.envs.games.simplex import simplex_game
from pkubench.errors import PkubenchError

Bools = NDArray[np.bool_]

_IS_ONE = 0.5
"""The program of ``_supports`` has solutions of zeros and ones."""
_STEPS, _SMALL = 60, 1e-14
_FEASIBLE = 1e-9
"""How far, in units of the payoffs, an equilibrium may miss a constraint."""


class NashAverage(NamedTuple):
    """The equilibrium of largest entropy.

    Attributes:
        weights: float64 ``(rows,)``; of each row.
        opponents: float64 ``(columns,)``; of each column; the same in a symmetric game.
        ratings: float64 ``(rows,)``; mean payoff of each row against ``opponents``.
        value: What the rows win in equilibrium; 0 in a symmetric game.
    """

    weights: Floats
    opponents: Floats
    ratings: Floats
    value: float


def nash_average(payoff: ArrayLike) -> NashAverage:
    """Return the ratings of agents that meet each other.

    Args:
        payoff: Antisymmetric ``(agents, agents)``: what a row wins against a column, such as the
            log-odds of winning.

    Raises:
        GameError: The payoffs are no finite table.
    """
    table = checked_payoff(payoff, "the table of results")
    units = in_units(table)
    some = simplex_game(units).x
    weights = _only(units, units @ some > -_FEASIBLE, some > _FEASIBLE)
    if weights is None:
        weights = max_entropy(units)
    return NashAverage(weights, weights, table @ weights, 0.0)


def nash_average_of_tasks(scores: ArrayLike) -> NashAverage:
    """Return the ratings of agents on tasks: the second player picks tasks that are hard.

    Args:
        scores: ``(agents, tasks)``; higher is better, and columns have one unit.

    Raises:
        GameError: The scores are no finite table.
    """
    table = checked_payoff(scores, "the table of scores")
    shifted = table - centre(table)
    units = in_units(shifted) if np.abs(shifted).max() > 0.0 else shifted
    solution = simplex_game(units)
    value = float(solution.x @ units @ solution.y)
    good, hard = units @ solution.y - value, solution.x @ units - value
    weights = _only(value - units.T, good > -_FEASIBLE, solution.y > _FEASIBLE)
    opponents = _only(units - value, hard < _FEASIBLE, solution.x > _FEASIBLE)
    if weights is None or opponents is None:
        weights, opponents = max_entropy(value - units.T), max_entropy(units - value)
    return NashAverage(weights, opponents, table @ opponents, float(weights @ table @ opponents))


def _only(above: Floats, allowed: Bools, equations: Bools) -> Floats | None:
    """Return the only equilibrium if complementarity leaves one, else None.

    In every equilibrium weight is only where some opponent's equilibrium leaves nothing to gain
    (``allowed``), and what some equilibrium of the opponent plays is an equation (``equations``):
    if these equations have one solution, that is it.
    """
    left = np.flatnonzero(allowed)
    part = np.vstack([above[np.ix_(equations, allowed)], np.ones(len(left))])
    right = np.append(np.zeros(len(part) - 1), 1.0)
    found, _, rank, _ = np.linalg.lstsq(part, right, rcond=1e-9)
    if rank < len(left) or found.min() < -_FEASIBLE:
        return None
    weights = np.zeros(above.shape[1])
    weights[left] = np.maximum(found, 0.0)
    return np.asarray(weights / weights.sum())


def max_entropy(above: Floats) -> Floats:
    """Return the distribution of largest entropy among ``p`` with ``above @ p <= 0``.

    The maximum has weight wherever some such distribution has any, so a linear program first finds
    these places, and the constraints that hold as equations for all. What is left has an interior,
    and its dual, ``min over l of log sum exp(-above.T @ l)``, a solution, which Newton's steps find
    to rounding.

    Args:
        above: float64 ``(constraints, entries)``, of the size of 1.

    Raises:
        PkubenchError: There is no such distribution.
    """
    used, is_equation = _supports(above)
    weights = np.zeros(above.shape[1])
    if not used.any():
        raise PkubenchError("the table's equilibrium could not be found: divide it by its largest")
    part = above[:, used]
    rows = np.abs(part).max(axis=1) > 0.0
    weights[used] = _entropic(part[rows], is_equation[rows])
    return weights


def _supports(above: Floats) -> tuple[Bools, Bools]:
    """Return where a feasible distribution can have weight, and which constraints are equations.

    On the cone of ``p >= 0`` with ``above @ p <= 0`` maximise the sum of ``min(p, 1)`` and of
    ``min(-above @ p, 1)``: scaling up makes every term 0 or 1.
    """
    constraints, entries = above.shape
    count = entries + constraints
    objective = np.concatenate([np.zeros(entries), -np.ones(count)])
    eye = sparse.identity(count, format="csr")
    sides = sparse.vstack([-sparse.identity(entries), sparse.csr_array(above)], format="csr")
    solution = linprog(
        objective,
        sparse.hstack([sides, eye], format="csr"),
        np.zeros(count),
        bounds=[(0.0, None)] * entries + [(0.0, 1.0)] * count,
        method="highs",
    )
    if solution.status != 0:
        raise PkubenchError(f"the table's equilibrium could not be found: {solution.message}")
    reached = solution.x[entries:] > _IS_ONE
    return reached[:entries], ~reached[entries:]


def _entropic(above: Floats, is_equation: Bools) -> Floats:
    """Return the distribution of largest entropy where one has weight everywhere."""
    if not len(above):
        return np.full(above.shape[1], 1.0 / above.shape[1])

    def dual(multipliers: Floats) -> tuple[float, Floats]:
        weights, total = _softmax(-(multipliers @ above))
        return total, -(above @ weights)

    bounds = [(None, None) if equation else (0.0, None) for equation in is_equation]
    found = minimize(
        dual,
        np.zeros(len(above)),
        jac=True,
        bounds=bounds,
        method="L-BFGS-B",
        options={"maxiter": 5000, "ftol": 0.0, "gtol": 1e-10},
    )
    multipliers = np.asarray(found.x, np.float64)
    active = is_equation | (multipliers > 0.0)
    for _ in range(_STEPS):
        weights, _ = _softmax(-(multipliers @ above))
        gaps = above @ weights
        active |= gaps > _FEASIBLE  # an inequality that the present multipliers break
        if not active.any() or np.abs(gaps[active]).max() < _SMALL:
            break
        part = above[active]
        curvature = (part * weights) @ part.T - np.outer(gaps[active], gaps[active])
        step = np.linalg.lstsq(curvature, gaps[active], rcond=1e-12)[0]
        multipliers[active] += step
        freed = active & ~is_equation & (multipliers < 0.0)
        multipliers[freed] = 0.0
        active &= ~freed
    return _softmax(-(multipliers @ above))[0]


def _softmax(scores: Floats) -> tuple[Floats, float]:
    """Return the distribution, and the logarithm of the sum of exponentials."""
    top = float(scores.max())
    raised = np.exp(scores - top)
    total = float(raised.sum())
    return raised / total, top + float(np.log(total))
