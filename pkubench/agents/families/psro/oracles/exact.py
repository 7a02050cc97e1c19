"""Exact responses, and diverse ones by listing pure plans or by responding to slopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.families.psro.diversities import Bonus
from pkubench.agents.families.psro.oracles import Aim, PlanOracle
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.normal_form import MatrixGame
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pkubench.agents.families.psro.spaces import Situation

_ROUNDS = 20
"""Slopes that are answered in the search for a diverse response on a tree."""
_CLIMB = 4
"""A search of a convex bonus starts from scratch after so many."""


@register("exact")
@dataclass(frozen=True, kw_only=True)
class Exact(PlanOracle):
    """The exact maximum; of a diverse response, in matrix games, of all pure plans."""

    is_pure: ClassVar[bool] = True

    ties: Literal["lowest", "random"] = "random"
    """Which of equally good actions a response takes. Where the opponent never leads, all are
    equal: a fixed choice there makes weak policies, a random one keeps populations diverse."""

    def __post_init__(self) -> None:
        """Check the domains."""
        PlanOracle.__post_init__(self)
        if self.ties not in ("lowest", "random"):
            raise ConfigError(f"ties must be 'lowest' or 'random', got {self.ties!r}")

    def plan(
        self, game: ZeroSumGame, situation: Situation, aim: Aim, rng: np.random.Generator
    ) -> tuple[Floats, float]:
        """Return a pure plan."""
        lots = rng if self.ties == "random" else None
        if aim.bonus is None:
            best, plan = game.best_plan(situation.side, aim.worth, lots)
            own = game.mix(situation.own, situation.own_weights)
            return plan, best - float(own @ aim.worth)
        if isinstance(game, MatrixGame):
            return _listed(situation.row, aim.base, aim.bonus, aim.step), np.inf
        return _searched(game, situation.side, aim, aim.bonus, lots), np.inf


def _listed(row: Floats, base: Floats, bonus: Bonus, step: float) -> Floats:
    """Return the best of all pure strategies of a matrix game."""
    actions = np.eye(len(base))
    # Distances in plays look at the response, those of payoffs at the policy it makes.
    tried = (1.0 - step) * row + step * actions if bonus.is_of_payoffs else actions
    return np.asarray(actions[bonus.argmax(tried, base)])


def _searched(
    game: ZeroSumGame, side: int, aim: Aim, bonus: Bonus, lots: np.random.Generator | None
) -> Floats:
    """Return the best pure plan found by responding to slopes, from the plain response on.

    Exact at once for a bonus that is linear on pure plans. A convex one goes uphill from slope to
    slope, from several starts. A least distance is a game against who chooses the nearest member or
    mixture: responses to the mean of all slopes met so far are fictitious play in it.
    """
    base = aim.base
    _, plan = game.best_plan(side, aim.worth, lots)
    best, highest = plan, float(base @ plan + bonus.values(plan[None])[0])
    draws = np.random.default_rng(0) if lots is None else lots
    slopes, met = np.zeros_like(base), 0
    for round_ in range(_ROUNDS):
        is_new_start = not bonus.is_least and round_ % _CLIMB == _CLIMB - 1
        if is_new_start:
            plan = game.random_plan(side, draws, pure=True)
        slope = bonus.pure_slopes(plan)
        slopes, met = (slopes + slope, met + 1) if bonus.is_least else (slope, 1)
        # ``base`` is in units of the largest payoff, as the bonus is.
        _, plan = game.best_plan(side, base + slopes / met, lots, unit=1.0)
        value = float(base @ plan + bonus.values(plan[None])[0])
        if value > highest:
            best, highest = plan, value
    return best
