"""The interface of a cost constraint.

A ``Constraint`` is the component that users choose: frozen settings and formulas. It creates a
``CostConstraint``, the state that changes during training: it is updated with measured episode
costs and returns the weights with which the advantages of reward and cost are mixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pkubench.agents.components import Component
from pkubench.agents.rl.constraints.scale import AdvantageScale
from pkubench.agents.rl.update_rules.base import CostTerms, Terms
from pkubench.agents.settings import check_domains
from pkubench.envs.core.batch import BatchEnv

if TYPE_CHECKING:
    from torch import Tensor


class Weights(NamedTuple):
    """Weights of the advantages A_R and A_C in the one that an actor ascends."""

    of_reward: float
    of_cost: float


@dataclass(slots=True)
class CostConstraint:
    """The measured excess of the cost over its limit; base of constraints that adapt more.

    By itself it is the state of constraints that leave the excess to the update: CPO, PCPO, P3O.
    """

    limit: float
    """Maximum mean undiscounted cost of an episode."""
    excess: float = field(default=0.0, init=False)
    """Measured episode cost minus the limit."""
    length: float = field(default=1.0, init=False)
    """Mean steps of an episode, which turns a sum over episodes into a mean over steps."""

    def update(
        self, episode_cost: float, episode_length: float = 1.0, price: float | None = None
    ) -> None:
        """Update with means over recent episodes; without a new episode (NaN) nothing changes.

        Args:
            episode_cost: mean undiscounted cost.
            episode_length: mean number of steps.
            price: the scale of a multiplier's steps (see ``Constraint.price``); None without one.
        """
        if math.isfinite(episode_cost):
            self.excess = episode_cost - self.limit
            self.length = episode_length
            self._adapt(episode_cost, price)

    @property
    def relative_excess(self) -> float:
        """The excess as a share of the limit; as it is at a limit of 0."""
        return self.excess / self.limit if self.limit > 0.0 else self.excess

    def _adapt(self, episode_cost: float, price: float | None) -> None:
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
        """Restore a state that ``state`` returned."""
        self.excess, self.length = state


class Constraint(Component, slot="constraint", package="pkubench.agents.rl.constraints"):
    """How the episode cost is kept at its limit."""

    corrects: ClassVar[bool] = False
    """Whether an update has a second phase, which descends ``correction``."""
    observed: ClassVar[int] = 0
    """Numbers that ``wrap`` appends to an observation; they are not normalised."""
    modifies_step: ClassVar[bool] = False
    """Whether it needs a trust-region step that enforces the constraint itself."""

    @property
    def cost_keys(self) -> tuple[str, ...]:
        """Keys of an environment's info with a limit of their own; none: one limit, of ``cost``."""
        return ()

    @property
    def mixes_raw_advantages(self) -> bool:
        """Whether the advantages are mixed in the units of reward and cost, and then standardised.

        Otherwise the advantage of reward is standardised by itself, before they are mixed.
        """
        return False

    def price(self, scale: AdvantageScale, cost_at_limit: float) -> float | None:
        """Return the scale of the steps of a multiplier; None where they have none.

        Args:
            scale: of the advantages, with those of this update.
            cost_at_limit: see ``AdvantageScale.cost``.
        """
        return None

    def start(self) -> Any:
        """Return a ``CostConstraint`` (or several as one); None where costs need no critic."""
        return None

    def wrap(self, env: BatchEnv) -> BatchEnv:
        """Return the training environment: ``env`` itself, or a wrapper with a cost budget."""
        return env

    @property
    def is_gated_by_batch(self) -> bool:
        """Whether ``penalty`` is on or off for a whole pass, as ``CostTerms.is_over`` says."""
        return False

    def excess(self, state: CostConstraint) -> float:
        """Return the cost's excess on the scale of ``mean[M r A_C]``, a mean over steps.

        An episode's cost is a sum over its steps, so the excess is divided by their number.
        """
        return state.excess / state.length

    def penalty(self, terms: Terms) -> Tensor | None:
        """Return the term added to the loss of the update rule; None: nothing."""
        return None

    def correction(self, terms: Terms) -> Tensor | None:
        """Return the loss of a second phase of the update, where there is one (``corrects``).

        In it ``terms.start`` is the policy after the first phase.
        """
        return None

    def terms(self, state: CostConstraint, config: Any, simultaneous: int) -> CostTerms:
        """Return the numbers for ``penalty`` and ``correction``.

        Args:
            state: the measured cost, and the multiplier if there is one.
            config: the learner's settings.
            simultaneous: agents updated simultaneously; each gets its part of the cost's excess.
        """
        multiplier = float(getattr(state, "multiplier", 0.0))
        return CostTerms(
            self.excess(state) / simultaneous, multiplier, config.gamma, config.cost_lam
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedCost(Constraint):
    """Base of the constraints with a cost limit."""

    cost_limit: float = 25.0
    """Limit on the mean undiscounted episode cost; by default the task's."""
    not_negative: ClassVar[tuple[str, ...]] = ("cost_limit",)
    """Settings that must be at least 0."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, not_negative=self.not_negative)

    def start(self) -> CostConstraint | None:
        """Return a measured excess of 0."""
        return CostConstraint(self.cost_limit)


def one_unit_of_cost(config: Any) -> str:
    """Return the requirement of constraints that add a cost excess to cost advantages, or ""."""
    if not getattr(config, "signal_norm", False):
        return ""
    return "signal_norm=false (its excess of cost and its cost advantages must be in one unit)"
