"""Diversity bonuses: what a response is worth beside what it wins.

Each bonus scores any stack of candidate plans (:meth:`Bonus.values`), which is enough where all
pure policies can be listed, and has a slope in the plan's entries (:meth:`Bonus.slopes`), by which
responses on game trees and mirror ascent find their way. Payoffs are in units of the largest one.

| bonus | of a plan | source |
|---|---|---|
| ``MemberDistance`` | least divergence from a member | PSD-PSRO's code |
| ``HullDistance`` | least divergence from any mixture | PSD-PSRO, equation of PSD |
| ``JensenShannon`` | divergence from what is played now | BD&RD-PSRO, behavioural |
| ``PayoffDistance`` | how far its payoffs are from the gamescape | BD&RD-PSRO, response |
| ``Cardinality`` | size of the population by a determinantal process | DPP-PSRO |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pkubench.agents.families.psro.diversity import hull_distance
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.zero_sum import ZeroSumGame

_RANK = 1e-10
"""Singular values smaller than this, relative to the largest, are zero."""


class Bonus(ABC):
    """A number for each candidate plan; more is more diverse."""

    is_least = False
    """Whether it is a minimum over members or mixtures, and not a convex function."""

    @abstractmethod
    def values(self, plans: Floats) -> Floats:
        """Return the bonus of each plan, float64 ``(plans,)``.

        Args:
            plans: float64 ``(plans, sequences)``.
        """

    @abstractmethod
    def slopes(self, plan: Floats) -> Floats:
        """Return the bonus's gradient at a plan, float64 ``(sequences,)``.

        Where the bonus is a minimum, of the piece that is least there (the envelope theorem).
        Distances in plays smooth the plan first; the gradient is that of the smoothed plan.
        """

    def pure_slopes(self, plan: Floats) -> Floats:
        """Return how the bonus changes from one pure plan to another, about a pure plan.

        As :meth:`slopes`, where the derivative at entries of 0 and 1 says that.
        """
        return self.slopes(plan)

    def argmax(self, plans: Floats, base: Floats) -> int:
        """Return which plan has the largest ``base + values(plans)``, the first if tied.

        Args:
            plans: float64 ``(plans, sequences)``.
            base: float64 ``(plans,)``.
        """
        return int((base + self.values(plans)).argmax())


class MemberDistance(Bonus):
    """``weight x min over members z of dis(plan, z)``, both smoothed; see ``diversity``."""

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
        self._logs = _log(self._members)
        self._weight = weight

    def values(self, plans: Floats) -> Floats:
        """Return the weighted distance of each plan from the nearest member."""
        return np.asarray(self._weight * self._distances(plans).min(axis=1))

    def _distances(self, plans: Floats) -> Floats:
        smoothed = self._game.smooth(self._player, plans, self._smoothing)
        played = smoothed * self._mass
        return np.asarray((played * _log(smoothed)).sum(axis=1)[:, None] - played @ self._logs.T)

    def slopes(self, plan: Floats) -> Floats:
        """Return ``weight w (log x - log z)`` with the nearest member ``z``."""
        own = self._game.smooth(self._player, plan, self._smoothing)
        # The derivative of x log x is log x + 1; the 1 adds a constant, for plays end somewhere.
        return np.asarray(self._weight * self._mass * _log(own) + self.pure_slopes(plan))

    def pure_slopes(self, plan: Floats) -> Floats:
        """Return ``-weight w log z``: for pure plans ``x log x`` is 0 everywhere."""
        return np.asarray(-self._weight * self._mass * self._log_nearest(plan))

    def _log_nearest(self, plan: Floats) -> Floats:
        return np.asarray(self._logs[int(self._distances(plan[None])[0].argmin())])


class HullDistance(MemberDistance):
    """``weight x min over mixtures m of members of dis(plan, m)``, by convex programming."""

    def values(self, plans: Floats) -> Floats:
        """Return the weighted distance of each plan from the hull."""
        return np.array([self._weight * self._nearest(plan)[0] for plan in plans])

    def _log_nearest(self, plan: Floats) -> Floats:
        return _log(self._nearest(plan)[1] @ self._members)

    def _nearest(self, plan: Floats) -> tuple[float, Floats]:
        own = self._game.smooth(self._player, plan, self._smoothing)
        found = hull_distance(own, self._members, self._mass, tolerance=1e-8)
        return found.distance, found.weights

    def argmax(self, plans: Floats, base: Floats) -> int:
        """Return the best plan; no farther from the hull than from a member, few need solving."""
        bounds = base + self._weight * self._distances(plans).min(axis=1)
        best, highest = 0, -np.inf
        for k in np.argsort(-bounds, kind="stable").tolist():
            if bounds[k] <= highest:
                break
            value = base[k] + self._weight * self._nearest(plans[k])[0]
            if value > highest:
                best, highest = k, value
        return best


class JensenShannon(Bonus):
    """``weight x sum over sequences w [x log x + s log s - (x + s) log((x + s) / 2)]``.

    Twice the Jensen-Shannon divergence of a plan ``x`` from the mixture ``s`` that is played now.
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
        return np.asarray((_xlogx(plans) + _xlogx(self._played) - 2.0 * _xlogx(both)) @ self._mass)

    def slopes(self, plan: Floats) -> Floats:
        """Return ``weight w log(2 x / (x + s))``, the gradient where ``x`` is positive."""
        return np.asarray(self._mass * (_log(plan) - _log((plan + self._played) / 2.0)))

    def pure_slopes(self, plan: Floats) -> Floats:
        """Return the differences that taking or leaving each sequence makes.

        The bonus is a sum over sequences, so between pure plans it is linear with these slopes.
        """
        taken = _xlogx(self._played) - 2.0 * _xlogx((1.0 + self._played) / 2.0)
        left = _xlogx(self._played) - 2.0 * _xlogx(self._played / 2.0)
        return np.asarray(self._mass * (taken - left))


class PayoffDistance(Bonus):
    """Distance of a payoff vector from the gamescape of the old ones, as in BD&RD-PSRO's code.

    With ``O`` (opponents x old policies), ``b`` the candidate's payoffs and ``n`` old policies,
    ``(s / n) (1 - 1' O^+ b)^2 + |(I - O O^+) b|^2``, where ``s`` is the square of the least
    singular value: a lower bound of the distance from the convex hull.
    """

    def __init__(
        self, worth: Floats, old: Floats, inverse: Literal["ranked", "official"] = "ranked"
    ) -> None:
        """Measure payoffs ``worth @ plan`` against those of old policies.

        Args:
            worth: float64 ``(opponents, sequences)``, see ``ZeroSumGame.gains``.
            old: float64 ``(old policies, opponents)``, their payoffs.
            inverse: ``official`` inverts in single precision all singular values there are, as the
                released mixture model does. Populations outgrow the rank of a game's payoffs; from
                then on ``O O^+`` is off by numbers of the size of 1, and the bonus is mostly noise.
        """
        is_official = inverse == "official"
        table: NDArray[Any] = old.T.astype(np.float32) if is_official else old.T
        # The released 1e-15 is less than single precision tells from 0.
        inverted = np.linalg.pinv(table, rcond=1e-15 if is_official else _RANK)
        self._worth = worth
        self._outside = np.eye(len(table)) - table @ inverted
        # A projection, so its square is itself; with the noise it is none.
        self._squared = self._outside.T @ self._outside if is_official else self._outside
        self._sums = inverted.sum(axis=0)
        self._scale = float(np.linalg.svd(table, compute_uv=False).min()) ** 2 / table.shape[1]

    def values(self, plans: Floats) -> Floats:
        """Return the distance of each plan's payoffs."""
        payoffs = plans @ self._worth.T
        beside = ((payoffs @ self._outside.T) ** 2).sum(axis=1)
        return np.asarray(self._scale * (1.0 - payoffs @ self._sums) ** 2 + beside)

    def slopes(self, plan: Floats) -> Floats:
        """Return the gradient, by the chain rule through the payoffs."""
        payoffs = self._worth @ plan
        along = -2.0 * self._scale * (1.0 - self._sums @ payoffs) * self._sums
        return np.asarray((along + 2.0 * self._squared @ payoffs) @ self._worth)


class Cardinality(Bonus):
    """``tr(I - (M M' + I)^-1)`` of the payoffs ``M`` with the candidate's as last row.

    The expected size of a determinantal point process with kernel ``M M'`` (DPP-PSRO). In a
    symmetric game the candidate is an opponent too: ``M`` gets a last column.
    """

    def __init__(self, worth: Floats, old: Floats, symmetric: bool) -> None:
        """Measure payoffs ``worth @ plan`` beside those of old policies.

        Args:
            worth: float64 ``(opponents, sequences)``, see ``ZeroSumGame.gains``.
            old: float64 ``(old policies, opponents)``, their payoffs.
            symmetric: ``old`` is antisymmetric and opponents are the old policies.
        """
        self._worth, self._old, self._symmetric = worth, old, symmetric
        size = len(old)
        kernel = np.eye(size) + (old if symmetric else old @ old.T)
        self._inverse = np.linalg.inv(kernel)

    def values(self, plans: Floats) -> Floats:
        """Return the expected size with each plan, by the inverse of a block matrix."""
        payoffs = plans @ self._worth.T
        size = len(self._old) + 1
        if self._symmetric:
            # M M' + I = (I + M)(I + M)', so the trace is a sum of squares. With N = (I + M)^-1 of
            # the old policies and c the last column:
            return size - self._squares(-payoffs.T)
        # Otherwise by the Schur complement of the candidate's row b, with d = M b.
        cross = self._old @ payoffs.T
        near = self._inverse @ cross
        rest = 1.0 + (payoffs.T**2).sum(axis=0) - (cross * near).sum(axis=0)
        return np.asarray(size - np.trace(self._inverse) - (1.0 + (near**2).sum(axis=0)) / rest)

    def _squares(self, last: Floats) -> Floats:
        left, right = self._inverse @ last, self._inverse.T @ last
        corner = 1.0 + (last * left).sum(axis=0)
        norms = (left**2).sum(axis=0), (right**2).sum(axis=0)
        cross = (left * (self._inverse @ right)).sum(axis=0)
        old = float((self._inverse**2).sum()) - 2.0 * cross / corner
        return np.asarray(
            old + norms[0] * norms[1] / corner**2 + (norms[0] + norms[1] + 1.0) / corner**2
        )

    def slopes(self, plan: Floats) -> Floats:
        """Return the gradient, ``2 (M M' + I)^-2 M`` where the payoffs of the plan stand in M."""
        payoffs = self._worth @ plan
        size = len(self._old)
        table = np.zeros((size + 1, len(payoffs) + self._symmetric))
        table[:size, : len(payoffs)] = self._old
        table[size, : len(payoffs)] = payoffs
        if self._symmetric:
            table[:size, -1] = -payoffs
        inverse = np.linalg.inv(np.eye(size + 1) + table @ table.T)
        gradient = 2.0 * inverse @ inverse @ table
        slope = gradient[size, : len(payoffs)]
        if self._symmetric:
            slope = slope - gradient[:size, -1]
        return np.asarray(slope @ self._worth)


def _log(x: Floats) -> Floats:
    """Return the logarithm, with what has underflowed at the smallest number there is."""
    return np.log(np.maximum(x, np.finfo(np.float64).tiny))


def _xlogx(x: Floats) -> Floats:
    return np.asarray(x * np.log(np.where(x > 0.0, x, 1.0)))
