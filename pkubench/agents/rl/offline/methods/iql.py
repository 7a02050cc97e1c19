"""Implicit Q-Learning (Kostrikov, Nair and Levine, ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.offline.methods.base import Method, Setup
from pkubench.agents.rl.offline.methods.bc import check_hidden
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.rl.offline.learners.base import MethodLearner


@register("iql")
@dataclass(frozen=True, slots=True, kw_only=True)
class ImplicitQ(Method):
    """Values as expectiles over the data's actions, and actions weighted by their advantage.

    No action is ever evaluated that the data do not have. With discrete actions the policy is
    categorical, and the critics give a value to each action.
    """

    hidden: tuple[int, ...] = (256, 256)
    """Hidden layers of all networks, with ReLU."""
    lr: float = 3e-4
    """Learning rate of Adam; the policy's falls to 0 along half a cosine."""
    gamma: float = 0.99
    """Discount."""
    expectile: float = 0.7
    """tau: 0.5 is the mean over the data's actions, 1 their maximum."""
    beta: float = 3.0
    """Inverse temperature of the weights exp(beta * advantage), which are at most 100."""
    target_rate: float = 0.005
    """Of the moving average of the critics."""
    policy: Literal["gaussian", "deterministic"] = "gaussian"
    """Likelihood of actions under a Gaussian with a learned deviation, or squared error."""
    reward_range: float | None = None
    """Rewards are scaled so that the best and the worst return of the data differ by this; null:
    they are not scaled. The published code has 1000 for the robots."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            shares=("gamma", "target_rate"),
            positive=("lr", "target_rate", "reward_range"),
            not_negative=("beta",),
        )
        if not 0.0 < self.expectile < 1.0:
            raise ConfigError(f"expectile must lie in (0, 1), got {self.expectile}")
        check_hidden(self.hidden)

    def start(self, setup: Setup) -> MethodLearner:
        """Return the networks and their update."""
        from pkubench.agents.rl.offline.learners.iql import ImplicitQLearner

        return ImplicitQLearner(self, setup)
