"""Levels of a way past lava or walls: DistShift, LavaGap, Crossing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.cells import Codes
from pkubench.envs.minigrid.draws import Draws
from pkubench.envs.minigrid.levels import NO_ITEM, Drawn, Family, from_corner, product


@dataclass(frozen=True)
class DistShift(Family):
    """Lava between the start and the goal, the same in every episode."""

    mission: ClassVar[str] = "get to the green goal square"
    words: ClassVar[int] = 2
    border: ClassVar[int] = cells.CLEAR_WALL
    strip: int
    """Row of the second strip of lava."""

    @property
    def parameters(self) -> int:
        """Numbers of a layout."""
        return 0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return 7, 9

    @property
    def max_steps(self) -> int:
        """Time limit."""
        return 252

    def draw(self, draws: Draws) -> Drawn:
        """Draw levels; see :class:`Family`."""
        ones = np.ones(draws.count, dtype=np.int64)
        return Drawn(np.zeros((draws.count, 0), np.int64), ones, ones, 0 * ones, NO_ITEM * ones)

    def paint(self, layout: IntArray) -> Codes:
        """Paint layouts; see :class:`Family`."""
        grids = self._room(len(layout), cells.CLEAR_WALL)
        grids[:, 1, -2] = cells.GOAL
        grids[:, 1, 3:6] = cells.LAVA
        grids[:, self.strip, 3:6] = cells.LAVA
        return grids

    def layouts(self) -> IntArray:
        """Return every layout."""
        return np.zeros((1, 0), dtype=np.int64)


@dataclass(frozen=True)
class LavaGap(Family):
    """A column of lava with one gap. Layout: column and row of the gap."""

    mission: ClassVar[str] = "avoid the lava and get to the green goal square"
    words: ClassVar[int] = 2
    size: int

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
        return 4 * self.size**2

    def draw(self, draws: Draws) -> Drawn:
        """Draw levels; see :class:`Family`."""
        gap = [draws.integers(2, self.size - 2), draws.integers(1, self.size - 1)]
        return from_corner(np.stack(gap, 1))

    def paint(self, layout: IntArray) -> Codes:
        """Paint layouts; see :class:`Family`."""
        grids, every = self._room(len(layout)), np.arange(len(layout))
        grids[:, -2, -2] = cells.GOAL
        grids[every, 1:-1, layout[:, 0]] = cells.LAVA
        grids[every, layout[:, 1], layout[:, 0]] = cells.EMPTY
        return grids

    def layouts(self) -> IntArray:
        """Return every layout."""
        return product(range(2, self.size - 2), range(1, self.size - 1))


@dataclass(frozen=True)
class Crossing(Family):
    """Rivers of lava, or walls, across a square, an opening in each.

    Layout: the rivers as bits (vertical ones first), and the cells of the openings in the order of
    the way to the goal.
    """

    size: int
    crossings: int
    is_lava: bool = False

    @property
    def mission(self) -> str:
        """What is asked."""
        if self.is_lava:
            return "avoid the lava and get to the green goal square"
        return "find the opening and get to the green goal square"

    @property
    def is_listed(self) -> bool:
        """Up to two rivers have some hundred layouts, more have thousands."""
        return self.crossings <= 2

    @property
    def parameters(self) -> int:
        """Numbers of a layout."""
        return 1 + self.crossings

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, self.size

    @property
    def max_steps(self) -> int:
        """Time limit."""
        return 4 * self.size**2

    @property
    def _slots(self) -> int:
        """How many rivers there can be in each direction."""
        return (self.size - 3) // 2

    def draw(self, draws: Draws) -> Drawn:
        """Draw levels; see :class:`Family`."""
        count, slots, n = draws.count, self._slots, self.crossings
        rivers = np.tile(np.arange(2 * slots), (count, 1))
        draws.shuffle(rivers)
        chosen = np.zeros((count, 2 * slots), dtype=np.int64)
        np.put_along_axis(chosen, rivers[:, :n], 1, axis=1)
        vertical = chosen[:, :slots].sum(axis=1)
        # Each vertical river is crossed on a way sideways (1), each other one on a way down (0).
        path = (np.arange(n) < vertical[:, None]).astype(np.int64)
        draws.shuffle(path)
        limits_x, limits_y = self._limits(chosen[:, :slots]), self._limits(chosen[:, slots:])
        room_x, room_y = (np.zeros(count, dtype=np.int64) for _ in range(2))
        every, openings = np.arange(count), []
        for step in range(n):
            sideways = path[:, step] == 1
            low = np.where(sideways, limits_y[every, room_y], limits_x[every, room_x]) + 1
            high = np.where(sideways, limits_y[every, room_y + 1], limits_x[every, room_x + 1])
            drawn = draws.integers(low, high)
            x = np.where(sideways, limits_x[every, room_x + 1], drawn)
            y = np.where(sideways, drawn, limits_y[every, room_y + 1])
            openings.append(y * self.size + x)
            room_x, room_y = room_x + sideways, room_y + ~sideways
        bits = (chosen << np.arange(2 * slots)).sum(axis=1)
        return from_corner(np.stack([bits, *openings], axis=1))

    def _limits(self, chosen: IntArray) -> IntArray:
        """Return 0, the places of the chosen rivers, and the far wall: (n, slots + 2), padded."""
        places = np.where(chosen == 1, 2 * np.arange(1, self._slots + 1), self.size - 1)
        places = np.sort(places, axis=1)
        edge = np.full((len(chosen), 1), self.size - 1)
        limits: IntArray = np.concatenate([0 * edge, places, edge], axis=1)
        return limits

    def paint(self, layout: IntArray) -> Codes:
        """Paint layouts; see :class:`Family`."""
        grids, every, slots = self._room(len(layout)), np.arange(len(layout)), self._slots
        river = cells.LAVA if self.is_lava else cells.WALL
        grids[:, -2, -2] = cells.GOAL
        for slot in range(slots):
            place = 2 * (slot + 1)
            grids[np.flatnonzero(layout[:, 0] >> slot & 1), 1:-1, place] = river
            grids[np.flatnonzero(layout[:, 0] >> (slots + slot) & 1), place, 1:-1] = river
        for cell in layout.T[1:]:
            grids[every, cell // self.size, cell % self.size] = cells.EMPTY
        return grids

    def layouts(self) -> IntArray:
        """Return every layout."""
        found = []
        places = [2 * (slot + 1) for slot in range(self._slots)]
        rivers = [(True, x) for x in places] + [(False, y) for y in places]
        for chosen in itertools.combinations(range(len(rivers)), self.crossings):
            bits = sum(1 << river for river in chosen)
            xs = [rivers[r][1] for r in chosen if rivers[r][0]]
            ys = [rivers[r][1] for r in chosen if not rivers[r][0]]
            ways = set(itertools.permutations([True] * len(xs) + [False] * len(ys)))
            for way in ways:
                for cells_ in itertools.product(*self._openings(way, xs, ys)):
                    found.append([bits, *cells_])
        return np.array(sorted(found), dtype=np.int64)

    def _openings(self, way: tuple[bool, ...], xs: list[int], ys: list[int]) -> list[list[int]]:
        """Return the cells that each opening on a way can have."""
        limits_x, limits_y = [0, *xs, self.size - 1], [0, *ys, self.size - 1]
        i = j = 0
        found = []
        for sideways in way:
            if sideways:
                x, between = limits_x[i + 1], range(limits_y[j] + 1, limits_y[j + 1])
                found.append([y * self.size + x for y in between])
                i += 1
            else:
                y, between = limits_y[j + 1], range(limits_x[i] + 1, limits_x[i + 1])
                found.append([y * self.size + x for x in between])
                j += 1
        return found
