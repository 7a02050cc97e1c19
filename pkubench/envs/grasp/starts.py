"""The poses in which episodes start: resting poses of many objects, chosen as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.grasp.items import Item, RestingPoses
from pkubench.errors import ConfigError

_BEYOND = 2.0
"""Stands for poses that an object does not have: no draw reaches it."""


class StartPoses:
    """Resting poses of a list of objects, each computed when it is first asked for."""

    def __init__(self, items: Sequence[Item]) -> None:
        """Take the objects, whose places in ``items`` are their numbers."""
        self._items = items
        self._row: IntArray = np.full(len(items), -1, dtype=np.int64)
        """Object -> its row in what follows."""
        self._count: IntArray = np.zeros(0, dtype=np.int64)
        self._poses = RestingPoses(np.zeros((0, 0, 4)), *(np.zeros((0, 0)) for _ in range(3)))
        """Rows (objects, most poses, ...)."""

    def at(
        self, number: IntArray, pose: IntArray, draw: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return poses by number, or drawn as often as a drop ends in them.

        Args:
            number: of the object, (n,).
            pose: of its pose, likeliest first, modulo how many it has; -1 draws it, (n,).
            draw: in [0, 1), (n,).

        Returns:
            Quaternion (n, 4), height (n,) of the origin and top (n,) above the table in m.
        """
        new = np.unique(number[self._row[number] < 0])
        if len(new):
            self._add(new)
        row = self._row[number]
        drawn = (self._poses.chance[row] <= draw[:, None]).sum(axis=1)
        place = np.where(pose < 0, drawn, pose % self._count[row])
        found = self._poses
        return found.quaternion[row, place], found.height[row, place], found.top[row, place]

    def _add(self, numbers: IntArray) -> None:
        poses = [self._items[number].poses for number in numbers.tolist()]
        counts = np.array([len(one.height) for one in poses])
        before, old = self._poses.height.shape
        width = max(old, int(counts.max()))
        grown = []
        for field, values in zip(self._poses, zip(*poses, strict=True), strict=True):
            rows = np.full((before + len(poses), width, *field.shape[2:]), _BEYOND)
            rows[:before, :old] = field
            for row, value in enumerate(values, before):
                rows[row, : len(value)] = value
            grown.append(rows)
        self._poses = RestingPoses(*grown)
        self._row[numbers] = before + np.arange(len(numbers))
        self._count = np.concatenate((self._count, counts))


class DrawnTasks:
    """Some of the pairs of an object and its pose, drawn as often as all are."""

    def __init__(self, tasks: Any, items: Sequence[Item]) -> None:
        """Take the pairs, (n, 2) by number.

        Raises:
            ConfigError: the array is not of pairs, or an object or pose does not exist.
        """
        try:
            pairs = np.array(tasks)
        except ValueError:
            pairs = np.zeros(0)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind != "i":
            raise ConfigError(
                "tasks are pairs of an object and its pose, such as [[0, 0], [3, 1]]; "
                f"got {tasks!r}"
            )
        shares = []
        for number, pose in pairs.tolist():
            known = len(items[number].poses.chance) if 0 <= number < len(items) else 0
            if not 0 <= pose < known:
                raise ConfigError(
                    f"no task [{number}, {pose}]: there are {len(items)} objects"
                    + (f", and this one has {known} poses" if known else "")
                )
            shares.append(np.diff(items[number].poses.chance, prepend=0.0)[pose])
        self._pairs: IntArray = pairs.astype(np.int64)
        self._ends: FloatArray = np.cumsum(shares) / np.sum(shares)

    def at(self, draw: FloatArray) -> tuple[IntArray, IntArray]:
        """Return objects and poses for draws in [0, 1), (n,) each."""
        place = np.searchsorted(self._ends[:-1], draw, side="right")
        return self._pairs[place, 0], self._pairs[place, 1]
