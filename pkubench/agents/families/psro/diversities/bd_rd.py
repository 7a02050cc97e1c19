"""BD&RD-PSRO (Liu et al. 2021): behavioural or response diversity, with equal probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pkubench.agents.components import register
from pkubench.agents.families.psro.diversities import (
    Bonus,
    ByChance,
    log,
    payoffs_against,
    xlogx,
)
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.zero_sum import ZeroSumGame

if TYPE_CHECKING:
    from pkubench.agents.families.psro.spaces import Situation

_RANK = 1e-10
"""Singular values smaller than this, relative to the largest, are zero."""


@register("bd-rd")
@dataclass(frozen=True, kw_only=True)
class BDRD(ByChance):
    """Responses maximise behavioural or response diversity, with equal probability."""

    payoff_inverse: Literal["ranked", "official"] = "ranked"
    """How the distance of payoffs inverts the payoff table: without singular values that are mere
    rounding errors, or with them in single precision, as the released mixture model."""

    def bonus(
        self, game: ZeroSumGame, situation: Situation, opponent: Floats, rng: np.random.Generator
    ) -> tuple[Bonus, float]:
        """Return a divergence in addition to payoff, or a distance of payoffs alone."""
        if rng.random() < 0.5:
            played = game.mix(situation.own, situation.own_weights)
            weight = behaviour_weight(situation.iteration)
            return JensenShannon(game, situation.side, played, opponent, weight), 1.0
        against, old = payoffs_against(game, situation)
        return PayoffDistance(against, old, self.payoff_inverse), 0.0


def behaviour_weight(iteration: int) -> float:
    """Return the weight of behavioural diversity in BD&RD-PSRO's code: 500, 100, 50."""
    if iteration <= 75:
        return 500.0
    return 100.0 if iteration <= 150 else 50.0


class JensenShannon(Bonus):
    """``weight x sum over sequences w [x log x + s log s - (x + s) log((x + s) / 2)]``.

    Twice the Jensen-Shannon divergence of a plan ``x`` from the current mixture ``s``.
    """

    def __init__(
        self, game: ZeroSumGame, player: int, played: Floats, opponent: Floats, weight: float
    ) -> None:
        """Measure against the plan ``played`` in plays with ``opponent``."""
        self._mass = weight * game.terminal_weights(player, opponent)
        self._played = played

    def values(self, plans: Floats) -> Floats:
        """Return the weighted divergence of each plan."""
        both = (plans + self._played) / 2.0
        return np.asarray((xlogx(plans) + xlogx(self._played) - 2.0 * xlogx(both)) @ self._mass)

    def slopes(self, plan: Floats) -> Floats:
        """Return ``weight w log(2 x / (x + s))``, the gradient where ``x`` is positive."""
        return np.asarray(self._mass * (log(plan) - log((plan + self._played) / 2.0)))

    def pure_slopes(self, plan: Floats) -> Floats:
        """Return the change of the bonus by including each sequence.

        The bonus is a sum over sequences, so between pure plans it is linear with these slopes.
        """
        taken = xlogx(self._played) - 2.0 * xlogx((1.0 + self._played) / 2.0)
        left = xlogx(self._played) - 2.0 * xlogx(self._played / 2.0)
        return np.asarray(self._mass * (taken - left))


class PayoffDistance(Bonus):
    """Distance of a payoff vector from the gamescape of the old ones, as in BD&RD-PSRO's code.

    With ``O`` (opponents x old policies), ``b`` the candidate's payoffs and ``n`` old policies,
    ``(s / n) (1 - 1' O^+ b)^2 + |(I - O O^+) b|^2``, where ``s`` is the square of the least
    singular value: a lower bound of the distance from the convex hull.
    """

    is_of_payoffs = True

    def __init__(
        self, worth: Floats, old: Floats, inverse: Literal["ranked", "official"] = "ranked"
    ) -> None:
        """Measure payoffs ``worth @ plan`` against those of old policies.

        Args:
            worth: float64 ``(opponents, sequences)``, see ``ZeroSumGame.gains``.
            old: float64 ``(old policies, opponents)``, their payoffs.
            inverse: ``official`` inverts in single precision all singular values there are, as the
                released mixture model does. Once a population is larger than the rank of a game's
                payoffs, ``O O^+`` has errors of order 1, and the bonus is mostly noise.
        """
        is_official = inverse == "official"
        table: NDArray[Any] = old.T.astype(np.float32) if is_official else old.T
        # The released 1e-15 is below the resolution of single precision.
        inverted = np.linalg.pinv(table, rcond=1e-15 if is_official else _RANK)
        self._worth = worth
        self._outside = np.eye(len(table)) - table @ inverted
        # A projection, so its square is itself; with the noise it is not one.
        self._squared = self._outside.T @ self._outside if is_official else self._outside
        self._sums = inverted.sum(axis=0)
        self._scale = float(np.linalg.svd(table, compute_uv=False).min()) ** 2 / table.shape[1]

    def values(self, plans: Floats) -> Floats:
        """Return the distance of each plan's payoffs."""
        payoffs = plans @ self._worth.T
        outside = ((payoffs @ self._outside.T) ** 2).sum(axis=1)
        return np.asarray(self._scale * (1.0 - payoffs @ self._sums) ** 2 + outside)

    def slopes(self, plan: Floats) -> Floats:
        """Return the gradient, by the chain rule through the payoffs."""
        payoffs = self._worth @ plan
        along = -2.0 * self._scale * (1.0 - self._sums @ payoffs) * self._sums
        return np.asarray((along + 2.0 * self._squared @ payoffs) @ self._worth)
