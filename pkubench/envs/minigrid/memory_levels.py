"""Memory: a cue, a hallway, and a fork."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.cells import Codes
from pkubench.envs.minigrid.draws import Draws
from pkubench.envs.minigrid.levels import NO_ITEM, Drawn, Family, product


@dataclass(frozen=True)
class Memory(Family):
    """A cue in the first room, two objects at a fork. Layout: end of the hallway, cue, order."""

    mission: ClassVar[str] = "go to the matching object at the end of the hallway"
    words: ClassVar[int] = 4
    size: int
    random_length: bool = False

    @property
    def parameters(self) -> int:
        """Numbers of a layout."""
        return 3

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, self.size

    @property
    def max_steps(self) -> int:
        """Time limit."""
        return 5 * self.size**2

    def draw(self, draws: Draws) -> Drawn:
        """Draw levels; see :class:`Family`."""
        end = draws.integers(*self._ends)
        x = draws.integers(1, end + 1)
        cue, order = draws.integers(0, 2), draws.integers(0, 2)
        zeros = np.zeros(draws.count, dtype=np.int64)
        layout = np.stack([end, cue, order], 1)
        return Drawn(layout, x, zeros + self.size // 2, zeros, zeros + NO_ITEM)

    def paint(self, layout: IntArray) -> Codes:
        """Paint layouts; see :class:`Family`.

        The cue is a key (0) or a ball (1); above is a ball (order 0) or a key (order 1).
        """
        grids, every, middle = self._room(len(layout)), np.arange(len(layout)), self.size // 2
        grids[:, [middle - 2, middle + 2], 1:5] = cells.WALL
        grids[:, [middle - 1, middle + 1], 4] = cells.WALL
        end, cue, order = layout.T
        for x in range(5, self.size):
            inside = np.flatnonzero(x < end)
            grids[inside, middle - 1, x] = cells.WALL
            grids[inside, middle + 1, x] = cells.WALL
        for column in (end, end + 2):
            grids[every, :, column] = cells.WALL
        grids[every, middle, end] = cells.EMPTY
        objects = np.array([cells.FIXED_KEY, cells.FIXED_BALL], dtype=np.uint8)
        grids[:, middle - 1, 1] = objects[cue]
        grids[every, middle - 2, end + 1] = objects[1 - order]
        grids[every, middle + 2, end + 1] = objects[order]
        ends = np.array([cells.MISMATCH, cells.MATCH], dtype=np.uint8)
        is_above = (cue == 1 - order).astype(np.int64)
        grids[every, middle - 1, end + 1] = ends[is_above]
        grids[every, middle + 1, end + 1] = ends[1 - is_above]
        return grids

    def layouts(self) -> IntArray:
        """Return every layout."""
        return product(range(*self._ends), range(2), range(2))

    @property
    def _ends(self) -> tuple[int, int]:
        last = self.size - 3
        return (4 if self.random_length else last), last + 1
