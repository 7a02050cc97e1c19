"""The loss of a phase of an actor's update."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pkubench.agents.rl.constraints.base import Constraint
from pkubench.agents.rl.update_rules.base import CostTerms, GradientRule, Terms

if TYPE_CHECKING:
    from torch import Tensor


class Objective(NamedTuple):
    """The loss of a phase.

    It is the rule's loss, the constraint's penalty and the entropy bonus; or, in the second phase
    of an update, the constraint's correction.
    """

    rule: GradientRule
    constraint: Constraint
    cost: CostTerms
    is_correction: bool = False

    @property
    def uses_kl(self) -> bool:
        """Whether it uses ``terms.kl``."""
        return self.is_correction or self.rule.uses_kl

    @property
    def is_gated_by_batch(self) -> bool:
        """Whether its penalty is on or off for a whole pass."""
        return not self.is_correction and self.constraint.is_gated_by_batch

    def gated(self, cost_change: float) -> Objective:
        """Return the objective of a pass that starts at ``mean[M r A_C] = cost_change``."""
        is_over = cost_change + self.cost.excess > 0.0
        return self._replace(cost=self.cost._replace(is_over=is_over))

    def loss(self, terms: Terms) -> Tensor:
        """Return the scalar to minimise."""
        if self.is_correction:
            correction = self.constraint.correction(terms)
            assert correction is not None
            return correction
        loss = self.rule.loss(terms)
        penalty = self.constraint.penalty(terms)
        if penalty is not None:
            loss = loss + penalty
        return loss - self.rule.entropy * terms.entropy if self.rule.entropy else loss
