"""Exact maximum-entropy learning in cooperative games that fit in a table.

Notation: a game of n agents has payoffs R(a1, ..., an), an array with one axis an agent; a joint
policy is a tuple of n arrays, pi_i (A_i,), with a probability for each action. All is float64.
Values may have further axes in front (states), the same in payoffs and policies: R (..., A1, ...,
An) and pi_i (..., A_i). Maximum-entropy heterogeneous-agent mirror learning at gamma 0 is

    F(pi) = E[R] + alpha sum_i H(pi_i)                                       (soft objective)
    pi_i <- softmax(E_{a_-i ~ pi_-i}[R(., a_-i)] / alpha)                    (soft best response)

A soft best response is the only maximiser of F in pi_i, so that taking them in turn never lowers F;
policies that are soft best responses to each other are a quantal response equilibrium (QRE).
Source: Liu et al., "Maximum Entropy Heterogeneous-Agent Reinforcement Learning", ICLR 2024; QRE:
McKelvey & Palfrey, "Quantal Response Equilibria for Normal Form Games", 1995.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pkubench.envs.core.batch import FloatArray
from pkubench.errors import ConfigError

Policies = tuple[FloatArray, ...]
"""One array of probabilities an agent, (..., A_i)."""


class Equilibrium(NamedTuple):
    """Where soft best responses came to, and how close that is to a fixed point."""

    policies: Policies
    expected_return: float
    objective: float
    """The soft objective F."""
    residual: float
    """Largest distance of a probability from the soft best response's; 0 at a QRE."""
    sweeps: int
    """Sweeps over all agents that were taken."""


def softmax(values: FloatArray) -> FloatArray:
    """Return exp(values) normalised over the last axis; any finite values."""
    weights = np.exp(values - values.max(axis=-1, keepdims=True))
    normalised: FloatArray = weights / weights.sum(axis=-1, keepdims=True)
    return normalised


def entropy(policy: FloatArray) -> FloatArray:
    """Return the entropy in nats over the last axis; 0 log 0 is 0."""
    logs = np.log(np.where(policy > 0, policy, 1.0))
    summed: FloatArray = -(policy * logs).sum(axis=-1)
    return summed


def uniform_policies(payoffs: FloatArray) -> Policies:
    """Return uniform play of a game without further axes."""
    return tuple(np.full(count, 1.0 / count) for count in payoffs.shape)


def average_over(values: FloatArray, policies: Policies, agents: Iterable[int]) -> FloatArray:
    """Average over the actions of some agents, keeping their axes with length 1.

    Args:
        values: (..., A1, ..., An).
        policies: of all n agents.
        agents: whose actions are averaged out, by their own policies.
    """
    count = len(policies)
    for agent in agents:
        policy = policies[agent]
        shape = [*policy.shape[:-1], *([1] * count)]
        shape[len(shape) - count + agent] = policy.shape[-1]
        values = (values * policy.reshape(shape)).sum(axis=agent - count, keepdims=True)
    return values


def action_values(payoffs: FloatArray, policies: Policies, agent: int) -> FloatArray:
    """Return what each action of ``agent`` is worth against the others' policies, (..., A_i)."""
    others = [other for other in range(len(policies)) if other != agent]
    averaged = average_over(payoffs, policies, others)
    values: FloatArray = averaged.reshape(*averaged.shape[: averaged.ndim - len(policies)], -1)
    return values


def expected_return(payoffs: FloatArray, policies: Policies) -> float:
    """Return E[R] of a game without further axes."""
    return average_over(payoffs, policies, range(len(policies))).item()


def soft_objective(payoffs: FloatArray, policies: Policies, alpha: float) -> float:
    """Return F = E[R] + alpha times the sum of the agents' entropies."""
    entropies = sum(float(entropy(policy)) for policy in policies)
    return expected_return(payoffs, policies) + alpha * entropies


def soft_best_response(
    payoffs: FloatArray, policies: Policies, agent: int, alpha: float
) -> FloatArray:
    """Return softmax(action values / alpha), the maximiser of F in the policy of ``agent``.

    Raises:
        ConfigError: alpha is not positive.
    """
    if not alpha > 0:
        raise ConfigError(
            f"alpha must be positive, got {alpha}; small ones approach best responses"
        )
    return softmax(action_values(payoffs, policies, agent) / alpha)


def sequential_sweep(
    payoffs: FloatArray, policies: Policies, alpha: float, order: Sequence[int] | None = None
) -> Policies:
    """Give each agent in turn its soft best response to the policies as they are *then*.

    ``order`` is a permutation of the agents; None is 0, 1, ..., n - 1. F never falls.
    """
    updated = list(policies)
    for agent in range(len(policies)) if order is None else order:
        updated[agent] = soft_best_response(payoffs, tuple(updated), agent, alpha)
    return tuple(updated)


def simultaneous_sweep(payoffs: FloatArray, policies: Policies, alpha: float) -> Policies:
    """Give every agent its soft best response to the *old* policies; F may fall."""
    return tuple(soft_best_response(payoffs, policies, i, alpha) for i in range(len(policies)))


def qre_residual(payoffs: FloatArray, policies: Policies, alpha: float) -> float:
    """Return the largest |pi_i(a) - softmax(E[R | a_i = a] / alpha)| over agents and actions."""
    answers = simultaneous_sweep(payoffs, policies, alpha)
    gaps = [np.abs(p - a).max() for p, a in zip(policies, answers, strict=True)]
    return float(max(gaps))


def quantal_response_equilibrium(
    payoffs: FloatArray,
    alpha: float,
    start: Policies | None = None,
    *,
    tolerance: float = 1e-12,
    max_sweeps: int = 10_000,
) -> Equilibrium:
    """Take sequential sweeps from ``start`` (uniform if None) to a QRE.

    Ends once the residual is at most ``tolerance``, or after ``max_sweeps``: look at ``residual``.
    A game can have several equilibria; which one is found depends on the start.
    """
    policies = uniform_policies(payoffs) if start is None else start
    sweeps, residual = 0, qre_residual(payoffs, policies, alpha)
    while residual > tolerance and sweeps < max_sweeps:
        policies = sequential_sweep(payoffs, policies, alpha)
        sweeps, residual = sweeps + 1, qre_residual(payoffs, policies, alpha)
    return Equilibrium(
        policies=policies,
        expected_return=expected_return(payoffs, policies),
        objective=soft_objective(payoffs, policies, alpha),
        residual=residual,
        sweeps=sweeps,
    )


def annealed(
    payoffs: FloatArray, alphas: Sequence[float], sweeps: int, start: Policies | None = None
) -> Policies:
    """Return the policies after ``sweeps`` sequential sweeps at each temperature in turn."""
    policies = uniform_policies(payoffs) if start is None else start
    for alpha in alphas:
        for _ in range(sweeps):
            policies = sequential_sweep(payoffs, policies, alpha)
    return policies
