"""Saute: the remaining cost budget is part of the observation (Sootla et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pkubench.agents.components import register
from pkubench.agents.rl.budget import Budget, Saute
from pkubench.agents.rl.constraints.base import CostConstraint, LimitedCost
from pkubench.agents.settings import check_domains
from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError


@register("saute")
@dataclass(frozen=True, slots=True, kw_only=True)
class SauteBudget(LimitedCost):
    """The remaining budget is observed, and rewards are replaced once it is spent."""

    observed: ClassVar[int] = 1

    saute_gamma: float = 0.999
    """Discount of the budget per step."""
    unsafe_reward: float = -1.0
    """Reward of a step without remaining budget."""

    def __post_init__(self) -> None:
        """Check the domains."""
        LimitedCost.__post_init__(self)
        check_domains(self, shares=("saute_gamma",), positive=("saute_gamma",))

    def start(self) -> CostConstraint | None:
        """Return None: the environment enforces the constraint."""
        return None

    def wrap(self, env: BatchEnv) -> BatchEnv:
        """Return ``env`` with the budget in its observations and rewards."""
        if env.max_episode_steps is None:
            raise ConfigError(
                "Saute spreads its budget over a time limit, and the environment has none"
            )
        budget = Budget.of_limit(self.cost_limit, self.saute_gamma, env.max_episode_steps)
        return Saute(env, budget, self.unsafe_reward)
