"""Early termination: an episode ends once its cost exceeds the limit (Sun et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from pkubench.agents.components import register
from pkubench.agents.rl.budget import EarlyTermination
from pkubench.agents.rl.constraints.base import CostConstraint, LimitedCost
from pkubench.envs.core.batch import BatchEnv


@register("early-termination")
@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateAboveLimit(LimitedCost):
    """An episode ends, without reward for its last step, once its cost exceeds the limit."""

    def start(self) -> CostConstraint | None:
        """Return None: the environment enforces the constraint."""
        return None

    def wrap(self, env: BatchEnv) -> BatchEnv:
        """Return ``env`` with episodes that end above the limit."""
        return EarlyTermination(env, self.cost_limit)
