"""Cost of training and constraint regret: exact totals over the episodes of a training.

For K finished episodes with undiscounted costs C_1, ..., C_K and a limit d on the mean,

    cost of training     sum_k C_k                    (mean: / K)
    constraint regret    sum_k max(0, C_k - d)        (mean: / K)

A cheap episode does not offset an expensive one: the positive part is taken before the sum, as in
the stronger notion of constraint regret (Efroni, Mannor & Pirotta, "Exploration-Exploitation in
Constrained MDPs", 2020). They take it of each policy's expected cost; here it is taken of the
observed cost of an episode, which needs no model. By Jensen's inequality it is at least as large
on average, and a policy with a cost that varies about the limit has some even if it is feasible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


def excess_cost(costs: float | npt.ArrayLike, limit: float) -> float:
    """Return sum_k max(0, C_k - d), the constraint regret of episodes with these costs."""
    over = np.maximum(np.asarray(costs, dtype=np.float64) - limit, 0.0)
    return math.fsum(np.atleast_1d(over).tolist())


@dataclass(slots=True)
class TrainingCost:
    """Totals over all finished episodes of a training, kept exactly across checkpoints."""

    limit: float
    """d, the task's limit on the mean cost of an episode."""
    episodes: float = 0.0
    """Finished episodes; NaN, like the other totals, where a run began before it was counted."""
    cost: float = 0.0
    excess: float = 0.0

    def add(self, cost: float) -> None:
        """Add a finished episode."""
        self.episodes += 1.0
        self.cost += cost
        self.excess += excess_cost(cost, self.limit)

    def freeze(self) -> npt.NDArray[np.float64]:
        """Return the totals as an array (3,)."""
        return np.array([self.episodes, self.cost, self.excess])

    def thaw(self, totals: Sequence[float] | npt.NDArray[np.float64] | None) -> None:
        """Restore frozen totals; None, from a checkpoint without them, makes them unknown."""
        known = (math.nan,) * 3 if totals is None else totals
        self.episodes, self.cost, self.excess = (float(total) for total in known)

    def curve(self) -> dict[str, float]:
        """Return the totals as columns of ``training.jsonl``; NaN where unknown."""
        return {
            "episodes": self.episodes,
            "training_cost": self.cost,
            "excess_cost": self.excess,
        }

    def summary(self) -> dict[str, float] | None:
        """Return totals and means for ``config.json``; None without an episode."""
        if not self.episodes >= 1.0:
            return None
        return {
            "cost_limit": self.limit,
            "episodes": int(self.episodes),
            "cost": self.cost,
            "excess": self.excess,
            "mean_cost": self.cost / self.episodes,
            "mean_excess": self.excess / self.episodes,
        }
