"""The linear programs of zero-sum games, solved by SciPy's HiGHS.

All are written for the row player (who maximises); the column player is the row player of the
negated transpose. HiGHS compares with fixed tolerances, so it is given payoffs ``in_units``: what
comes out is as exact for payoffs in billionths as for any. HiGHS picks no code by processor; its
next release may find another of several optima, so a value is never its objective but that of
the strategy found, added up in a fixed order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from pkubench.envs.games.errors import GameError, PlanError
from pkubench.envs.games.forest import Floats, Forest
from pkubench.envs.games.payoff_units import centre, in_units
from pkubench.envs.games.sums import weighted_rows

_TOLERANCE = 1e-10
"""What HiGHS lets a constraint be missed by, the least it takes; payoffs are in units."""


class Equilibrium(NamedTuple):
    """A Nash equilibrium of a zero-sum game.

    Attributes:
        value: What the first player wins on average.
        x: The first player's strategy: a realization plan, or a distribution in a matrix game.
        y: The second player's.
    """

    value: float
    x: Floats
    y: Floats


class HullValue(NamedTuple):
    """The best that mixtures of a population can guarantee.

    Attributes:
        value: Payoff guaranteed against every opponent of the full game.
        weights: The mixture that guarantees it, one weight a policy.
        opponent: The opponent's plan that holds every mixture of the population to it.
    """

    value: float
    weights: Floats
    opponent: Floats


def constraints(forest: Forest) -> sparse.csr_array:
    """Return ``E`` with ``E @ plan = (1, 0, ..., 0)``: the root, then one row a state."""
    states = np.arange(len(forest.starts))
    rows = np.concatenate([[0], 1 + forest.state_of[1:], 1 + states])
    columns = np.concatenate([[0], np.arange(1, forest.size), forest.parents])
    ones = np.ones(forest.size)
    values = np.concatenate([ones, -np.ones(len(states))])
    return sparse.csr_array((values, (rows, columns)), (1 + len(states), forest.size))


def matrix_game(payoff: Floats) -> Equilibrium:
    """Solve a zero-sum matrix game.

    Args:
        payoff: float64 ``(rows, columns)``, what the row player wins.
    """
    payoff = np.asarray(payoff, np.float64)
    if payoff.ndim != 2 or not payoff.size or not np.isfinite(payoff).all():
        raise PlanError(
            f"a matrix game needs a finite two-dimensional payoff matrix, got shape {payoff.shape}"
        )
    rows, columns = payoff.shape
    table = in_units(payoff - centre(payoff))
    objective = np.zeros(rows + 1)
    objective[-1] = -1.0
    solution = _solve(
        objective,
        np.hstack([-table.T, np.ones((columns, 1))]),
        np.zeros(columns),
        np.append(np.ones(rows), 0.0)[None],
        np.ones(1),
        [(0, None)] * rows + [(None, None)],
    )
    x = _distribution(solution.x[:rows])
    y = _distribution(-solution.ineqlin.marginals)
    return Equilibrium(float(x @ payoff @ y), x, y)


def solve_sequence_form(
    forests: tuple[Forest, Forest],
    payoff: sparse.csr_array,
    allowed: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None,
) -> tuple[Floats, Floats]:
    """Solve the sequence-form program of Koller, Megiddo and von Stengel (1994).

    The first plan is the primal solution; the second is the dual one of the constraints that the
    opponent's best-response values satisfy.

    Args:
        forests: Both players'.
        payoff: What player 0 wins, ``(sequences, sequences)``.
        allowed: The sequences that each player may use; None allows all. Below an allowed one
            there is an allowed one at every state.

    Returns:
        Both plans, projected onto the constraints (see :meth:`Forest.behaviour`).
    """
    mine, theirs = forests
    own = constraints(mine)
    other = constraints(theirs)
    objective = np.zeros(mine.size + other.shape[0])
    objective[mine.size] = -1.0
    right = np.zeros(own.shape[0])
    right[0] = 1.0
    above = sparse.hstack([-_in_units(payoff).T, other.T], format="csr")
    kept = np.arange(theirs.size)
    most: list[int | None] = [None] * mine.size
    if allowed is not None:  # the second player's other sequences are no constraints
        kept = np.flatnonzero(allowed[1])
        above, most = above[kept], [None if use else 0 for use in allowed[0].tolist()]
    solution = _solve(
        objective,
        above,
        np.zeros(len(kept)),
        sparse.hstack([own, sparse.csr_array((own.shape[0], other.shape[0]))], format="csr"),
        right,
        [*((0, high) for high in most), *([(None, None)] * other.shape[0])],
    )
    x = mine.plan(mine.behaviour(solution.x[: mine.size]))
    held = np.zeros(theirs.size)
    held[kept] = -solution.ineqlin.marginals
    y = theirs.plan(theirs.behaviour(held))
    return x, y


def hull_value(gains: Floats, opponent: Forest) -> HullValue:
    """Return the value of the game in which one player may only mix given policies.

    ``max over weights of min over the opponent's plans z of weights @ gains @ z``; by duality the
    inner minimum is the opponent's best-response program (PSD-PSRO, population exploitability).

    Args:
        gains: float64 ``(policies, opponent sequences)``, what each policy makes each sequence of
            the opponent worth to the player: ``plans @ A`` for player 0.
        opponent: The opponent's forest.
    """
    policies = len(gains)
    other = constraints(opponent)
    objective = np.zeros(policies + other.shape[0])
    objective[policies] = -1.0
    equality = np.zeros((1, len(objective)))
    equality[0, :policies] = 1.0
    solution = _solve(
        objective,
        sparse.hstack([sparse.csr_array(-in_units(gains).T), other.T], format="csr"),
        np.zeros(opponent.size),
        sparse.csr_array(equality),
        np.ones(1),
        [(0, None)] * policies + [(None, None)] * other.shape[0],
    )
    weights = _distribution(solution.x[:policies])
    # The guarantee of exactly these weights, by an exact sweep instead of the solver's objective:
    # a lower bound of the optimum that is tight to rounding.
    value = -float(opponent.best(-weighted_rows(weights, gains))[0])
    return HullValue(value, weights, opponent.plan(opponent.behaviour(-solution.ineqlin.marginals)))


def _in_units(payoff: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array((in_units(payoff.data), payoff.indices, payoff.indptr), payoff.shape)


def _solve(
    objective: Floats,
    a_ub: Any,
    b_ub: Floats,
    a_eq: Any,
    b_eq: Floats,
    bounds: list[tuple[float | None, float | None]],
) -> Any:
    options = {
        "primal_feasibility_tolerance": _TOLERANCE,
        "dual_feasibility_tolerance": _TOLERANCE,
    }
    solution = linprog(
        objective, a_ub, b_ub, a_eq, b_eq, bounds=bounds, method="highs", options=options
    )
    if solution.status != 0:
        raise GameError(
            f"the linear program could not be solved (HiGHS: {solution.message.strip()}); "
            "payoffs of very different sizes in one game are the usual reason"
        )
    return solution


def _distribution(weights: Floats) -> Floats:
    clipped = np.clip(weights, 0.0, None)
    total = float(clipped.sum())
    if not total > 0.0:
        return np.full(len(weights), 1.0 / len(weights))
    return np.asarray(clipped / total, np.float64)
