"""The scale of the advantages, by which the rates of a multiplier are independent of units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class AdvantageScale:
    """Root mean squares of the advantages of reward and cost over all updates so far.

    A multiplier in the reward's unit is updated in multiples of their ratio, the ``price``. Every
    update counts equally: the deviations in a batch shrink as a policy converges, and a multiplier
    must not shrink with them.
    """

    updates: float = 0.0
    of_reward: float = 0.0
    """Sum of the variances of A_R."""
    of_cost: float = 0.0
    """Sum of the variances of A_C."""

    def add(self, of_reward: float, of_cost: float) -> None:
        """Add the variances of an update's advantages."""
        self.updates += 1.0
        self.of_reward += of_reward
        self.of_cost += of_cost

    def price(self, cost_at_limit: float) -> float:
        """Return the ratio of the deviations, reward per unit of cost (see ``cost``)."""
        return self.reward / self.cost(cost_at_limit)

    @property
    def reward(self) -> float:
        """The root mean square of A_R."""
        return math.sqrt(self.of_reward / max(self.updates, 1.0))

    def cost(self, cost_at_limit: float) -> float:
        """Return the root mean square of A_C, bounded from below.

        Args:
            cost_at_limit: the cost within the horizon of an advantage at a policy on its limit: the
                bound, as A_C is only the critic's noise before the first cost.
        """
        return max(math.sqrt(self.of_cost / max(self.updates, 1.0)), cost_at_limit, 1e-8)

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [self.updates, self.of_reward, self.of_cost]

    def restore(self, state: Sequence[float]) -> None:
        """Restore a state that ``state`` returned."""
        self.updates, self.of_reward, self.of_cost = state
