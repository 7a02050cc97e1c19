"""Ways to hold a cost constraint. Each turns measured episode costs into a multiplier."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pkubench.errors import ConfigError


@dataclass(slots=True)
class Lagrange:
    """A multiplier lambda >= 0 that rises while the episode cost exceeds its limit.

    Gradient ascent on ``lambda (EpCost - limit)`` by Adam, clamped to [0, ``upper``] (None: no
    bound), once an update before the policy (OmniSafe ``Lagrange``; Ray, Achiam & Amodei 2019).
    """

    limit: float
    value: float = 0.001
    learning_rate: float = 0.035
    upper: float | None = None
    moments: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Adam's first moment, second moment and step count."""

    def __post_init__(self) -> None:
        """Check the domain."""
        if self.limit < 0:
            raise ConfigError(f"cost_limit must be at least 0, got {self.limit}")
        if self.value < 0:
            raise ConfigError(f"lambda_init must be at least 0, got {self.value}")

    def update(self, episode_cost: float) -> None:
        """Take one step on the mean undiscounted cost of recent episodes.

        A window without an episode (NaN) leaves the multiplier as it is.
        """
        if not math.isfinite(episode_cost):
            return
        gradient = -(episode_cost - self.limit)
        first, second, count = self.moments
        count += 1.0
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient * gradient
        step = (first / (1.0 - 0.9**count)) / (math.sqrt(second / (1.0 - 0.999**count)) + 1e-8)
        self.moments = [first, second, count]
        self.value = max(self.value - self.learning_rate * step, 0.0)
        if self.upper is not None:
            self.value = min(self.value, self.upper)

    @staticmethod
    def weights(multiplier: float) -> tuple[float, float]:
        """Return the weights of A_R and A_C in (A_R - lambda A_C) / (1 + lambda)."""
        return 1.0 / (1.0 + multiplier), -multiplier / (1.0 + multiplier)
