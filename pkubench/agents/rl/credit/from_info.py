"""Credit that the environment itself reports in the info of its steps: upper references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.contract import FloatArray
from pkubench.agents.rl.credit.base import CreditFormula
from pkubench.envs.core.delayed_reward import DENSE_REWARD

if TYPE_CHECKING:
    from pkubench.agents.rl.rollout import Rollout

DIFFERENCE = "difference_reward"
"""Key of the info: the difference reward of each agent, (N, agents)."""


@register("dense")
@dataclass(frozen=True, slots=True, kw_only=True)
class DenseReward(CreditFormula):
    """The team's reward of each step, which an episodic task withholds until the end."""

    is_shared: ClassVar[bool] = True
    info_keys: ClassVar[tuple[str, ...]] = (DENSE_REWARD,)

    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the team's sum, repeated."""
        dense = rollout.extras[DENSE_REWARD]
        team = dense if dense.ndim == 2 else dense.sum(-1)
        return np.broadcast_to(team[..., None], rollout.rewards.shape)


@register("difference")
@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceReward(CreditFormula):
    """Each agent's difference reward, computed by the environment (Wolpert & Tumer 2001).

    What the team earned minus what it would have earned had the agent acted otherwise: an oracle,
    not a method, since it needs the reward function and its counterfactuals.
    """

    info_keys: ClassVar[tuple[str, ...]] = (DIFFERENCE,)

    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the difference rewards."""
        found: FloatArray = rollout.extras[DIFFERENCE]
        return found
