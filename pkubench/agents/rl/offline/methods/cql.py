"""Conservative Q-Learning (Kumar, Zhou, Tucker and Levine, NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.offline.methods.base import Method, Setup
from pkubench.agents.rl.offline.methods.bc import check_hidden
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from pkubench.agents.rl.offline.learners.base import MethodLearner


@register("cql")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConservativeQ(Method):
    """Critics pushed down where they are high and up at the data's actions: CQL(H).

    Continuous actions: soft actor-critic with the penalty estimated from proposals. Discrete ones:
    double Q-learning with the penalty summed over all actions, and the greedy policy.
    """

    hidden: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of all networks, with ReLU."""
    lr: float = 3e-4
    """Learning rate of the critics."""
    policy_lr: float = 3e-5
    """Learning rate of the policy and of its temperature; continuous actions only."""
    gamma: float = 0.99
    """Discount."""
    alpha: float = 10.0
    """Weight of the penalty."""
    proposals: int = 10
    """Actions of each of the three distributions that the penalty is estimated from."""
    target_rate: float = 0.005
    """Of the moving average of the critics."""
    reward_range: float | None = None
    """Rewards are scaled so that the best and the worst return of the data differ by this; null:
    they are not scaled."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("proposals",),
            shares=("gamma", "target_rate"),
            positive=("lr", "policy_lr", "target_rate", "reward_range"),
            not_negative=("alpha",),
        )
        check_hidden(self.hidden)

    def start(self, setup: Setup) -> MethodLearner:
        """Return the networks and their update."""
        from pkubench.agents.rl.offline.learners import cql

        is_discrete = setup.data.is_discrete
        return (cql.DiscreteLearner if is_discrete else cql.ContinuousLearner)(self, setup)
