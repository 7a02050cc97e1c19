"""Exact soft policy iteration of several agents in Markov games that fit in a table.

The theory behind HASAC without networks or samples. For a joint policy pi, temperature alpha and
discount gamma,

    V(s)                  = E[R + alpha sum_i H(pi_i(.|s)) + gamma V(s')]            (soft value)
    Q(s, a)               = R(s, a) + gamma E[V(s')]                                 (soft Q)
    Q^M(s, a^M)           = E_{a^-M ~ pi}[Q(s, a) - alpha sum_{i not in M} log pi_i] (of agents M)
    A^{M, i}(s, a^M, a_i) = Q^{M + i}(s, a^M, a_i) - Q^M(s, a^M)                     (advantage)

so that Q^N = Q, Q^{} = V, and the advantages of any order of the agents add up to Q - V. One
improvement visits the agents in an order i_1, ..., i_n and gives each

    pi_new_{i_m}(.|s) ~ exp(E_{a^J ~ pi_new}[Q^{J + i_m}(s, a^J, .)] / alpha),  J = i_1 ... i_{m-1}.

The soft values then rise in every state, and fixed points are quantal response equilibria.
Source: Liu et al., "Maximum Entropy Heterogeneous-Agent Reinforcement Learning", ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.diagnostics.equilibria import (
    Policies,
    action_values,
    average_over,
    entropy,
    softmax,
)
from pkubench.errors import ConfigError


class MarkovGame(NamedTuple):
    """A cooperative Markov game of n agents and S states."""

    payoffs: FloatArray
    """R(s, a1, ..., an), (S, A1, ..., An)."""
    transitions: FloatArray
    """P(s' | s, a1, ..., an), (S, A1, ..., An, S); may sum to less than 1 where the game ends."""
    gamma: float
    """Discount in [0, 1)."""


class SoftValues(NamedTuple):
    """The soft values of a joint policy."""

    q: FloatArray
    """(S, A1, ..., An)."""
    v: FloatArray
    """(S,)."""


def evaluate(game: MarkovGame, policies: Policies, alpha: float) -> SoftValues:
    """Solve the soft Bellman equations of a joint policy, pi_i (S, A_i), exactly.

    Raises:
        ConfigError: gamma is outside [0, 1).
    """
    if not 0 <= game.gamma < 1:
        raise ConfigError(f"gamma must lie in [0, 1), got {game.gamma}")
    everyone = range(len(policies))
    states = len(game.payoffs)
    rewards = average_over(game.payoffs, policies, everyone).reshape(states)
    rewards = rewards + alpha * sum(entropy(policy) for policy in policies)
    moved = np.moveaxis(game.transitions, -1, 0)  # (S', S, A1, ..., An)
    follows = average_over(moved, policies, everyone).reshape(states, states).T
    v = np.asarray(np.linalg.solve(np.eye(states) - game.gamma * follows, rewards), np.float64)
    return SoftValues(q=game.payoffs + game.gamma * game.transitions @ v, v=v)


def subset_values(
    q: FloatArray, policies: Policies, members: Sequence[int], alpha: float
) -> FloatArray:
    """Return Q^M of the agents ``members``, with axes of length 1 for all others.

    Args:
        q: (S, A1, ..., An), the soft Q of ``policies``.
        policies: of all agents, pi_i (S, A_i).
        members: M, in any order.
        alpha: temperature.
    """
    rest = [agent for agent in range(len(policies)) if agent not in members]
    bonus = alpha * sum(entropy(policies[agent]) for agent in rest)
    values: FloatArray = average_over(q, policies, rest) + np.reshape(
        bonus, (-1, *([1] * len(policies)))
    )
    return values


def local_advantage(
    q: FloatArray, policies: Policies, earlier: Sequence[int], agent: int, alpha: float
) -> FloatArray:
    """Return A^{M, i}: what ``agent`` adds after the agents ``earlier`` have chosen.

    Has the axes (S, A1, ..., An), of length 1 for agents that are neither.
    """
    with_agent = subset_values(q, policies, [*earlier, agent], alpha)
    return with_agent - subset_values(q, policies, earlier, alpha)


def improve(
    q: FloatArray, policies: Policies, alpha: float, order: Sequence[int] | None = None
) -> Policies:
    """Improve the agents one after another on the soft Q of the *old* joint policy.

    Each agent averages over the new policies of those before it and the old ones of those after it;
    the entropies of the latter shift its values by a constant, which a softmax does not see.
    """
    updated = list(policies)
    for agent in range(len(policies)) if order is None else order:
        updated[agent] = softmax(action_values(q, tuple(updated), agent) / alpha)
    return tuple(updated)


def qre_residual(game: MarkovGame, policies: Policies, alpha: float) -> float:
    """Return the largest |pi_i(a|s) - softmax(E_{a_-i ~ pi}[Q(s, .)] / alpha)|; 0 at a QRE."""
    q = evaluate(game, policies, alpha).q
    gaps = [
        np.abs(policy - softmax(action_values(q, policies, agent) / alpha)).max()
        for agent, policy in enumerate(policies)
    ]
    return float(max(gaps))
