"""PSD-PSRO with the distance of its code: from the nearest member of the population.

Yao et al. (2023), "Policy Space Diversity for Non-Transitive Games"; see ``distances``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.families.psro.diversities import Bonus, ByChance, log
from pkubench.agents.settings import check_domains
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.zero_sum import ZeroSumGame

if TYPE_CHECKING:
    from pkubench.agents.families.psro.spaces import Situation


class MemberDistance(Bonus):
    """``weight x min over members z of dis(plan, z)``, both smoothed; see ``distances``."""

    is_least = True

    def __init__(
        self,
        game: ZeroSumGame,
        player: int,
        members: Floats,
        opponent: Floats,
        weight: float,
        smoothing: float,
    ) -> None:
        """Measure against ``members``, ``(members, sequences)``, in plays with ``opponent``."""
        self._game, self._player, self._smoothing = game, player, smoothing
        self._mass = game.terminal_weights(player, opponent)
        self._members = game.smooth(player, members, smoothing)
        self._logs = log(self._members)
        self._weight = weight

    def values(self, plans: Floats) -> Floats:
        """Return the weighted distance of each plan from the nearest member."""
        return np.asarray(self._weight * self._distances(plans).min(axis=1))

    def _distances(self, plans: Floats) -> Floats:
        smoothed = self._game.smooth(self._player, plans, self._smoothing)
        played = smoothed * self._mass
        return np.asarray((played * log(smoothed)).sum(axis=1)[:, None] - played @ self._logs.T)

    def slopes(self, plan: Floats) -> Floats:
        """Return ``weight w (log x - log z)`` with the nearest member ``z``."""
        own = self._game.smooth(self._player, plan, self._smoothing)
        # The derivative of x log x is log x + 1; the 1 adds a constant, because every play ends.
        return np.asarray(self._weight * self._mass * log(own) + self.pure_slopes(plan))

    def pure_slopes(self, plan: Floats) -> Floats:
        """Return ``-weight w log z``: for pure plans ``x log x`` is 0 everywhere."""
        return np.asarray(-self._weight * self._mass * self._log_nearest(plan))

    def _log_nearest(self, plan: Floats) -> Floats:
        return np.asarray(self._logs[int(self._distances(plan[None])[0].argmin())])


@dataclass(frozen=True, kw_only=True)
class ByDistance(ByChance):
    """Base of diversities by distance in plays."""

    distance: ClassVar[type[MemberDistance]]

    diversity_weight: float = 0.01
    """Weight of the distance in plays, in units of the largest payoff per nat. Oracles that learn
    add it to each play's reward, and to the objective of the network."""
    smoothing: float = 0.001
    """Added to every action's probability before distances in plays are computed."""

    def __post_init__(self) -> None:
        """Check the domains."""
        ByChance.__post_init__(self)
        check_domains(self, positive=("smoothing",), not_negative=("diversity_weight",))

    def bonus(
        self, game: ZeroSumGame, situation: Situation, opponent: Floats, rng: np.random.Generator
    ) -> tuple[Bonus, float]:
        """Return the weighted distance; payoff keeps its weight."""
        args = (game, situation.side, situation.own, opponent)
        return self.distance(*args, self.diversity_weight, self.smoothing), 1.0


@register("members")
@dataclass(frozen=True, kw_only=True)
class Members(ByDistance):
    """Responses maximise the distance in plays from all members."""

    can_be_learned: ClassVar[bool] = True
    distance: ClassVar[type[MemberDistance]] = MemberDistance
