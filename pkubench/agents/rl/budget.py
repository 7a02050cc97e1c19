"""Environment wrappers with a cost budget, for training: Saute and early termination.

Both wrap a ``BatchEnv`` and are one. The reward of the unwrapped environment is in
``info[RAW_REWARD]``, so that reported returns are of it and not of the changed reward.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import (
    Agent,
    BoolArray,
    FloatArray,
    IntArray,
    MaskedObservation,
    Outcome,
    State,
)
from pkubench.envs.core.batch import Array, BatchEnv, Info, Step
from pkubench.envs.core.wrapper import EnvWrapper
from pkubench.errors import ConfigError

RAW_REWARD = "raw_reward"
"""Key of an info: the step's reward (N,) in the unwrapped environment."""


class Budget(NamedTuple):
    """How much cost an episode may have, as Saute's agent observes it."""

    total: float
    """Discounted cost allowed in a whole episode."""
    gamma: float
    """Discount per step: the remaining budget is divided by it."""

    @staticmethod
    def of_limit(limit: float, gamma: float, horizon: int) -> Budget:
        """Return the discounted budget equivalent to a limit on the undiscounted cost.

        A cost of ``limit / horizon`` per step, discounted: ``limit (1 - gamma^T) / (1 - gamma) /
        T``.
        """
        if limit <= 0.0:
            raise ConfigError(f"Saute spends a budget: cost_limit must be positive, got {limit}")
        steps = float(horizon)
        discounted = steps if gamma == 1.0 else (1.0 - gamma**steps) / (1.0 - gamma)
        return Budget(limit * discounted / steps, gamma)

    def after(self, left: FloatArray, cost: Array) -> FloatArray:
        """Return the remaining share after a step's cost (Sootla et al. 2022)."""
        remaining: FloatArray = (left - cost / self.total) / self.gamma
        return remaining


class BudgetWrapper(EnvWrapper):
    """Wraps an environment that has a cost; changes its rewards and terminations."""

    def _change(self, step: Step) -> tuple[FloatArray, BoolArray, Info]:
        if "cost" not in step.info:
            raise ConfigError(f"{type(self.unwrapped).__name__} has no cost to keep a budget of")
        info = {**step.info, RAW_REWARD: step.rewards.sum(1)}
        rewards, terminated = self._spend(step.rewards, step.terminated, info)
        return rewards, terminated, info

    @abstractmethod
    def _spend(
        self, rewards: FloatArray, terminated: BoolArray, info: Info
    ) -> tuple[FloatArray, BoolArray]:
        """Return rewards and terminations for the learner."""


class Saute(BudgetWrapper):
    """The remaining share of the budget is observed; once spent, a step earns ``unsafe_reward``.

    The share is the last entry of every agent's observation and of the state, and starts at 1
    (Sootla et al. 2022). In a team each agent gets an equal part of ``unsafe_reward``.
    """

    def __init__(self, inner: BatchEnv, budget: Budget, unsafe_reward: float) -> None:
        """Wrap ``inner``."""
        super().__init__(inner)
        self.budget, self.unsafe_reward = budget, unsafe_reward
        self.left: FloatArray = np.ones(self.num_envs)
        self.observation_spaces = {
            agent: _longer(space, agent) for agent, space in inner.observation_spaces.items()
        }
        if inner.state_space is not None:
            self.state_space = _longer(inner.state_space, "the state")

    def _begin(self, ids: IntArray) -> None:
        self.left[ids] = 1.0

    def _spend(
        self, rewards: FloatArray, terminated: BoolArray, info: Info
    ) -> tuple[FloatArray, BoolArray]:
        self.left = self.budget.after(self.left, info["cost"])
        changed = np.where(
            (self.left > 0.0)[:, None], rewards, self.unsafe_reward / self.num_agents
        )
        return changed, terminated

    def _observe(self) -> dict[str, Array]:
        return {agent: with_share(seen, self.left) for agent, seen in self._seen.items()}

    def state(self) -> Array:
        """Return the inner environment's state and the remaining share."""
        return with_share(self.inner.state(), self.left)


class EarlyTermination(BudgetWrapper):
    """An episode ends, with no reward for its last step, once its cost exceeds the limit.

    The count restarts with every episode. OmniSafe resets it only after terminating an episode, so
    that the cost of a finished episode is missing from the next one's budget. That is not offered:
    an episode would no longer be a function of its seed and actions, by which runs are resumed.
    """

    def __init__(self, inner: BatchEnv, limit: float) -> None:
        """Wrap ``inner``."""
        super().__init__(inner)
        self.limit = limit
        self.spent: FloatArray = np.zeros(self.num_envs)

    def _begin(self, ids: IntArray) -> None:
        self.spent[ids] = 0.0

    def _spend(
        self, rewards: FloatArray, terminated: BoolArray, info: Info
    ) -> tuple[FloatArray, BoolArray]:
        self.spent = self.spent + info["cost"]
        over = self.spent > self.limit
        return np.where(over[:, None], 0.0, rewards), terminated | over


class BudgetPolicy:
    """An Agent trained under Saute: it observes costs and acts on the remaining share."""

    def __init__(self, policy: Agent, budget: Budget) -> None:
        """Wrap ``policy``, which expects the remaining share as the last observed number."""
        self.policy, self.budget = policy, budget

    def begin(self, seeds: IntArray) -> State:
        """Start episodes with the whole budget."""
        return self.policy.begin(seeds), np.ones(len(seeds))

    def act(self, observation: Any, state: State, active: BoolArray) -> tuple[Any, State]:
        """Act on the observation and the remaining share."""
        own, left = state
        if isinstance(observation, MaskedObservation):
            shared = with_share(observation.observation, left)
            seen: Any = observation._replace(observation=shared)
        else:
            seen = with_share(np.asarray(observation), left)
        actions, own = self.policy.act(seen, own, active)
        return actions, (own, left)

    def observe(self, outcome: Outcome, state: State) -> State:
        """Subtract a step's cost from the budget, where the task counts costs."""
        own, left = state
        return own, left if outcome.cost is None else self.budget.after(left, outcome.cost)


def with_share(observation: Array, left: FloatArray) -> Array:
    """Return (n, d) observations with the remaining share appended, (n, d + 1)."""
    flat = observation.reshape(len(observation), -1)
    return np.concatenate([flat, left[:, None].astype(flat.dtype)], axis=1)


def _longer(space: spaces.Space[Any], of: str) -> spaces.Box:
    if not isinstance(space, spaces.Box):
        raise ConfigError(f"Saute adds a number to Box observations, and that of {of} is {space}")
    low, high = space.low.reshape(-1), space.high.reshape(-1)
    return spaces.Box(
        np.append(low, -np.inf).astype(space.dtype),
        np.append(high, np.inf).astype(space.dtype),
        dtype=space.dtype,
    )
