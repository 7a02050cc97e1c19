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
