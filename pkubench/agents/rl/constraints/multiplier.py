"""Constraints with a multiplier lambda: the actor ascends (A_R - lambda A_C) / (1 + lambda).

What a unit of lambda is worth depends on the scale of the advantages. In OmniSafe A_R is divided by
its deviation in each batch, and A_C is only centred. As a policy converges that deviation goes to
0, so a fixed lambda prices a unit of cost at less and less reward: on RiskyCorridor at 0.02 to 0.04
where the linear program's multiplier is 0.06, and the limit is never reached. With
``lambda_unit=reward`` lambda is the Lagrange multiplier itself, reward per unit of cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pkubench.agents.rl.constraints.base import CostConstraint, LimitedCost, Weights

LambdaUnit = Literal["reward", "deviation"]


@dataclass(frozen=True, kw_only=True)
class PricedCost(LimitedCost):
    """Base of the constraints whose multiplier may be in the reward's own unit."""

    lambda_unit: LambdaUnit = "reward"
    """Unit of the multiplier. ``reward``: reward per unit of cost; ``A_R - lambda A_C`` is
    standardised as a whole, costs are measured in units of the limit, and the rates of the
    multiplier in the ratio of the running deviations of A_R and A_C, so that they are the same in
    all units. ``deviation``: OmniSafe's form; A_R is standardised alone, so that lambda is in
    deviations of A_R in the present batch."""

    @property
    def mixes_raw_advantages(self) -> bool:
        """Whether the multiplier is in the reward's unit."""
        return self.lambda_unit == "reward"


@dataclass(slots=True)
class MultiplierConstraint(CostConstraint):
    """A multiplier; subclasses adapt it to the measured cost."""

    value: float
    """lambda, at least 0."""

    def weights(self) -> Weights:
        """Return 1/(1 + lambda) and -lambda/(1 + lambda)."""
        return Weights(1.0 / (1.0 + self.value), -self.value / (1.0 + self.value))

    @property
    def multiplier(self) -> float:
        """Lambda."""
        return self.value

    def metrics(self) -> dict[str, float]:
        """Return ``multiplier``."""
        return {"multiplier": self.value}

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [*CostConstraint.state(self), self.value]

    def restore(self, state: Sequence[float]) -> None:
        """Restore a state that ``state`` returned."""
        CostConstraint.restore(self, state[:2])
        self.value = state[2]
