"""Level families: from seeds to the levels that MiniGrid 3.2.0 makes, without its objects.

A family draws *parameters* for many seeds at once (:meth:`Family.draw`, in the order in which
MiniGrid's ``_gen_grid`` draws) and paints grids from them (:meth:`Family.paint`). The parameters of
the *layout*, all but the agent's start and the key's place, are apart, so that a family with few
layouts can list them all.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from pkubench.envs.core.batch import BoolArray
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
        """Return every layout that a level can have, (layouts, parameters), in lexical order.

        Where they are not listed there may be none.
        """
        return np.zeros((0, self.parameters), dtype=np.int64)

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
    taken: Callable[[IntArray, IntArray, IntArray], BoolArray],
) -> tuple[IntArray, IntArray]:
    """Draw cells of rectangles until none is taken (MiniGrid's ``place_obj``).

    Args:
        draws: one generator a level.
        left: first column of the rectangle.
        right: column behind its last one.
        top: first row.
        bottom: row below the last one.
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
        rows = rows[taken(x[rows], y[rows], rows)]
    return x, y


def from_corner(layout: IntArray) -> Drawn:
    """Return levels that start in the top left corner, facing right."""
    ones = np.ones(len(layout), dtype=np.int64)
    return Drawn(layout, ones, ones, 0 * ones, NO_ITEM * ones)


def product(*ranges: range) -> IntArray:
    """Return every combination of the numbers of some ranges, in lexical order: (n, ranges)."""
    return np.array(list(itertools.product(*ranges)), dtype=np.int64)
