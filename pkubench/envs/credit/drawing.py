"""Pictures of AliceAndBob's grid, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.credit.alice_and_bob_table import MAP, SIDE
from pkubench.errors import MissingExtra

Color = tuple[int, int, int]

CELL: Final = 48
"""Width of a cell in pixels."""
_SMOOTHING: Final = 2
"""Everything is drawn this many times larger and then averaged down."""
_WALL: Final[Color] = (86, 92, 102)
_FLOOR: Final[Color] = (250, 250, 247)
_LINES: Final[Color] = (228, 230, 234)
_INK: Final[Color] = (52, 56, 64)
# Okabe and Ito's palette: distinguishable with any kind of colour vision.
_AGENTS: Final[tuple[Color, ...]] = ((86, 180, 233), (204, 121, 167))
_KEYS: Final[tuple[Color, ...]] = ((213, 94, 0), (0, 158, 115))
_GOLD: Final[Color] = (240, 228, 66)


def draw_grid(cells: Sequence[int], is_taken: Sequence[bool]) -> npt.NDArray[np.uint8]:
    """Draw the grid: (432, 432, 3) uint8.

    Args:
        cells: of Alice and Bob, 9 row + column; agents in one cell are drawn side by side.
        is_taken: whether each key is taken; its door is then open.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError as error:
        raise MissingExtra("plots", "drawing AliceAndBob") from error
    size = CELL * _SMOOTHING
    image = Image.new("RGB", (SIDE * size, SIDE * size), _FLOOR)
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(MAP):
        for column, what in enumerate(line):
            _draw_cell(pen, (column * size, row * size), size, what, is_taken)
    for agent, cell in enumerate(cells):
        row, column = divmod(cell, SIDE)
        shift = (agent - 0.5) * size * 0.4 if cells[0] == cells[1] else 0.0
        middle = (column * size + size / 2 + shift, row * size + size / 2)
        _disc(pen, middle, 0.3 * size, _AGENTS[agent])
        pen.text(middle, "AB"[agent], fill=_INK, anchor="mm", font_size=0.32 * size)
    return np.asarray(image.reduce(_SMOOTHING), dtype=np.uint8).copy()


def _draw_cell(
    pen: Any, corner: tuple[int, int], size: int, what: str, is_taken: Sequence[bool]
) -> None:
    x, y = corner
    box = (x, y, x + size - 1, y + size - 1)
    middle = (x + size / 2, y + size / 2)
    pen.rectangle(box, fill=_WALL if what == "#" else _FLOOR, outline=_LINES)
    if what in "ab":
        key = "ab".index(what)
        pen.rectangle(box, fill=None if is_taken[key] else _KEYS[key], outline=_KEYS[key], width=6)
    elif what in "kK" and not is_taken["kK".index(what)]:
        color = _KEYS["kK".index(what)]
        _disc(pen, (middle[0] - 0.12 * size, middle[1]), 0.14 * size, color)
        shaft = (
            middle[0],
            middle[1] - 0.04 * size,
            middle[0] + 0.3 * size,
            middle[1] + 0.04 * size,
        )
        pen.rectangle(shaft, fill=color)
    elif what == "T":
        pen.rectangle([x + 0.2 * size, y + 0.3 * size, x + 0.8 * size, y + 0.75 * size], fill=_GOLD)
        pen.rectangle([x + 0.2 * size, y + 0.45 * size, x + 0.8 * size, y + 0.5 * size], fill=_INK)


def _disc(pen: Any, middle: tuple[float, float], radius: float, color: Color) -> None:
    x, y = middle
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color, outline=_INK, width=2)
