"""What the agent sees: the 7 x 7 cells in front of it, turned its way, without those out of sight.

A view is indexed as MiniGrid's: ``view[i, j]`` is ``i`` cells from the left edge and ``j`` from the
far edge; the agent stands at ``[3, 6]``, where the view has what it carries.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np

from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid import cells
from pkubench.envs.minigrid.cells import Codes

SIDE: Final = 7
VIEW: Final = SIDE * SIDE
AGENT: Final = (SIDE // 2, SIDE - 1)
AGENT_PLACE: Final = AGENT[0] * SIDE + AGENT[1]
"""Where the agent is in a flattened view."""
PADDING: Final = SIDE - 1
"""How far a view reaches: padded so much on each side, a grid holds every view of its cells."""
_STEPS: Final = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Column and row of a step in each direction: right, down, left, up."""


@functools.cache
def steps(width: int) -> IntArray:
    """Return what a step in each direction adds to a flat cell of grids of this width, (4,)."""
    return np.array([x + y * width for x, y in _STEPS], dtype=np.int64)


@functools.cache
def offsets(width: int) -> IntArray:
    """Return where the cells of a view lie from the agent's, for each direction: (4, 49), flat."""
    found = np.zeros((4, SIDE, SIDE), dtype=np.int64)
    for direction, (ahead_x, ahead_y) in enumerate(_STEPS):
        right_x, right_y = -ahead_y, ahead_x
        for i in range(SIDE):
            for j in range(SIDE):
                ahead, right = AGENT[1] - j, i - AGENT[0]
                x, y = ahead * ahead_x + right * right_x, ahead * ahead_y + right * right_y
                found[direction, i, j] = x + y * width
    return found.reshape(4, VIEW)


def padded(grids: Codes, border: int) -> Codes:
    """Return grids (..., height, width) with ``PADDING`` cells more on each side."""
    *lead, height, width = grids.shape
    wide = np.full((*lead, height + 2 * PADDING, width + 2 * PADDING), border, dtype=np.uint8)
    wide[..., PADDING:-PADDING, PADDING:-PADDING] = grids
    return wide


@functools.cache
def _row_tables() -> tuple[Codes, Codes]:
    """Return what is seen of a row of seven cells, and of the row beyond it through this one.

    Both (128 * 128,) are of bits: by the opaque cells of the row (times 128) and the cells that
    are seen from the row before. MiniGrid's ``Grid.process_vis``, a row at a time.
    """
    seen_of, beyond_of = (np.zeros(128 * 128, dtype=np.uint8) for _ in range(2))
    for opaque in range(128):
        clear = [not opaque >> i & 1 for i in range(SIDE)]
        for arriving in range(128):
            seen, beyond = [bool(arriving >> i & 1) for i in range(SIDE)], [False] * SIDE
            for order, side in ((range(SIDE - 1), 1), (range(SIDE - 1, 0, -1), -1)):
                for i in order:
                    if seen[i] and clear[i]:
                        seen[i + side] = beyond[i + side] = beyond[i] = True
            seen_of[opaque * 128 + arriving] = sum(bit << i for i, bit in enumerate(seen))
            beyond_of[opaque * 128 + arriving] = sum(bit << i for i, bit in enumerate(beyond))
    return seen_of, beyond_of


def shade(views: Codes, carried: Codes) -> None:
    """Hide what is out of sight, and put what agents carry where they stand.

    Args:
        views: (n, 49) codes of the cells, changed in place.
        carried: (n,) codes, ``NOTHING`` where nothing is carried.
    """
    seen_of, beyond_of = _row_tables()
    opaque = cells.OPAQUE[views].reshape(-1, SIDE, SIDE)
    rows = np.packbits(opaque, axis=1, bitorder="little")[:, 0].astype(np.int64) << 7
    arriving = np.full(len(views), 1 << AGENT[0], dtype=np.int64)
    seen = np.empty((len(views), 1, SIDE), dtype=np.uint8)
    for j in range(SIDE - 1, -1, -1):
        index = rows[:, j] + arriving
        seen[:, 0, j] = seen_of[index]
        arriving = beyond_of[index].astype(np.int64)
    is_seen = np.unpackbits(seen, axis=1, count=SIDE, bitorder="little")
    views *= is_seen.reshape(-1, VIEW)  # code 0 is out of sight
    views[:, AGENT_PLACE] = np.where(carried == cells.NOTHING, cells.EMPTY, carried)


def seen_cells(views: Codes) -> Codes:
    """Return images (n, 7, 7, 3) of shaded views (n, 49): object, color, state of each cell."""
    return cells.SHOWN[views].reshape(-1, SIDE, SIDE, 3)
