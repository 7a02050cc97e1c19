"""Credit that the environment itself reports in the info of its steps, which no method has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.contract import FloatArray
from pkubench.agents.requirements import reads_dense_rewards, reads_difference_rewards
from pkubench.agents.rl.credit.base import CreditFormula
from pkubench.envs.core.difference_reward import DIFFERENCE_REWARD, DIFFERENCE_REWARDS
from pkubench.envs.core.traits import DENSE_REWARD

if TYPE_CHECKING:
    from pkubench.agents.rl.rollout import Rollout
    from pkubench.tasks.task import Task


@register("dense")
@dataclass(frozen=True, slots=True, kw_only=True)
class DenseReward(CreditFormula):
    """The team's reward of each step, which an episodic task withholds until the end."""

    is_shared: ClassVar[bool] = True
    info_keys: ClassVar[tuple[str, ...]] = (DENSE_REWARD,)

    def fits(self, task: Task) -> str:
        """Require delayed rewards."""
        return reads_dense_rewards(task)

    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the team's sum, repeated."""
        dense = rollout.extras[DENSE_REWARD]
        team = dense if dense.ndim == 2 else dense.sum(-1)
        return np.broadcast_to(team[..., None], rollout.rewards.shape)


@register("difference")
@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceReward(CreditFormula):
    """Each agent's difference reward, computed by the environment (Wolpert & Tumer 2001).

    What the team earned minus what it would have earned without the agent, or had it acted
    otherwise, as the environment says: an oracle, not a method, since it needs the reward function
    and its counterfactuals.
    """

    info_keys: ClassVar[tuple[str, ...]] = (DIFFERENCE_REWARD,)
    env_settings: ClassVar[Mapping[str, Any]] = MappingProxyType({DIFFERENCE_REWARDS: True})

    def fits(self, task: Task) -> str:
        """Require an environment that can report them."""
        return reads_difference_rewards(task)

    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the difference rewards."""
        found: FloatArray = rollout.extras[DIFFERENCE_REWARD]
        return found
