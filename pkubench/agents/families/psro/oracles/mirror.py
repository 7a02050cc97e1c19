"""Responses by mirror ascent, which remain stochastic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.families.psro.oracles import Aim, PlanOracle
from pkubench.agents.settings import check_domains
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.zero_sum import ZeroSumGame

if TYPE_CHECKING:
    from pkubench.agents.families.psro.spaces import Situation


@register("mirror")
@dataclass(frozen=True, kw_only=True)
class Mirror(PlanOracle):
    """Steps of mirror ascent with exact gradients, from the present policy."""

    mirror_steps: int = 100
    """Steps per response."""
    mirror_rate: float = 1.0
    """Step size, in units of 1 over the largest payoff."""

    def __post_init__(self) -> None:
        """Check the domains."""
        PlanOracle.__post_init__(self)
        check_domains(self, at_least_one=("mirror_steps",), positive=("mirror_rate",))

    def plan(
        self, game: ZeroSumGame, situation: Situation, aim: Aim, rng: np.random.Generator
    ) -> tuple[Floats, float]:
        """Return the plan after the last step."""
        plan = situation.row
        for _ in range(self.mirror_steps):
            slopes = aim.base if aim.bonus is None else aim.base + aim.bonus.slopes(plan)
            plan = game.mirror_step(situation.side, plan, slopes, self.mirror_rate)
        return plan, np.inf
