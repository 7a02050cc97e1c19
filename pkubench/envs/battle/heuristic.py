"""The scripted soldier: shoots what is near, follows what it sees, else crosses the map.

The enemies of a battle play it, and ``scripted:heuristic`` lets the allies play it too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.envs.battle.combat import ATTACK, MAP
from pkubench.envs.core.batch import BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray


class View(NamedTuple):
    """What soldiers see of their opponents; arrays over opponents, soldiers and environments.

    Opponents are in the order of the soldiers' attacks: the k-th is attacked by ``ATTACK + k``.
    """

    gap: FloatArray
    """(2, opponents, soldiers, environments): opponent's position less the soldier's, in cells."""
    squared: FloatArray
    """(opponents, soldiers, environments): squared distance."""
    is_seen: BoolArray
    """(opponents, soldiers, environments): nearer than the soldier's sight, and both alive."""
    is_near: BoolArray
    """(opponents, soldiers, environments): seen, and nearer than the reach of its shots."""


class Order(NamedTuple):
    """What soldiers do."""

    actions: IntArray
    """(soldiers, environments)."""
    targets: npt.NDArray[np.int64]
    """(soldiers, environments): which opponent each attacks, -1 for none; remembered."""


def across(positions: FloatArray) -> FloatArray:
    """Return where soldiers go that see nobody: their start, turned by 180 degrees.

    Args:
        positions: x and y in cells, of any shape.
    """
    return MAP - positions


def command(view: View, targets: IntArray, goal: FloatArray, luck: FloatArray) -> Order:
    """Decide for every soldier.

    It shoots at its last target while that is near, else at the nearest opponent, if one is near;
    whether its weapon is ready is not considered. Otherwise it walks, along the axis with the
    larger distance, towards one of the opponents that it sees, drawn anew in each step, or else to
    ``goal``.

    Args:
        view: of the opponents.
        targets: (soldiers, environments): those of the last order, -1 at the start.
        goal: (2, soldiers, environments): way to where it goes if it sees nobody, in cells.
        luck: (soldiers, environments), uniform in [0, 1): chooses whom it follows.
    """
    shot_at = np.where(view.is_near, view.squared, np.inf).argmin(axis=0)
    np.copyto(shot_at, -1, where=~np.logical_or.reduce(view.is_near))
    for k, is_near in enumerate(view.is_near):
        np.copyto(shot_at, k, where=is_near & (targets == k))

    chosen = (luck * np.add.reduce(view.is_seen, dtype=np.int64)).astype(np.int64)
    count = np.zeros(targets.shape, dtype=np.int64)
    x, y = goal[0].copy(), goal[1].copy()
    for k, is_seen in enumerate(view.is_seen):
        is_chosen = is_seen & (count == chosen)
        np.copyto(x, view.gap[0, k], where=is_chosen)
        np.copyto(y, view.gap[1, k], where=is_chosen)
        count += is_seen
    return Order(np.where(shot_at >= 0, ATTACK + shot_at, walk(x, y)), shot_at)


def walk(x: FloatArray, y: FloatArray) -> IntArray:
    """Return moves along the larger of two distances: 0 north, 1 east, 2 south, 3 west.

    Of equal ones, the first in this order.
    """
    wide, high = np.abs(x), np.abs(y)
    return np.select([y >= wide, x >= high, -y >= wide], [0, 1, 2], 3).astype(np.int64)
