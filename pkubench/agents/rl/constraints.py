"""Ways to hold a cost constraint, as far as they turn measured episode costs into numbers.

Before the policy moves, and if an episode ended since it last did, a constraint hears the mean
undiscounted cost of recent episodes and their mean length. From then on it says how the advantages
of reward and cost are mixed, and by how much the cost exceeds its limit. What a rule does with the
latter (a cut in the step, a penalty in the loss, a second phase) is in ``constrained_step.py`` and
``update_rules.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pkubench.errors import ConfigError


class Weights(NamedTuple):
    """Of the advantages A_R and A_C in the one an actor climbs."""

    of_reward: float
    of_cost: float


@dataclass(slots=True)
class Measured:
    """The cost is measured and left to the update rule: CPO, PCPO, P3O. Base of the others."""

    limit: float
    """Mean undiscounted cost of an episode that may not be exceeded."""
    excess: float = field(default=0.0, init=False)
    """Measured episode cost minus the limit."""
    length: float = field(default=1.0, init=False)
    """Mean steps of an episode, which turns a sum over episodes into a mean over steps."""

    def __post_init__(self) -> None:
        """Check the domain."""
        if self.limit < 0:
            raise ConfigError(f"cost_limit must be at least 0, got {self.limit}")

    def update(self, episode_cost: float, episode_length: float = 1.0) -> None:
        """Hear the means over recent episodes; a window without one (NaN) changes nothing."""
        if math.isfinite(episode_cost):
            self.excess = episode_cost - self.limit
            self.length = episode_length
            self._learn(episode_cost)

    def _learn(self, episode_cost: float) -> None:
        """Move what the constraint adapts."""

    def weights(self) -> Weights:
        """Return how A_R and A_C are mixed."""
        return Weights(1.0, 0.0)

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [self.excess, self.length]

    def restore(self, state: Sequence[float]) -> None:
        """Go back to a state that ``state`` returned."""
        self.excess, self.length = state


@dataclass(slots=True)
class Multiplied(Measured):
    """Base of those with a multiplier lambda: the actor climbs (A_R - lambda A_C)/(1 + lambda)."""

    value: float = 0.001
    """lambda."""

    def __post_init__(self) -> None:
        """Check the domain."""
        Measured.__post_init__(self)
        if self.value < 0:
            raise ConfigError(f"lambda_init must be at least 0, got {self.value}")

    def weights(self) -> Weights:
        """Return 1/(1 + lambda) and -lambda/(1 + lambda)."""
        return Weights(1.0 / (1.0 + self.value), -self.value / (1.0 + self.value))

    @property
    def multiplier(self) -> float:
        """Lambda."""
        return self.value


@dataclass(slots=True)
class Lagrange(Multiplied):
    """A multiplier that rises while the episode cost exceeds its limit.

    Gradient ascent on ``lambda (EpCost - limit)`` by Adam, clamped to [0, ``upper``] (None: no
    bound), once an update before the policy (OmniSafe ``Lagrange``; Ray, Achiam & Amodei 2019).
    """

    learning_rate: float = 0.035
    upper: float | None = None
    moments: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Adam's first moment, second moment and step count."""

    def _learn(self, episode_cost: float) -> None:
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

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [*Measured.state(self), self.value, *self.moments]

    def restore(self, state: Sequence[float]) -> None:
        """Go back to a state that ``state`` returned."""
        Measured.restore(self, state[:2])
        self.value, self.moments = state[2], list(state[3:])


@dataclass(slots=True)
class PID(Multiplied):
    """A multiplier set by a controller of the cost's excess (Stooke, Achiam & Abbeel 2020).

    ``lambda = max(0, kp P + I + kd D)`` with P a moving average of the excess, I its sum times
    ``ki``, never below 0 and starting at lambda's start, and D the rise of a moving average of the
    cost over ``delay`` updates, never below 0 (OmniSafe ``PIDLagrangian`` with ``sum_norm``).
    """

    kp: float = 0.1
    ki: float = 0.01
    kd: float = 0.01
    smoothing: float = 0.95
    """Share of the old value in both moving averages."""
    delay: int = 10
    """Updates over which the rise of the cost is taken."""
    integral: float = field(default=0.0, init=False)
    proportional: float = field(default=0.0, init=False)
    costs: list[float] = field(default_factory=lambda: [0.0], init=False)
    """The moving average of the cost after each of the last ``delay`` updates; 0 before any."""

    def __post_init__(self) -> None:
        """Start the integral at the multiplier's start."""
        Multiplied.__post_init__(self)
        self.integral = self.value

    def _learn(self, episode_cost: float) -> None:
        keep = self.smoothing
        excess = episode_cost - self.limit
        self.integral = max(0.0, self.integral + self.ki * excess)
        self.proportional = keep * self.proportional + (1.0 - keep) * excess
        smooth = keep * self.costs[-1] + (1.0 - keep) * episode_cost
        rise = max(0.0, smooth - self.costs[0])
        self.costs = [*self.costs, smooth][-self.delay :]
        self.value = max(0.0, self.kp * self.proportional + self.integral + self.kd * rise)

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [*Measured.state(self), self.value, self.integral, self.proportional, *self.costs]

    def restore(self, state: Sequence[float]) -> None:
        """Go back to a state that ``state`` returned."""
        Measured.restore(self, state[:2])
        self.value, self.integral, self.proportional = state[2:5]
        self.costs = list(state[5:])


@dataclass(slots=True)
class Barrier(Multiplied):
    """Interior point (IPO; Liu, Ding & Liu 2020): lambda is the slope of a logarithmic barrier.

    ``lambda = kappa / (limit - EpCost)``, and ``upper`` where that is larger or the limit is
    passed.
    """

    kappa: float = 0.01
    upper: float = 1.0

    def _learn(self, episode_cost: float) -> None:
        slope = self.kappa / (self.limit - episode_cost + 1e-8)
        self.value = slope if 0.0 <= slope <= self.upper else self.upper

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [*Measured.state(self), self.value]

    def restore(self, state: Sequence[float]) -> None:
        """Go back to a state that ``state`` returned."""
        Measured.restore(self, state[:2])
        self.value = state[2]


@dataclass(slots=True)
class Rectified(Measured):
    """Climb the reward while the cost is tolerable, else descend the cost (CRPO; Xu et al. 2021).

    Tolerable is a cost of at most ``limit + tolerance``.
    """

    tolerance: float = 2.0

    def weights(self) -> Weights:
        """Return (1, 0) or (0, -1)."""
        return Weights(1.0, 0.0) if self.excess <= self.tolerance else Weights(0.0, -1.0)


@dataclass(slots=True)
class Corrected(Lagrange):
    """CUP's multiplier (Yang et al. 2022): for the second phase; the first climbs A_R alone."""

    def weights(self) -> Weights:
        """Return (1, 0)."""
        return Weights(1.0, 0.0)


NOT_NEGATIVE = (
    "cost_limit",
    "lambda_init",
    "lambda_lr",
    "lambda_upper",
    "pid_kp",
    "pid_ki",
    "pid_kd",
)
"""Of the settings below those that are at least 0, for ``check_domains``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplierSettings:
    """The settings of a limit and its multiplier; the config of every learner has them."""

    cost_limit: float = 25.0
    """Mean episode cost to hold; by default the task's limit."""
    lambda_init: float = 0.001
    """The multiplier's start."""
    lambda_lr: float = 0.035
    """Lagrangian: Adam's learning rate of the multiplier."""
    lambda_upper: float | None = None
    """Lagrangian: upper bound of the multiplier; None is no bound."""
    pid_kp: float = 0.1
    """PID: weight of the smoothed excess of the cost over its limit."""
    pid_ki: float = 0.01
    """PID: weight of the summed excess."""
    pid_kd: float = 0.01
    """PID: weight of the rise of the smoothed cost."""
    pid_smoothing: float = 0.95
    """PID: share of the old value in both moving averages."""
    pid_delay: int = 10
    """PID: moves of the multiplier over which that rise is taken."""

    def lagrange(self, kind: type[Lagrange] = Lagrange) -> Lagrange:
        """Return a fresh multiplier that gradient ascent moves."""
        return kind(
            self.cost_limit,
            self.lambda_init,
            learning_rate=self.lambda_lr,
            upper=self.lambda_upper,
        )

    def pid(self) -> PID:
        """Return a fresh multiplier that a controller sets."""
        return PID(
            self.cost_limit,
            self.lambda_init,
            kp=self.pid_kp,
            ki=self.pid_ki,
            kd=self.pid_kd,
            smoothing=self.pid_smoothing,
            delay=self.pid_delay,
        )
