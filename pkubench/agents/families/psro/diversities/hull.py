"""PSD-PSRO with the distance of its equation: from the hull of the population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.families.psro.distances import hull_distance
from pkubench.agents.families.psro.diversities import log
from pkubench.agents.families.psro.diversities.members import ByDistance, MemberDistance
from pkubench.envs.games.forest import Floats


class HullDistance(MemberDistance):
    """``weight x min over mixtures m of members of dis(plan, m)``, by convex programming."""

    def values(self, plans: Floats) -> Floats:
        """Return the weighted distance of each plan from the hull."""
        return np.array([self._weight * self._nearest(plan)[0] for plan in plans])

    def _log_nearest(self, plan: Floats) -> Floats:
        return log(self._nearest(plan)[1] @ self._members)

    def _nearest(self, plan: Floats) -> tuple[float, Floats]:
        own = self._game.smooth(self._player, plan, self._smoothing)
        found = hull_distance(own, self._members, self._mass, tolerance=1e-8)
        return found.distance, found.weights

    def argmax(self, plans: Floats, base: Floats) -> int:
        """Return the best plan; member distances bound hull distances, so that few are solved."""
        bounds = base + self._weight * self._distances(plans).min(axis=1)
        best, highest = 0, -np.inf
        for k in np.argsort(-bounds, kind="stable").tolist():
            if bounds[k] <= highest:
                break
            value = base[k] + self._weight * self._nearest(plans[k])[0]
            if value > highest:
                best, highest = k, value
        return best


@register("hull")
@dataclass(frozen=True, kw_only=True)
class Hull(ByDistance):
    """Responses maximise the distance in plays from the whole hull."""

    distance: ClassVar[type[MemberDistance]] = HullDistance
