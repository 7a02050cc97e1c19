"""Random cooperative Markov games small enough that every expectation is a sum, in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TabularGame:
    """One shared reward; agent k has ``actions[k]`` actions and sees the state."""

    reward: Floats
    """(S, A1, ..., An)."""
    transition: Floats
    """(S, A1, ..., An, S), rows of the last axis sum to 1."""
    start: Floats
    """(S,)."""
    gamma: float

    @staticmethod
    def random(seed: int, states: int, actions: Sequence[int], gamma: float) -> TabularGame:
        """Draw a game with rewards in [-1, 1] and sparse-ish transitions."""
        rng = np.random.default_rng(seed)
        shape = (states, *actions)
        return TabularGame(
            rng.uniform(-1.0, 1.0, shape),
            rng.dirichlet(np.full(states, 0.3), shape),
            rng.dirichlet(np.ones(states)),
            gamma,
        )

    @property
    def states(self) -> int:
        return len(self.start)

    @property
    def actions(self) -> tuple[int, ...]:
        return self.reward.shape[1:]

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(range(1, self.reward.ndim))

    def joint(self, policies: Sequence[Floats]) -> Floats:
        """Return pi(a|s) as (S, A1, ..., An) from one table (S, Ak) per agent."""
        table = np.ones(self.reward.shape)
        for k, policy in enumerate(policies):
            table = table * along(policy, k, len(policies))
        return table

    def value(self, policies: Sequence[Floats]) -> Floats:
        """Return V (S,) from the Bellman equations."""
        pi = self.joint(policies)
        reward = (pi * self.reward).sum(self.axes)
        moves = (pi[..., None] * self.transition).sum(self.axes)
        return np.linalg.solve(np.eye(self.states) - self.gamma * moves, reward)

    def q(self, policies: Sequence[Floats]) -> Floats:
        """Return Q(s, a), (S, A1, ..., An)."""
        q: Floats = self.reward + self.gamma * self.transition @ self.value(policies)
        return q

    def advantage(self, policies: Sequence[Floats]) -> Floats:
        """Return A(s, a) = Q(s, a) - V(s)."""
        value = self.value(policies).reshape(-1, *[1] * len(self.actions))
        difference: Floats = self.q(policies) - value
        return difference

    def objective(self, policies: Sequence[Floats]) -> float:
        """Return J, the expected discounted return from the start."""
        return float(self.start @ self.value(policies))

    def visits(self, policies: Sequence[Floats]) -> Floats:
        """Return the discounted state distribution (S,), which sums to 1."""
        moves = (self.joint(policies)[..., None] * self.transition).sum(self.axes)
        matrix = np.eye(self.states) - self.gamma * moves.T
        return (1.0 - self.gamma) * np.linalg.solve(matrix, self.start)

    def partial_q(self, policies: Sequence[Floats], acted: Sequence[int]) -> Floats:
        """Return Q^J(s, a^J): Q averaged over the agents that have not acted, axes kept."""
        q = self.q(policies)
        for k in range(len(policies)):
            if k not in acted:
                q = (q * along(policies[k], k, len(policies))).sum(k + 1, keepdims=True)
        return q

    def rows(self) -> Floats:
        """Return every (state, joint action), (S * A1 * ... * An, 1 + n) int64."""
        ranges = [range(n) for n in self.reward.shape]
        return np.array(list(itertools.product(*ranges)), dtype=np.int64)  # type: ignore[return-value]

    def upper_bound(self) -> float:
        """Return the value of the best joint policy, by value iteration."""
        value = np.zeros(self.states)
        for _ in range(math.ceil(math.log(1e-9) / math.log(self.gamma))):
            q = self.reward + self.gamma * self.transition @ value
            value = q.reshape(self.states, -1).max(1)
        return float(self.start @ value)


def along(policy: Floats, k: int, agents: int) -> Floats:
    """Return agent k's table (S, A) shaped to broadcast over (S, A1, ..., An)."""
    shape = [1] * (agents + 1)
    shape[0], shape[k + 1] = policy.shape
    return policy.reshape(shape)


def random_policies(seed: int, game: TabularGame) -> list[Floats]:
    """Return one random table (S, Ak) per agent."""
    rng = np.random.default_rng(seed)
    return [rng.dirichlet(np.ones(n), game.states) for n in game.actions]
