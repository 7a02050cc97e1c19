"""The SVO Slider Measure: payoffs of its items, the angle of an answer sheet, and chance scores.

Murphy, Ackermann & Handgraaf, "Measuring Social Value Orientation", Judgment and Decision Making
6(8), 2011. Each item has nine options on a straight line between two allocations of coins to
oneself and to another; the six primary items join four points of a circle around (50, 50). The
angle of the mean allocation, seen from the circle's centre, is the social value orientation.
"""

from __future__ import annotations

import functools
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

OPTIONS: Final = 9
LETTERS: Final = "ABCDEFGHI"
PRIMARY: Final = 6
"""Number of primary items, the ones that the angle is computed from."""

ENDPOINTS: Final[FloatArray] = np.array(
    [
        [[85, 85], [85, 15]],
        [[85, 15], [100, 50]],
        [[50, 100], [85, 85]],
        [[50, 100], [85, 15]],
        [[100, 50], [50, 100]],
        [[100, 50], [85, 85]],
        # secondary items
        [[100, 50], [70, 100]],
        [[90, 100], [100, 90]],
        [[100, 70], [50, 100]],
        [[100, 70], [90, 100]],
        [[70, 100], [100, 70]],
        [[50, 100], [100, 90]],
        [[50, 100], [100, 50]],
        [[100, 90], [70, 100]],
        [[90, 100], [100, 50]],
    ],
    dtype=np.float64,
)
"""(15 items, options A and I, self and other), in coins."""

VALUES: Final = ("altruistic", "prosocial", "individualistic", "competitive")
TARGETS: Final = (61.39, 45.0, 7.82, -16.26)
"""The angle of each value's ideal type, in degrees; of the ties of the prosocial, the middle."""
BORDERS: Final = (-12.04, 22.45, 57.15)
"""Degrees between competitive, individualistic, prosocial and altruistic; each the upper end of the
lower category. They are the midpoints of neighbouring ideal types."""


class Ring(NamedTuple):
    """Where the circle of the items lies: payoff' = centre + scale R(rotation) (payoff - 50).

    Another ring than the standard one has the same choices with other numbers, which no text about
    the measure contains. Its angle is that of the same choices on the standard ring: it is taken
    from the ring's own centre, and the rotation is subtracted.
    """

    scale: float = 1.0
    """In [0.5, 1]."""
    rotation: float = 0.0
    """Degrees in [-15, 15]. Up to there every ideal type chooses the same end of each item, where
    it is not indifferent."""
    centre: float = 50.0
    """Coins in [50, 100], for oneself and for the other."""


STANDARD: Final = Ring()


def check_ring(ring: Ring) -> Ring:
    """Return a ring that lies within its limits.

    Raises:
        ConfigError: it does not; payoffs could be negative, or ideal types change their choices.
    """
    limits = {"scale": (0.5, 1.0), "rotation": (-15.0, 15.0), "centre": (50.0, 100.0)}
    for name, (low, high) in limits.items():
        if not low <= getattr(ring, name) <= high:
            raise ConfigError(f"ring {name} must lie in [{low:g}, {high:g}], got {ring}")
    return ring


@functools.lru_cache(maxsize=1024)
def payoffs(ring: Ring = STANDARD) -> IntArray:
    """Return the payoffs of every option, (15 items, 9 options, 2: self and other), in coins.

    Options divide the line between the endpoints evenly and are rounded half up, which gives the
    printed tables of the primary items exactly.

    Raises:
        ConfigError: the ring is outside its limits.
    """
    check_ring(ring)
    turn = np.radians(ring.rotation)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    share = (np.arange(OPTIONS) / (OPTIONS - 1))[None, :, None]
    first, last = ENDPOINTS[:, None, 0], ENDPOINTS[:, None, 1]
    points = first + (last - first) * share - 50.0
    placed = ring.centre + ring.scale * points @ matrix.T
    # Twelve decimals, so that a half stays a half whatever the rounding of the products.
    table: IntArray = np.floor(np.round(placed, 12) + 0.5).astype(np.int64)
    table.flags.writeable = False
    return table


def angle(means: npt.ArrayLike, ring: Ring = STANDARD) -> FloatArray:
    """Return the angle (...) in degrees of mean payoffs (..., 2) to oneself and to the other.

    atan2 agrees with the published atan(other / self) where oneself gets more than the centre, and
    is defined everywhere.
    """
    return angles_around(np.asarray(means, dtype=np.float64), ring.centre, ring.rotation)


def angles_around(
    means: FloatArray, centre: float | FloatArray, rotation: float | FloatArray
) -> FloatArray:
    """Return the angles (...) of mean payoffs (..., 2), each on a ring of its own."""
    own, other = means[..., 0] - centre, means[..., 1] - centre
    degrees = np.degrees(np.arctan2(other, own)) - rotation
    found: FloatArray = (degrees + 180.0) % 360.0 - 180.0
    return found


def sheet_angle(choices: npt.ArrayLike, ring: Ring = STANDARD) -> FloatArray:
    """Return the angle (...) in degrees of answer sheets (..., 6): the option chosen in each item.

    >>> sheet_angle([0, 8, 0, 0, 8, 8]).round(2).item()
    61.39
    """
    chosen = np.asarray(choices, dtype=np.int64)
    table = payoffs(ring)
    return angle(table[np.arange(PRIMARY), chosen].mean(axis=-2), ring)


def category(degrees: npt.ArrayLike) -> IntArray:
    """Return the index in ``VALUES`` of the category of each angle; borders belong to the lower."""
    place = np.searchsorted(np.array(BORDERS), np.asarray(degrees, dtype=np.float64), side="left")
    found: IntArray = (len(BORDERS) - place).astype(np.int64)
    return found


class Chance(NamedTuple):
    """What answer sheets score on a ring, over all 9**6 of them."""

    mean_error: float
    """Mean distance to the target, in degrees: the uniform answerer's."""
    max_error: float
    """Largest distance that a sheet can have."""
    mean_angle: float
    sd_angle: float


@functools.lru_cache(maxsize=64)
def all_angles(ring: Ring = STANDARD) -> FloatArray:
    """Return the angle of every answer sheet, (531441,), the last item changing fastest."""
    table = payoffs(ring)[:PRIMARY]
    half = [np.zeros((1, 2), dtype=np.int64)] * 2
    for side in (0, 1):
        for item in range(3 * side, 3 * side + 3):
            half[side] = (half[side][:, None] + table[item][None]).reshape(-1, 2)
    sums = (half[0][:, None] + half[1][None]).reshape(-1, 2)
    found = angle(sums / PRIMARY, ring)
    found.flags.writeable = False
    return found


@functools.lru_cache(maxsize=1024)
def chance(target: float, ring: Ring = STANDARD) -> Chance:
    """Return the statistics of all answer sheets against a target angle in degrees."""
    angles = all_angles(ring)
    errors = distance(angles, target)
    return Chance(
        float(errors.mean()), float(errors.max()), float(angles.mean()), float(angles.std())
    )


@functools.lru_cache(maxsize=1024)
def best_sheet(target: float, ring: Ring = STANDARD) -> tuple[int, ...]:
    """Return the options of the sheet whose angle is closest to a target; of ties, the first."""
    closest = int(distance(all_angles(ring), target).argmin())
    return tuple(int(k) for k in np.unravel_index(closest, (OPTIONS,) * PRIMARY))


def distance(degrees: npt.ArrayLike, target: npt.ArrayLike) -> FloatArray:
    """Return the distance of angles on the circle, in [0, 180] degrees."""
    apart = np.asarray(degrees, dtype=np.float64) - np.asarray(target, dtype=np.float64)
    found: FloatArray = np.abs((apart + 180.0) % 360.0 - 180.0)
    return found


def inequality_aversion(choices: npt.ArrayLike) -> FloatArray:
    """Return whether prosocial choices seek equal or large payoffs, from the secondary items.

    In each secondary item with one option of the largest sum, and another of the smallest
    difference, the distances of the choice to the two are compared; the definition is ours. On the
    standard ring.

    Args:
        choices: (..., 15), the option chosen in each item, primary ones first.

    Returns:
        (...), from 0, always the largest sum, to 1, always the smallest difference.
    """
    chosen = np.asarray(choices, dtype=np.int64)[..., PRIMARY:]
    table = payoffs()[PRIMARY:]
    sums = ENDPOINTS[PRIMARY:].sum(axis=-1)
    joint = np.where(sums[:, 0] > sums[:, 1], 0, OPTIONS - 1)
    equal = np.abs(table[..., 0] - table[..., 1]).argmin(axis=-1)
    of = np.flatnonzero((sums[:, 0] != sums[:, 1]) & (joint != equal))
    to_joint = np.abs(chosen[..., of] - joint[of])
    to_equal = np.abs(chosen[..., of] - equal[of])
    found: FloatArray = (to_joint / (to_joint + to_equal)).mean(axis=-1)
    return found
