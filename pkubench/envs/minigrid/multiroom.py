"""MultiRoom: a chain of rooms with a door between each two, placed at random."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pkubench.envs.core.batch import BoolArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.cells import Codes
from pkubench.envs.minigrid.draws import Draws
from pkubench.envs.minigrid.levels import NO_ITEM, Drawn, Family, place

SIDE = 25
"""Height and width of MiniGrid's grid."""
_TRIES = 8
"""How often the next room of a chain is tried."""
_BY_NAME = np.array([2, 1, 5, 3, 0, 4], dtype=np.int64)
"""Color indices in the order of their names: blue, green, grey, purple, red, yellow."""
_RIGHT, _DOWN, _LEFT, _UP = range(4)
X, Y, WIDTH, HEIGHT, DOOR_X, DOOR_Y, COLOR = range(7)
"""Parameters of a room: its top left corner, its size with walls, its entry door (unused in the
first room). A layout has those of each room, and the goal's column and row."""
_PER_ROOM = 7


@dataclass(frozen=True)
class MultiRoom(Family):
    """Chains of ``rooms`` rooms of sides 4 to ``max_size``."""

    mission: ClassVar[str] = "traverse the rooms to get to the goal"
    words: ClassVar[int] = 32
    rooms: int
    max_size: int

    @property
    def parameters(self) -> int:
        """Numbers of a layout."""
        return _PER_ROOM * self.rooms + 2

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return SIDE, SIDE

    @property
    def is_listed(self) -> bool:
        """There are too many."""
        return False

    @property
    def max_steps(self) -> int:
        """Time limit."""
        return 20 * self.rooms

    def draw(self, draws: Draws) -> Drawn:
        """Draw levels; see :class:`Family`."""
        rooms = self._chains(draws)
        previous = np.full(draws.count, -1, dtype=np.int64)
        for index in range(1, self.rooms):
            previous = _color_but(draws, previous)
            rooms[:, index, COLOR] = _BY_NAME[previous]
        x, y = _place_in(draws, rooms[:, 0], np.full((draws.count, 2), -1))
        direction = draws.integers(0, 4)
        goal = _place_in(draws, rooms[:, -1], np.stack([x, y], 1))
        layout = np.concatenate([rooms.reshape(draws.count, -1), np.stack(goal, 1)], axis=1)
        return Drawn(layout, x, y, direction, np.full(draws.count, NO_ITEM, dtype=np.int64))

    def _chains(self, draws: Draws) -> IntArray:
        """Draw chains of rooms, (n, rooms, parameters)."""
        rooms = np.zeros((draws.count, self.rooms, _PER_ROOM), dtype=np.int64)
        entry_wall = np.full(draws.count, _LEFT, dtype=np.int64)
        placed, tries = (np.zeros(draws.count, dtype=np.int64) for _ in range(2))
        rows = np.arange(draws.count)
        while len(rows):
            first = placed[rows] == 0
            room, wall = self._candidates(draws, rooms, entry_wall, placed, rows, first)
            fits = _fits(room, rooms, placed, rows)
            good, bad = rows[fits], rows[~fits]
            rooms[good, placed[good]] = room[fits]
            entry_wall[good] = wall[fits]
            placed[good] += 1
            tries[good] = 0
            tries[bad] += 1
            again = bad[(placed[bad] == 0) | (tries[bad] == _TRIES)]  # a chain starts from scratch
            placed[again] = tries[again] = 0
            rows = rows[placed[rows] < self.rooms]
        return rooms

    def _candidates(
        self,
        draws: Draws,
        rooms: IntArray,
        entry_wall: IntArray,
        placed: IntArray,
        rows: IntArray,
        first: IntArray,
    ) -> tuple[IntArray, IntArray]:
        """Draw a next room for each of the ``rows``; return rooms and the walls of their doors."""
        room = np.zeros((len(rows), _PER_ROOM), dtype=np.int64)
        wall = np.full(len(rows), _LEFT, dtype=np.int64)
        new, later = np.flatnonzero(first), np.flatnonzero(~first)
        for axis in (DOOR_X, DOOR_Y):
            room[new, axis] = draws.integers(0, SIDE - 2, rows[new])
        if len(later):
            own = rows[later]
            last = rooms[own, placed[own] - 1]
            exit_wall = draws.integers(0, 3, own)
            exit_wall += exit_wall >= entry_wall[own]
            is_side = (exit_wall == _RIGHT) | (exit_wall == _LEFT)
            along = draws.integers(1, np.where(is_side, last[:, HEIGHT], last[:, WIDTH]) - 1, own)
            across_x = np.where(exit_wall == _RIGHT, last[:, WIDTH] - 1, 0)
            across_y = np.where(exit_wall == _DOWN, last[:, HEIGHT] - 1, 0)
            room[later, DOOR_X] = last[:, X] + np.where(is_side, across_x, along)
            room[later, DOOR_Y] = last[:, Y] + np.where(is_side, along, across_y)
            wall[later] = (exit_wall + 2) % 4
        for side in (WIDTH, HEIGHT):
            room[:, side] = draws.integers(4, self.max_size + 1, rows)
        room[:, X], room[:, Y] = room[:, DOOR_X], room[:, DOOR_Y]
        room[:, X] -= np.where(wall == _RIGHT, room[:, WIDTH] - 1, 0)
        room[:, Y] -= np.where(wall == _DOWN, room[:, HEIGHT] - 1, 0)
        if len(later):
            is_side = (wall[later] == _RIGHT) | (wall[later] == _LEFT)
            door = np.where(is_side, room[later, DOOR_Y], room[later, DOOR_X])
            length = np.where(is_side, room[later, HEIGHT], room[later, WIDTH])
            start = draws.integers(door - length + 2, door, rows[later])
            room[later, X] = np.where(is_side, room[later, X], start)
            room[later, Y] = np.where(is_side, start, room[later, Y])
        return room, wall

    def paint(self, layout: IntArray) -> Codes:
        """Paint layouts; see :class:`Family`."""
        height, width = self.shape
        grids = np.full((len(layout), height, width), cells.UNSEEN, dtype=np.uint8)
        rooms = layout[:, :-2].reshape(len(layout), self.rooms, _PER_ROOM)
        every = np.arange(len(layout))
        columns, lines = np.arange(width), np.arange(height)
        doors = np.array([cells.door(color, 1) for color in range(6)], dtype=np.uint8)
        for index in range(self.rooms):
            x, y, wide, high, door_x, door_y, color = rooms[:, index].T[:, :, None]
            in_x, in_y = (columns >= x) & (columns < x + wide), (lines >= y) & (lines < y + high)
            at_x = (columns == x) | (columns == x + wide - 1)
            at_y = (lines == y) | (lines == y + high - 1)
            is_wall = (at_y[:, :, None] & in_x[:, None]) | (in_y[:, :, None] & at_x[:, None])
            grids[in_y[:, :, None] & in_x[:, None] & ~is_wall] = cells.EMPTY
            grids[is_wall] = cells.WALL
            if index:
                grids[every, door_y[:, 0], door_x[:, 0]] = doors[color[:, 0]]
        grids[every, layout[:, -1], layout[:, -2]] = cells.GOAL
        return grids


def _color_but(draws: Draws, previous: IntArray) -> IntArray:
    """Draw colors, by their place in the order of names, other than the previous ones (or -1)."""
    drawn = draws.integers(0, 6 - (previous >= 0))
    return drawn + ((previous >= 0) & (drawn >= previous))


def _fits(room: IntArray, rooms: IntArray, placed: IntArray, rows: IntArray) -> BoolArray:
    """Return whether each room lies in the grid and overlaps no room but the one before it."""
    x, y, width, height = room.T[:4]
    fits: BoolArray = (x >= 0) & (y >= 0) & (x + width <= SIDE) & (y + height < SIDE)
    for index in range(rooms.shape[1] - 2):
        other_x, other_y, other_width, other_height = rooms[rows, index].T[:4]
        is_apart = (
            (x + width < other_x)
            | (other_x + other_width <= x)
            | (y + height < other_y)
            | (other_y + other_height <= y)
        )
        fits &= is_apart | (index >= placed[rows] - 1)
    return fits


def _place_in(draws: Draws, room: IntArray, agent: IntArray) -> tuple[IntArray, IntArray]:
    """Draw a free cell of each room; ``agent`` (n, 2) has the columns and rows of agents."""
    left, top, width, height = room.T[:4]
    right, bottom = left + width, top + height

    def is_taken(x: IntArray, y: IntArray, rows: IntArray) -> BoolArray:
        on_wall = (x == left[rows]) | (x == right[rows] - 1)
        on_wall |= (y == top[rows]) | (y == bottom[rows] - 1)
        taken: BoolArray = on_wall | ((x == agent[rows, 0]) & (y == agent[rows, 1]))
        return taken

    return place(draws, left, right, top, bottom, is_taken)


_AHEAD = 3
"""How far a room of four cells reaches beyond the one before it, with which it shares a wall."""
_FIRST = (1, _AHEAD)
"""Column and row of the first room: no room lies to its left, since its own door is there."""


@dataclass(frozen=True)
class TwoSmallRooms(MultiRoom):
    """Two rooms of four cells a side, painted on a piece of MiniGrid's grid just large enough.

    What is outside of the rooms is never seen, so levels that differ in the place of the first room
    alone have the same layout.
    """

    rooms: int = 2
    max_size: int = 4

    @property
    def is_listed(self) -> bool:
        """There are 288."""
        return True

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return 4 + 2 * _AHEAD, 4 + _AHEAD + 1

    @property
    def full_shape(self) -> tuple[int, int]:
        """Height and width of MiniGrid's grid."""
        return SIDE, SIDE

    def draw(self, draws: Draws) -> Drawn:
        """Draw levels; see :class:`Family`."""
        drawn = super().draw(draws)
        left, top = drawn.layout[:, [X]] - _FIRST[0], drawn.layout[:, [Y]] - _FIRST[1]
        layout = drawn.layout.copy()
        layout[:, [X, DOOR_X, _PER_ROOM + X, _PER_ROOM + DOOR_X, -2]] -= left
        layout[:, [Y, DOOR_Y, _PER_ROOM + Y, _PER_ROOM + DOOR_Y, -1]] -= top
        return drawn._replace(layout=layout, x=drawn.x - left[:, 0], y=drawn.y - top[:, 0])

    def origin(self, seed: int) -> tuple[int, int]:
        """Return where the piece begins; see :class:`Family`."""
        draws = Draws(np.array([seed], dtype=np.int64), self.words)
        left, top = self._chains(draws)[0, 0, [X, Y]].tolist()
        return left - _FIRST[0], top - _FIRST[1]

    def layouts(self) -> IntArray:
        """Return every layout."""
        x, y = _FIRST
        found = []
        for wall, along, back, color in itertools.product(
            (_RIGHT, _DOWN, _UP), (1, 2), (1, 2), range(6)
        ):
            if wall == _RIGHT:
                door = (x + 3, y + along)
                corner = (door[0], door[1] - back)
            else:
                door = (x + along, y + (3 if wall == _DOWN else 0))
                corner = (door[0] - back, door[1] - (0 if wall == _DOWN else 3))
            for goal_x, goal_y in itertools.product((1, 2), (1, 2)):
                goal = (corner[0] + goal_x, corner[1] + goal_y)
                found.append([x, y, 4, 4, x, y, 0, *corner, 4, 4, *door, color, *goal])
        return np.array(sorted(found), dtype=np.int64)
