"""The multiplier's settings as flat fields, for the off-policy config until it has the slot."""

from __future__ import annotations

from dataclasses import dataclass

from pkubench.agents.rl.constraints.lagrangian import LagrangeMultiplier, Lagrangian
from pkubench.agents.rl.constraints.pid import PID, PIDMultiplier

NOT_NEGATIVE = (
    "cost_limit",
    "lambda_init",
    "lambda_lr",
    "lambda_upper",
    "pid_kp",
    "pid_ki",
    "pid_kd",
)
"""Settings below that must be at least 0, for ``check_domains``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplierSettings:
    """The settings of a limit and its multiplier; the config of every learner has them."""

    cost_limit: float = 25.0
    """Limit on the mean episode cost; by default the task's."""
    lambda_init: float = 0.001
    """The multiplier's initial value."""
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
    """PID: updates of the multiplier over which that rise is taken."""

    def lagrange(self, kind: type[Lagrangian] = Lagrangian) -> LagrangeMultiplier:
        """Return a fresh multiplier updated by gradient ascent."""
        return kind(
            cost_limit=self.cost_limit,
            lambda_init=self.lambda_init,
            lambda_lr=self.lambda_lr,
            lambda_upper=self.lambda_upper,
        ).start()

    def pid(self) -> PIDMultiplier:
        """Return a fresh multiplier set by a PID controller."""
        return PID(
            cost_limit=self.cost_limit,
            lambda_init=self.lambda_init,
            pid_kp=self.pid_kp,
            pid_ki=self.pid_ki,
            pid_kd=self.pid_kd,
            pid_smoothing=self.pid_smoothing,
            pid_delay=self.pid_delay,
        ).start()
