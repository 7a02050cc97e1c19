"""Exact solution of constrained Markov decision processes that fit in a table.

Notation: S states, A actions, H steps at most, no discount. An episode starts in s ~ mu, action a
in state s earns r(s, a), costs c(s, a) and leads to s' with P(s' | s, a); what is missing to 1 ends
it. A policy pi_t(a | s) may depend on the step t and draw its actions by lot. Its occupancy
x_t(s, a) is the chance to be in s at step t and to take a there, and turns the problem

    maximise E[sum r] subject to E[sum c] <= d                                (constrained MDP)

into a linear program, because return and cost are linear in x (Altman, "Constrained Markov Decision
Processes", 1999, chapter 3):

    maximise   sum x_t(s, a) r(s, a)
    subject to sum_a x_0(s, a)  = mu(s),
               sum_a x_t(s', a) = sum_{s, a} x_{t-1}(s, a) P(s' | s, a)       for t = 1 ... H - 1,
               sum x_t(s, a) c(s, a) <= d,  x >= 0,         pi_t(a | s) = x_t(s, a) / x_t(s).

The dual variable of the cost row is the Lagrange multiplier lambda: what one more unit of cost
would earn, and the weight at which some optimum of r - lambda c, free of any limit, is optimal
within the limit. A vertex of the program takes more than one action in at most one pair (t, s):
one constraint needs one coin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from pkubench.envs.core.batch import FloatArray
from pkubench.errors import ConfigError

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ConstrainedMDP:
    """A constrained Markov decision process; all arrays are float64."""

    rewards: FloatArray
    """r(s, a), (S, A)."""
    costs: FloatArray
    """c(s, a), (S, A)."""
    transitions: FloatArray
    """P(s' | s, a), (S, A, S); rows sum to 1, or to less where the episode ends."""
    start: FloatArray
    """mu, (S,)."""
    horizon: int
    """H, steps at most."""

    def __post_init__(self) -> None:
        """Check the shapes and probabilities."""
        states, actions = self.rewards.shape
        for name, array, shape in (
            ("costs", self.costs, (states, actions)),
            ("transitions", self.transitions, (states, actions, states)),
            ("start", self.start, (states,)),
        ):
            if array.shape != shape:
                raise ConfigError(f"{name} has shape {array.shape}, wanted {shape}")
        leaves = self.transitions.sum(axis=-1)
        if (self.transitions < 0).any() or (leaves > 1 + _TOLERANCE).any():
            raise ConfigError("transitions must be probabilities that sum to at most 1")
        if (self.start < 0).any() or abs(self.start.sum() - 1) > _TOLERANCE:
            raise ConfigError(f"start must be a distribution, it sums to {self.start.sum():.6g}")
        if self.horizon < 1:
            raise ConfigError(f"horizon must be at least 1, got {self.horizon}")


class Evaluation(NamedTuple):
    """What a policy gets, exactly."""

    value: float
    """Expected return of an episode."""
    cost: float
    """Expected cost of an episode."""
    occupancy: FloatArray
    """x_t(s, a), (H, S, A)."""


class Solution(NamedTuple):
    """The best policy within a cost limit."""

    value: float
    """Expected return of an episode."""
    cost: float
    """Expected cost of an episode; the limit itself where the limit binds."""
    multiplier: float
    """Lagrange multiplier of the limit; 0 where the limit does not bind."""
    policy: FloatArray
    """pi_t(a | s), (H, S, A); uniform where the policy never comes."""
    occupancy: FloatArray
    """x_t(s, a), (H, S, A)."""

    @property
    def coins(self) -> int:
        """At how many (step, state) that it comes to the policy takes more than one action."""
        return int(((self.occupancy > _TOLERANCE).sum(axis=-1) > 1).sum())


def evaluate(model: ConstrainedMDP, policy: FloatArray) -> Evaluation:
    """Return what a policy gets.

    Args:
        model: the process.
        policy: probabilities of the actions, (S, A), or (H, S, A) where they depend on the step.

    Raises:
        ConfigError: it has another shape or is not a distribution over actions.
    """
    shape = (model.horizon, *model.rewards.shape)
    if policy.shape not in (shape, shape[1:]):
        raise ConfigError(f"policy has shape {policy.shape}, wanted {shape[1:]} or {shape}")
    if (policy < 0).any() or (np.abs(policy.sum(axis=-1) - 1) > 1e-6).any():
        raise ConfigError("the policy's probabilities must sum to 1 over the actions")
    occupancy = np.zeros(shape)
    here = model.start
    for step, chances in enumerate(np.broadcast_to(policy, shape)):
        occupancy[step] = here[:, None] * chances
        here = np.einsum("sa,sat->t", occupancy[step], model.transitions)
    return Evaluation(
        value=float((occupancy * model.rewards).sum()),
        cost=float((occupancy * model.costs).sum()),
        occupancy=occupancy,
    )


def solve(model: ConstrainedMDP, cost_limit: float = math.inf) -> Solution:
    """Return the best policy whose expected cost is at most ``cost_limit`` (infinity: no limit).

    Value and cost are computed again from the policy, so they hold for it to rounding.

    Raises:
        ConfigError: no policy keeps the limit; the message says how little cost is possible.
    """
    size = model.horizon * model.rewards.size
    flows, starts = _flows(model)
    costs = np.tile(model.costs.ravel(), model.horizon)
    is_limited = math.isfinite(cost_limit)
    found = linprog(
        -np.tile(model.rewards.ravel(), model.horizon),
        A_ub=costs[None] if is_limited else None,
        b_ub=[cost_limit] if is_limited else None,
        A_eq=flows,
        b_eq=starts,
        bounds=(0, None),
        method="highs-ds",  # the simplex ends at a vertex, which needs one coin at most
    )
    if not found.success:
        least = linprog(costs, A_eq=flows, b_eq=starts, bounds=(0, None), method="highs-ds")
        raise ConfigError(
            f"no policy keeps the cost limit {cost_limit:g}: the least expected cost is "
            f"{least.fun:.6g} ({found.message})"
        )
    taken = np.maximum(found.x, 0.0).reshape(model.horizon, *model.rewards.shape)
    visits = taken.sum(axis=-1, keepdims=True)
    assert taken.size == size
    even = np.full_like(taken, 1.0 / taken.shape[-1])
    policy = np.divide(taken, visits, out=even, where=visits > _TOLERANCE)
    value, cost, occupancy = evaluate(model, policy)
    multiplier = -float(found.ineqlin.marginals[0]) if is_limited else 0.0
    return Solution(value, cost, max(multiplier, 0.0), policy, occupancy)


def _flows(model: ConstrainedMDP) -> tuple[sparse.csr_array, FloatArray]:
    """Return the rows that make x an occupancy, one a (step, state), and their right side."""
    states, actions = model.rewards.shape
    leaving = sparse.kron(sparse.eye_array(states), np.ones((1, actions)))  # (S, S A)
    coming = sparse.csr_array(model.transitions.reshape(states * actions, states).T)
    steps = model.horizon
    flows = sparse.kron(sparse.eye_array(steps), leaving) - sparse.kron(
        sparse.eye_array(steps, k=-1), coming
    )
    right = np.zeros((steps, states))
    right[0] = model.start
    return flows.tocsr(), right.ravel()
