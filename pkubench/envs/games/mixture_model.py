"""The non-transitive mixture model: a symmetric zero-sum game whose policies are points in a plane.

Perez-Nieves et al. (2021), in the form in which the PSD-PSRO experiments use it (precision 0.54,
unnormalised bells). Best responses are global searches, so exploitabilities are exact to the
stated tolerance and never negative, unlike those by gradient descent.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pkubench.envs.games.errors import GameError, PlanError
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.linear_programs import matrix_game
from pkubench.envs.games.matrix_catalogue import cyclic
from pkubench.envs.games.normal_form import SymmetricMatrixGame
from pkubench.envs.games.sums import rows_dot, weighted_rows

CENTRES: Final = np.array(
    [
        [2.8722, -0.025255],
        [1.8105, 2.2298],
        [1.8105, -2.2298],
        [-0.6145, 2.8058],
        [-0.6145, -2.8058],
        [-2.5768, 1.269],
        [-2.5768, -1.269],
    ]
)
"""Centres of the seven bells, in the order in which each beats the next three."""
CENTRES.flags.writeable = False
PRECISION: Final = 0.54
"""Inverse variance of each bell."""
_HALF_WIDTH = 5.0
_GRID = 201
"""Points a side of the search grid: 0.05 apart, where a bell is 1.36 wide."""
_TOLERANCE = 1e-9
"""Population exploitability is computed to this much."""
_MAX_CUTS = 500


class PointsValue(NamedTuple):
    """The best that mixtures of points can guarantee.

    Attributes:
        value: Payoff guaranteed against every point of the plane.
        weights: The mixture that guarantees it, one weight a point.
    """

    value: float
    weights: Floats


class MixtureModel:
    """Seven bells on a circle, each beating the next three of ``CENTRES``.

    Being near any of them is worth more.

    With ``g(x)``, the seven bells' heights at ``x``, and ``G``, the tournament of seven,

        ``u(x, y) = g(x) @ G @ g(y) + (sum(g(x)) - sum(g(y))) / 2``.

    Climbing a bell is transitive, moving around the circle is not: a population must hold
    several bells at once to be hard to exploit.

    Populations are float64 ``(policies, 2)``.
    """

    def __init__(self) -> None:
        """Lay out the game; it has no settings."""
        self.tournament = cyclic(len(CENTRES)).payoff

    def features(self, points: ArrayLike) -> Floats:
        """Return the heights ``exp(-0.27 |x - centre|^2)``, float64 ``(policies, 7)``."""
        offsets = _points(points)[:, None, :] - CENTRES
        return np.asarray(np.exp(-0.5 * PRECISION * (offsets**2).sum(axis=-1)))

    def feature_slopes(self, points: ArrayLike) -> Floats:
        """Return the derivatives of the heights, float64 ``(policies, 7, 2)``."""
        array = _points(points)
        offsets = array[:, None, :] - CENTRES
        return np.asarray(-PRECISION * offsets * self.features(array)[..., None])

    def payoffs(self, points_0: ArrayLike, points_1: ArrayLike) -> Floats:
        """Return the payoff matrix of two populations, float64 ``(|X|, |Y|)``."""
        rows, columns = self.features(points_0), self.features(points_1)
        skill = (rows.sum(axis=1)[:, None] - columns.sum(axis=1)[None, :]) / 2.0
        cycles = [rows_dot(columns, weighted_rows(row, self.tournament)) for row in rows]
        return np.asarray(np.stack(cycles) + skill)

    def game_among(self, points: ArrayLike) -> SymmetricMatrixGame:
        """Return the matrix game of a population against itself."""
        return SymmetricMatrixGame(self.payoffs(points, points), "mixture model")

    def slope(self, points: ArrayLike, opponents: ArrayLike, weights: ArrayLike) -> Floats:
        """Return the gradient of each point's payoff against a mixture, ``(policies, 2)``."""
        worth, _ = self._worth(opponents, weights)
        return np.asarray((self.feature_slopes(points) * worth[:, None]).sum(axis=1))

    def best_response(self, opponents: ArrayLike, weights: ArrayLike) -> tuple[float, Floats]:
        """Return the most that any point of the plane wins against a mixture, and the point.

        The payoff is linear in the features, a sum of seven weighted bells. Every local maximum of
        a grid is refined by Newton's method and the highest is returned.

        Args:
            opponents: ``(policies, 2)``.
            weights: ``(policies,)``, a distribution.
        """
        slopes, offset = self._worth(opponents, weights)
        heights = weighted_rows(slopes, self._grid_features).reshape(_GRID, _GRID)
        padded = np.pad(heights, 1, constant_values=-np.inf)
        around = [
            padded[1 + i : 1 + i + _GRID, 1 + j : 1 + j + _GRID]
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
            if (i, j) != (0, 0)
        ]
        is_peak = (heights >= np.max(around, axis=0)).ravel()
        peaks = self._refined(self._grid[is_peak], slopes)
        values = rows_dot(self.features(peaks), slopes)
        best = int(values.argmax())
        return float(values[best] + offset), peaks[best]

    def exploitability(self, points: ArrayLike, weights: ArrayLike) -> float:
        """Return what a best response wins against a mixture, 0 at an equilibrium.

        By symmetry half of the NashConv of playing the mixture on both sides.
        """
        return max(self.best_response(points, weights)[0], 0.0)

    def population_value(self, points: ArrayLike) -> PointsValue:
        """Return what the best mixture of a population guarantees, and the mixture.

        Cutting planes: solve against finitely many opponents, add the best response to the
        mixture found, and stop when it gains less than 1e-9 over them.
        """
        array = _points(points)
        opponents = np.vstack([array, CENTRES])
        for _ in range(_MAX_CUTS):
            solution = matrix_game(self.payoffs(array, opponents))
            worst, point = self.best_response(array, solution.x)
            if -worst >= solution.value - _TOLERANCE:
                return PointsValue(-worst, solution.x)
            opponents = np.vstack([opponents, point])
        raise GameError(
            f"population exploitability did not settle after {_MAX_CUTS} best responses"
        )

    def population_exploitability(self, points: ArrayLike) -> float:
        """Return what one population loses at best to an opponent anywhere in the plane.

        On the scale of :meth:`exploitability`, as ``SymmetricMatrixGame`` has it.
        """
        return max(-self.population_value(points).value, 0.0)

    def _worth(self, opponents: ArrayLike, weights: ArrayLike) -> tuple[Floats, float]:
        """Return the worth of each feature against a mixture, and the constant beside it."""
        features, mass = self.features(opponents), np.asarray(weights, np.float64)
        if mass.shape != (len(features),) or not (mass >= -1e-9).all():
            raise PlanError(f"weights {mass.shape} do not go with {len(features)} points")
        if not abs(mass.sum() - 1.0) <= 1e-5:
            raise PlanError(f"mixture weights must be a distribution; they sum to {mass.sum():g}")
        mean = weighted_rows(mass, features)
        return rows_dot(self.tournament, mean) + 0.5, -0.5 * float(mean.sum())

    @cached_property
    def _grid(self) -> Floats:
        axis = np.linspace(-_HALF_WIDTH, _HALF_WIDTH, _GRID)
        return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)

    @cached_property
    def _grid_features(self) -> Floats:
        """Height of each bell at each point of the grid, ``(7, points)``."""
        return np.ascontiguousarray(self.features(self._grid).T)

    def _refined(self, points: Floats, slopes: Floats) -> Floats:
        """Climb from grid maxima to the maxima they stand for."""
        spacing = 2.0 * _HALF_WIDTH / (_GRID - 1)
        start, points = points, points.copy()
        for _ in range(20):
            offsets = points[:, None, :] - CENTRES
            weight = slopes * self.features(points)
            east, north = offsets[..., 0], offsets[..., 1]
            g0, g1 = (-PRECISION * (weight * way).sum(axis=1) for way in (east, north))
            # The Hessian's entries; ``about`` is what its diagonal has less.
            about = PRECISION * weight.sum(axis=1)
            h00, h01, h11 = (
                PRECISION**2 * (weight * product).sum(axis=1)
                for product in (east**2, east * north, north**2)
            )
            h00, h11 = h00 - about, h11 - about
            determinant = h00 * h11 - h01**2
            # On flat ground (the edge of the grid, saddles) Newton's step is not for climbing.
            is_cap = (determinant > 1e-12) & (h00 + h11 < 0.0)
            newton = np.stack([h01 * g1 - h11 * g0, h01 * g0 - h00 * g1], axis=1)
            step = np.zeros_like(points)
            step[is_cap] = newton[is_cap] / determinant[is_cap, None]
            points = np.clip(points + step, start - 2.0 * spacing, start + 2.0 * spacing)
        # Where the climb went astray, the grid point itself is the better one.
        climbed, before = (rows_dot(self.features(where), slopes) for where in (points, start))
        is_higher = climbed >= before
        return np.asarray(np.where(is_higher[:, None], points, start))


def _points(points: ArrayLike) -> NDArray[np.float64]:
    array = np.atleast_2d(np.asarray(points, np.float64))
    if array.ndim != 2 or array.shape[1] != 2 or not len(array) or not np.isfinite(array).all():
        raise PlanError(f"a population is finite points of shape (policies, 2), got {array.shape}")
    return array
