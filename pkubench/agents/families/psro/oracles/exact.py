"""Exact responses, and diverse ones by enumerating pure plans or by responding to gradients."""

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
"""Gradient steps in the search for a diverse response on a tree."""
_RESTART_EVERY = 4
"""Gradient steps after which the search for a convex bonus restarts."""


@register("exact")
@dataclass(frozen=True, kw_only=True)
class Exact(PlanOracle):
    """The exact best response; a diverse response in matrix games is the best of all pure plans."""

    is_pure: ClassVar[bool] = True

    ties: Literal["lowest", "random"] = "random"
    """How a response breaks ties between equally good actions. At states that the opponent never
    reaches all are equal: a fixed choice there gives weak policies, a random one diverse
    populations."""

    def __post_init__(self) -> None:
        """Check the domains."""
        PlanOracle.__post_init__(self)
        if self.ties not in ("lowest", "random"):
            raise ConfigError(f"ties must be 'lowest' or 'random', got {self.ties!r}")

    def plan(
        self, game: ZeroSumGame, situation: Situation, aim: Aim, rng: np.random.Generator
    ) -> tuple[Floats, float]:
        """Return a pure plan."""
        ties = rng if self.ties == "random" else None
        if aim.bonus is None:
            best, plan = game.best_plan(situation.side, aim.worth, ties)
            own = game.mix(situation.own, situation.own_weights)
            return plan, best - float(own @ aim.worth)
        if isinstance(game, MatrixGame):
            return _listed(situation.row, aim.base, aim.bonus, aim.step), np.inf
        return _searched(game, situation.side, aim, aim.bonus, ties), np.inf


def _listed(row: Floats, base: Floats, bonus: Bonus, step: float) -> Floats:
    """Return the best of all pure strategies of a matrix game."""
    actions = np.eye(len(base))
    # Distances in plays depend on the response, those of payoffs on the resulting policy.
    tried = (1.0 - step) * row + step * actions if bonus.is_of_payoffs else actions
    return np.asarray(actions[bonus.argmax(tried, base)])


def _searched(
    game: ZeroSumGame, side: int, aim: Aim, bonus: Bonus, ties: np.random.Generator | None
) -> Floats:
    """Return the best pure plan found by responding to gradients, from the plain response on.

    Exact after one step for a bonus that is linear on pure plans. A convex one increases with every
    response, from several starts. A minimum distance is a game against a player who chooses the
    nearest member or mixture: responding to the mean of all gradients so far is fictitious play in
    it.
    """
    base = aim.base
    _, plan = game.best_plan(side, aim.worth, ties)
    best, highest = plan, float(base @ plan + bonus.values(plan[None])[0])
    draws = np.random.default_rng(0) if ties is None else ties
    slopes, met = np.zeros_like(base), 0
    for round_ in range(_ROUNDS):
        is_new_start = not bonus.is_least and round_ % _RESTART_EVERY == _RESTART_EVERY - 1
        if is_new_start:
            plan = game.random_plan(side, draws, pure=True)
        slope = bonus.pure_slopes(plan)
        slopes, met = (slopes + slope, met + 1) if bonus.is_least else (slope, 1)
        # ``base`` is in units of the largest payoff, as the bonus is.
        _, plan = game.best_plan(side, base + slopes / met, ties, unit=1.0)
        value = float(base @ plan + bonus.values(plan[None])[0])
        if value > highest:
            best, highest = plan, value
    return best
