"""What a cell of a grid can hold, and what an action does to the cell in front of the agent.

A cell is a code below 32. Besides what MiniGrid shows of it (object, colour, state) a code says
what MiniGrid keeps outside its grid: that an object cannot be picked up (in Memory, where pickup is
toggle), that a wall does not block the view (DistShift), that a cell or a door ends the episode.
The rules of all levels are then one table over (carried object, cell in front, action).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]

COLORS: Final = ("red", "green", "blue", "purple", "yellow", "grey")
"""By MiniGrid's index."""
_RED, _GREEN, _BLUE, _, _YELLOW, _GREY = range(6)
_TYPES: Final = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava")
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
"""MiniGrid's actions."""
ACTIONS: Final = 7


class Cell(NamedTuple):
    """A kind of cell."""

    kind: str
    """MiniGrid's name of the object."""
    color: int = 0
    state: int = 0
    """Of a door: 0 open, 1 closed, 2 locked."""
    note: str = ""
    """What tells it from another cell that looks the same."""

    @property
    def shown(self) -> tuple[int, int, int]:
        """What an observation has of it: object, colour, state."""
        return _TYPES.index(self.kind), self.color, self.state

    @property
    def is_opaque(self) -> bool:
        """Whether it hides what is behind it."""
        return (self.kind == "wall" and self.note != "clear") or self.is_shut

    @property
    def is_shut(self) -> bool:
        """Whether it is a door that is not open."""
        return self.kind == "door" and self.state > 0

    @property
    def is_walkable(self) -> bool:
        """Whether the agent can step on it."""
        return self.kind in ("empty", "goal", "lava") or (self.kind == "door" and self.state == 0)


_DOORS = tuple(Cell("door", color, state) for color in range(6) for state in range(3))
CELLS: Final = (
    Cell("unseen"),
    Cell("empty"),
    Cell("wall", _GREY),
    Cell("goal", _GREEN),
    Cell("lava", _RED),
    Cell("key", _YELLOW),
    Cell("empty", note="match"),
    Cell("empty", note="mismatch"),
    Cell("key", _GREEN, note="fixed"),
    Cell("ball", _GREEN, note="fixed"),
    Cell("wall", _GREY, note="clear"),
    *_DOORS,
    Cell("door", _BLUE, 1, note="last"),
    Cell("door", _BLUE, 0, note="last"),
)
"""Every cell, by code. The first one is what an observation has of cells out of sight; of cells
that look alike, the plain one comes first."""
UNSEEN, EMPTY, WALL, GOAL, LAVA, KEY, MATCH, MISMATCH = range(8)
FIXED_KEY, FIXED_BALL, CLEAR_WALL = range(8, 11)
LAST_DOOR, LAST_DOOR_OPEN = len(CELLS) - 2, len(CELLS) - 1
NOTHING: Final = UNSEEN
"""The carried object of an agent that carries none."""


def door(color: int, state: int) -> int:
    """Return the code of a door; ``state`` is 0 open, 1 closed or 2 locked."""
    return CELLS.index(Cell("door", color, state))


RED_OPEN: Final = door(_RED, 0)
SHOWN: Final = np.array([cell.shown for cell in CELLS], dtype=np.uint8)
"""(cells, 3): object, colour, state."""
OPAQUE: Final = np.array([cell.is_opaque for cell in CELLS])
WALKABLE: Final = np.array([cell.is_walkable for cell in CELLS])
IS_DOOR: Final = np.array([cell.kind == "door" for cell in CELLS])


def codes_of(shown: Codes) -> Codes:
    """Return the codes (...) of cells (..., 3) by object, color and state; 0 of others."""
    codes = np.zeros(shown.shape[:-1], dtype=np.uint8)
    for code in range(len(CELLS) - 1, -1, -1):  # the first of cells that look alike
        codes[(shown == SHOWN[code]).all(axis=-1)] = code
    return codes


class Effect(NamedTuple):
    """What an action does, besides turning."""

    front: int
    """What the cell in front of the agent becomes."""
    carried: int
    """What the agent carries then."""
    moves: bool = False
    """Whether the agent steps on the cell."""
    succeeds: bool = False
    ends: bool = False
    """Whether the episode ends; so it does with success."""
    opens_last: bool = False
    """Whether it succeeds if the red door is open at that moment."""


def effect(carried: int, front: int, action: int) -> Effect:
    """Return what ``action`` does (MiniGrid 3.2.0, ``MiniGridEnv.step``)."""
    cell = CELLS[front]
    if action == FORWARD and cell.is_walkable:
        succeeds = front in (GOAL, MATCH)
        return Effect(front, carried, True, succeeds, succeeds or front in (LAVA, MISMATCH))
    if action == PICKUP and front == KEY and carried == NOTHING:
        return Effect(EMPTY, KEY)
    if action == DROP and front == EMPTY and carried != NOTHING:
        return Effect(carried, NOTHING)
    if action == TOGGLE and cell.kind == "door":
        if cell.state == 2:
            # every locked door of these levels has the color of the key
            return Effect(door(cell.color, 0) if carried == KEY else front, carried)
        toggled = CELLS.index(cell._replace(state=1 - cell.state))
        is_last = toggled == LAST_DOOR_OPEN
        return Effect(toggled, carried, ends=is_last, opens_last=is_last)
    return Effect(front, carried)


_EFFECTS = [
    effect(carried, front, action)
    for carried in (NOTHING, KEY)
    for front in range(len(CELLS))
    for action in range(ACTIONS)
]
FRONT: Final = np.array([e.front for e in _EFFECTS], dtype=np.uint8)
"""The cell in front after an action, by :func:`effect_index`; the following ones likewise."""
CARRIED: Final = np.array([e.carried for e in _EFFECTS], dtype=np.uint8)
MOVES: Final = np.array([e.moves for e in _EFFECTS])
SUCCEEDS: Final = np.array([e.succeeds for e in _EFFECTS])
ENDS: Final = np.array([e.ends for e in _EFFECTS])
OPENS_LAST: Final = np.array([e.opens_last for e in _EFFECTS])
TURNS: Final = np.array([-1, 1, 0, 0, 0, 0, 0], dtype=np.int64)


def effect_index(
    carried: Codes, front: Codes, action: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return where an action's effects are in the tables; arguments broadcast."""
    has_key = (carried == KEY).astype(np.int64)
    index: npt.NDArray[np.int64] = (has_key * len(CELLS) + front) * ACTIONS + action
    return index
