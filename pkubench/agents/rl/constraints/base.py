"""What a learner asks of a cost constraint.

A ``Constraint`` is the component users choose: frozen settings and formulas. It starts a
``CostConstraint``, which holds what changes during a training: it is updated with measured episode
costs and returns the weights with which the advantages of reward and cost are mixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from pkubench.agents.components import Component
from pkubench.agents.settings import check_domains
from pkubench.envs.core.batch import BatchEnv


class Weights(NamedTuple):
    """Of the advantages A_R and A_C in the one an actor ascends."""

    of_reward: float
    of_cost: float


@dataclass(slots=True)
class CostConstraint:
    """The measured excess of the cost over its limit; base of constraints that adapt more.

    By itself it is the state of constraints that leave the excess to the update: CPO, PCPO, P3O.
    """

    limit: float
    """Mean undiscounted cost of an episode that may not be exceeded."""
    excess: float = field(default=0.0, init=False)
    """Measured episode cost minus the limit."""
    length: float = field(default=1.0, init=False)
    """Mean steps of an episode, which turns a sum over episodes into a mean over steps."""

    def update(self, episode_cost: float, episode_length: float = 1.0) -> None:
        """Take in the means over recent episodes; without a new episode (NaN) nothing changes."""
        if math.isfinite(episode_cost):
            self.excess = episode_cost - self.limit
            self.length = episode_length
            self._adapt(episode_cost)

    def _adapt(self, episode_cost: float) -> None:
        """Update what the constraint adapts, such as a multiplier."""

    def weights(self) -> Weights:
        """Return how A_R and A_C are mixed: here A_R alone."""
        return Weights(1.0, 0.0)

    def metrics(self) -> dict[str, float]:
        """Return figures for the training curve."""
        return {}

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [self.excess, self.length]

    def restore(self, state: Sequence[float]) -> None:
        """Go back to a state that ``state`` returned."""
        self.excess, self.length = state


class Constraint(Component, slot="constraint", package="pkubench.agents.rl.constraints"):
    """How the cost of an episode is held at its limit."""

    def start(self) -> CostConstraint | None:
        """Return the state at the start of a training; None where costs need no critic."""
        return None

    def needs(self, config: Any) -> str:
        """Return the settings that this constraint cannot work without in ``config``, or ""."""
        return ""

    def wrap(self, env: BatchEnv) -> BatchEnv:
        """Return the environment to train in: ``env`` itself, or one with a budget of cost."""
        return env


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedCost(Constraint):
    """Base of the constraints that hold a limit."""

    cost_limit: float = 25.0
    """Mean undiscounted episode cost to hold; by default the task's limit."""
    not_negative: ClassVar[tuple[str, ...]] = ("cost_limit",)
    """Settings that must be at least 0."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, not_negative=self.not_negative)

    def start(self) -> CostConstraint | None:
        """Return a measured excess of 0."""
        return CostConstraint(self.cost_limit)
