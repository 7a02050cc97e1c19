"""No diversity: every response maximises payoff alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.families.psro.diversities import Bonus, Diversity
from pkubench.envs.games.errors import GameError
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.zero_sum import ZeroSumGame

if TYPE_CHECKING:
    from pkubench.agents.families.psro.spaces import Situation


@register("none")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoDiversity(Diversity):
    """Responses maximise payoff alone."""

    can_be_learned: ClassVar[bool] = True

    def is_sought(self, rng: np.random.Generator) -> bool:
        """Return False without drawing."""
        return False

    def bonus(
        self, game: ZeroSumGame, situation: Situation, opponent: Floats, rng: np.random.Generator
    ) -> tuple[Bonus, float]:
        """Raise: no response is diverse."""
        raise GameError("diversity=none has no bonus")
