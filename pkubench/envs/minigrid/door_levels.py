"""Levels of doors and keys: DoorKey and RedBlueDoors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pkubench.envs.core.batch import BoolArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.cells import Codes
from pkubench.envs.minigrid.draws import Draws
from pkubench.envs.minigrid.levels import NO_ITEM, Drawn, Family, place, product


@dataclass(frozen=True)
class DoorKey(Family):
    """A key, a locked door, and the goal behind. Layout: the wall's column, the door's row."""

    mission: ClassVar[str] = "use the key to open the door and then get to the goal"
    has_item: ClassVar[bool] = True
    size: int

    @property
    def is_listed(self) -> bool:
        """Small grids have few layouts; the tables of a large one would fill hundreds of MB."""
        return self.size <= 8

    @property
    def parameters(self) -> int:
        """Numbers of a layout."""
        return 2

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, self.size

    @property
    def max_steps(self) -> int:
        """Time limit."""
        return 10 * self.size**2

    def draw(self, draws: Draws) -> Drawn:
        """Draw levels; see :class:`Family`."""
        size = self.size
        wall = draws.integers(2, size - 2)

        def is_wall(x: IntArray, y: IntArray) -> BoolArray:
            found: BoolArray = (x == 0) | (y == 0) | (y == size - 1)
            return found

        x, y = place(draws, 0, wall, 0, size, lambda x, y, rows: is_wall(x, y))
        direction = draws.integers(0, 4)
        door = draws.integers(1, size - 2)
        agent_x, agent_y = x, y
        key_x, key_y = place(
            draws,
            0,
            wall,
            0,
            size,
            lambda x, y, rows: is_wall(x, y) | ((x == agent_x[rows]) & (y == agent_y[rows])),
        )
        return Drawn(np.stack([wall, door], 1), x, y, direction, key_y * size + key_x)

    def paint(self, layout: IntArray) -> Codes:
        """Paint layouts; see :class:`Family`."""
        grids, every = self._room(len(layout)), np.arange(len(layout))
        grids[:, -2, -2] = cells.GOAL
        grids[every, :, layout[:, 0]] = cells.WALL
        grids[every, layout[:, 1], layout[:, 0]] = cells.door(4, 2)
        return grids

    def layouts(self) -> IntArray:
        """Return every layout."""
        return product(range(2, self.size - 2), range(1, self.size - 2))


@dataclass(frozen=True)
class RedBlueDoors(Family):
    """A red and a blue door, to be opened in this order. Layout: the row of each."""

    mission: ClassVar[str] = "open the red door then the blue door"
    size: int

    @property
    def parameters(self) -> int:
        """Numbers of a layout."""
        return 2

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, 2 * self.size

    @property
    def max_steps(self) -> int:
        """Time limit."""
        return 20 * self.size**2

    def draw(self, draws: Draws) -> Drawn:
        """Draw levels; see :class:`Family`."""
        size, left = self.size, self.size // 2
        right = left + size - 1
        x, y = place(
            draws,
            left,
            left + size,
            0,
            size,
            lambda x, y, rows: (x == left) | (x == right) | (y == 0) | (y == size - 1),
        )
        direction = draws.integers(0, 4)
        red = draws.integers(1, size - 1)
        blue = draws.integers(1, size - 1)
        none = np.full(draws.count, NO_ITEM, dtype=np.int64)
        return Drawn(np.stack([red, blue], 1), x, y, direction, none)

    def paint(self, layout: IntArray) -> Codes:
        """Paint layouts; see :class:`Family`."""
        grids, every = self._room(len(layout)), np.arange(len(layout))
        left = self.size // 2
        right = left + self.size - 1
        grids[:, :, [left, right]] = cells.WALL
        grids[every, layout[:, 0], left] = cells.door(0, 1)
        grids[every, layout[:, 1], right] = cells.LAST_DOOR
        return grids

    def layouts(self) -> IntArray:
        """Return every layout."""
        return product(range(1, self.size - 1), range(1, self.size - 1))
