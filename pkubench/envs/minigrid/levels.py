"""Level families: from seeds to levels, the same ones that MiniGrid 3.2.0 makes, without its objects.

A family draws *parameters* for many seeds at once (:meth:`Family.draw`, in the order in which
MiniGrid's ``_gen_grid`` draws) and paints grids from them (:meth:`Family.paint`). The parameters of
the *layout*, all but the agent's start and the key's place, are apart, so that a family with few
layouts can list them all.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.cells import Codes
from pkubench.envs.minigrid.draws import Draws

NO_ITEM = -1
"""The key's cell in a level without a key."""


class Drawn(NamedTuple):
    """Levels as parameters; ``n`` of them."""

    layout: IntArray
    """(n, parameters) of the family's layout."""
    x: IntArray
    """(n,) the agent's column in the grid; rows and columns count from 0 at the top left."""
    y: IntArray
    direction: IntArray
    """(n,): 0 right, 1 down, 2 left, 3 up."""
    item: IntArray
    """(n,) cell ``y * width + x`` of the key, or ``NO_ITEM``."""


@dataclass(frozen=True)
class Family(ABC):
    """Levels of one registered MiniGrid id."""

    words: ClassVar[int] = 24
    """How many 32-bit words most levels draw at most."""
    border: ClassVar[int] = cells.WALL
    """What is seen outside of the grid."""
    has_item: ClassVar[bool] = False
    """Whether there is a key that can be picked up."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers a layout has."""

    @property
    @abstractmethod
    def mission(self) -> str:
        """What is asked, in MiniGrid's words."""

    @property
    def is_listed(self) -> bool:
        """Whether ``layouts`` lists them all: there are few, and their tables are small."""
        return True

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Height and width of the painted grids."""

    @property
    def full_shape(self) -> tuple[int, int]:
        """Height and width of MiniGrid's grid, of which the painted one may be a part."""
        return self.shape

    @property
    @abstractmethod
    def max_steps(self) -> int:
        """MiniGrid's time limit."""

    @abstractmethod
    def draw(self, draws: Draws) -> Drawn:
        """Draw one level from each generator."""

    @abstractmethod
    def paint(self, layout: IntArray) -> Codes:
        """Return the grids of layouts (n, parameters), without keys: (n, height, width) codes."""

    def layouts(self) -> IntArray:
        """Return every layout that a level can have, (layouts, parameters), in lexical order."""
        raise NotImplementedError

    def origin(self, seed: int) -> tuple[int, int]:
        """Return the column and row of MiniGrid's grid at which a level's painted one begins."""
        return 0, 0

    def _room(self, count: int, wall: int = cells.WALL) -> Codes:
        """Return empty grids with walls around: (count, height, width)."""
        grids = np.full((count, *self.shape), cells.EMPTY, dtype=np.uint8)
        grids[:, [0, -1]] = wall
        grids[:, :, [0, -1]] = wall
        return grids


def place(
    draws: Draws,
    left: IntArray | int,
    right: IntArray | int,
    top: IntArray | int,
    bottom: IntArray | int,
    taken: object,
) -> tuple[IntArray, IntArray]:
    """Draw cells of rectangles until none is taken (MiniGrid's ``place_obj``).

    Args:
        draws: one generator a level.
        left, right, top, bottom: the rectangle, its right and bottom edges not included.
        taken: function from columns, rows and levels to whether a cell is taken.

    Returns:
        Columns and rows, (n,) each.
    """
    x, y = (np.zeros(draws.count, dtype=np.int64) for _ in range(2))
    bounds = [np.broadcast_to(bound, (draws.count,)) for bound in (left, right, top, bottom)]
    rows = np.arange(draws.count)
    while len(rows):
        low_x, high_x, low_y, high_y = (bound[rows] for bound in bounds)
        x[rows] = draws.integers(low_x, high_x, rows)
        y[rows] = draws.integers(low_y, high_y, rows)
        rows = rows[taken(x[rows], y[rows], rows)]  # type: ignore[operator]
    return x, y


@dataclass(frozen=True)
class DoorKey(Family):
    """A key, a locked door in a wall, and the goal behind it. Layout: column of the wall, row of the door."""

    mission: ClassVar[str] = "use the key to open the door and then get to the goal"  # type: ignore[misc]
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

        def is_wall(x: IntArray, y: IntArray) -> IntArray:
            return (x == 0) | (y == 0) | (y == size - 1)

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
        return _product(range(2, self.size - 2), range(1, self.size - 2))


@dataclass(frozen=True)
class DistShift(Family):
    """Lava between the start and the goal, the same in every episode."""

    mission: ClassVar[str] = "get to the green goal square"  # type: ignore[misc]
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
class RedBlueDoors(Family):
    """A red and a blue door, to be opened in this order. Layout: the row of each."""

    mission: ClassVar[str] = "open the red door then the blue door"  # type: ignore[misc]
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
        return _product(range(1, self.size - 1), range(1, self.size - 1))


@dataclass(frozen=True)
class LavaGap(Family):
    """A column of lava with one gap. Layout: column and row of the gap."""

    mission: ClassVar[str] = "avoid the lava and get to the green goal square"  # type: ignore[misc]
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
        return _from_corner(np.stack(gap, 1))

    def paint(self, layout: IntArray) -> Codes:
        """Paint layouts; see :class:`Family`."""
        grids, every = self._room(len(layout)), np.arange(len(layout))
        grids[:, -2, -2] = cells.GOAL
        grids[every, 1:-1, layout[:, 0]] = cells.LAVA
        grids[every, layout[:, 1], layout[:, 0]] = cells.EMPTY
        return grids

    def layouts(self) -> IntArray:
        """Return every layout."""
        return _product(range(2, self.size - 2), range(1, self.size - 1))


@dataclass(frozen=True)
class Memory(Family):
    """A cue in the first room, two objects at a fork. Layout: end of the hallway, cue, order."""

    mission: ClassVar[str] = "go to the matching object at the end of the hallway"  # type: ignore[misc]
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
        return _product(range(*self._ends), range(2), range(2))

    @property
    def _ends(self) -> tuple[int, int]:
        last = self.size - 3
        return (4 if self.random_length else last), last + 1


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
        return _from_corner(np.stack([bits, *openings], axis=1))

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


def _from_corner(layout: IntArray) -> Drawn:
    """Return levels that start in the top left corner, facing right."""
    ones = np.ones(len(layout), dtype=np.int64)
    return Drawn(layout, ones, ones, 0 * ones, NO_ITEM * ones)


def _product(*ranges: range) -> IntArray:
    return np.array(list(itertools.product(*ranges)), dtype=np.int64)
