"""What a learner asks of a cost constraint.

A ``Constraint`` is the component users choose: frozen settings and formulas. It starts a
``CostConstraint``, which holds what changes during a training: it is updated with measured episode
costs and returns the weights with which the advantages of reward and cost are mixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pkubench.agents.components import Component
from pkubench.agents.rl.update_rules.base import CostTerms, Terms
from pkubench.agents.settings import check_domains
from pkubench.envs.core.batch import BatchEnv

if TYPE_CHECKING:
    from torch import Tensor


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

    corrects: ClassVar[bool] = False
    """Whether an update has a second phase, which descends ``correction``."""
    observed: ClassVar[int] = 0
    """Numbers that ``wrap`` adds at the end of an observation; they keep their scale."""
    bends_the_step: ClassVar[bool] = False
    """Whether a trust-region step holds the constraint itself."""

    def start(self) -> CostConstraint | None:
        """Return the state at the start of a training; None where costs need no critic."""
        return None

    def wrap(self, env: BatchEnv) -> BatchEnv:
        """Return the environment to train in: ``env`` itself, or one with a budget of cost."""
        return env

    def excess(self, state: CostConstraint) -> float:
        """Return the cost's excess on the scale of ``mean[M r A_C]``, a mean over steps.

        An episode's cost is a sum over its steps, so the excess is divided by their number.
        """
        return state.excess / state.length

    def penalty(self, terms: Terms) -> Tensor | None:
        """Return what is added to the loss of the update rule; None: nothing."""
        return None

    def correction(self, terms: Terms) -> Tensor | None:
        """Return the loss of a second phase of the update, where there is one (``corrects``).

        In it ``terms.start`` is the policy after the first phase.
        """
        return None

    def terms(self, state: CostConstraint, config: Any, at_once: int) -> CostTerms:
        """Return the numbers for ``penalty`` and ``correction``.

        Args:
            state: the measured cost, and the multiplier if there is one.
            config: the learner's settings.
            at_once: agents that are updated at once; each has its part of the cost's excess.
        """
        multiplier = float(getattr(state, "multiplier", 0.0))
        return CostTerms(self.excess(state) / at_once, multiplier, config.gamma, config.lam)


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


def one_unit_of_cost(config: Any) -> str:
    """Return what a constraint needs that adds an excess of cost to advantages of cost, or ""."""
    if not getattr(config, "signal_norm", False):
        return ""
    return "signal_norm=false (its excess of cost and its cost advantages must be in one unit)"
