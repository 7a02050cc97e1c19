"""Online Decision Transformer (Zheng, Zhang and Grover, ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.offline.methods.dt import DecisionMethod
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from pkubench.agents.rl.offline.learners.base import MethodLearner


@register("odt")
@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineDecisionMethod(DecisionMethod):
    """A stochastic Decision Transformer that is then trained on its own episodes too.

    After the pre-training every ``updates`` gradient steps are preceded by one episode, which takes
    the place of the buffer's oldest. There are no embeddings of time.
    """

    pretrain_steps: int = 5_000
    """Gradient steps on the data alone, on all of them."""
    buffer_size: int = 1_000
    """Episodes: at first the best of the data, the worst of which are replaced first."""
    acting_context: int = 5
    """Steps that acting looks back on, the present one included; at most ``context``."""
    exploration: float = 2.0
    """Its own episodes are asked for this times the best return R of the data, if that is positive;
    in general for R + (exploration - 1) |R|."""
    temperature: float = 0.1
    """Initial weight of the entropy, adapted towards an entropy of -1 nat per dimension."""
    temperature_lr: float = 1e-4
    """Learning rate of its logarithm."""

    def __post_init__(self) -> None:
        """Check the domains."""
        # not super(): a dataclass with slots is another class than the one the method was made in
        DecisionMethod.__post_init__(self)
        check_domains(
            self,
            at_least_one=("buffer_size", "acting_context"),
            positive=("temperature", "temperature_lr"),
            not_negative=("pretrain_steps",),
        )

    def start(self, setup: Setup) -> MethodLearner:
        """Return the networks and their update."""
        from pkubench.agents.rl.offline.learners.online import OnlineLearner

        return OnlineLearner(self, setup)
