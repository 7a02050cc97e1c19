"""Pictures of what was looked up: the found views with their values, as cards in a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.minigrid import cells, view
from pkubench.envs.minigrid.drawing import TILE, Picture, tile
from pkubench.errors import MissingExtra
from pkubench.retrieval.bank import Images

SCALE: Final = 2
"""By how much views are smaller than MiniGrid's pictures."""
_SIDE: Final = view.SIDE * TILE // SCALE
_EDGE, _LINE, _TEXT = 8, 18, 13
"""Margin around a card, height of a line of text, and size of its letters, in pixels."""
CARD: Final = (_SIDE + 2 * _LINE + 2 * _EDGE, _SIDE + 2 * _EDGE)
"""Height and width of a card."""
CAPTION: Final = _LINE + _EDGE
"""Height of a line below the cards."""
_UP: Final = 3
_PAPER, _INK = (255, 255, 255), (34, 34, 34)


def view_picture(image: Images) -> Picture:
    """Return a view (7, 7, 3) as MiniGrid draws it, at half the size: (112, 112, 3).

    The agent looks up, and what is out of sight is dark.
    """
    codes = cells.codes_of(image)
    rows = []
    for j in range(view.SIDE):
        tiles = [
            tile(
                int(codes[i, j]),
                _UP if (i, j) == view.AGENT else None,
                codes[i, j] != cells.UNSEEN,
            )
            for i in range(view.SIDE)
        ]
        rows.append(np.concatenate(tiles, axis=1))
    whole = np.concatenate(rows, axis=0)
    fine = whole.reshape(_SIDE, SCALE, _SIDE, SCALE, 3).astype(np.float64)
    picture: Picture = np.rint(fine.mean(axis=(1, 3))).astype(np.uint8)
    return picture


def cards(
    images: Images,
    values: npt.NDArray[Any],
    tasks: Sequence[str],
    weights: npt.NDArray[Any] | None = None,
    *,
    places: int | None = None,
    columns: int = 2,
    caption: str | None = None,
) -> Picture:
    """Draw what was found, row by row: each view, and below it its value and its task.

    Args:
        images: (k, 7, 7, 3), the best first.
        values: (k,).
        tasks: k names.
        weights: (k,) shares of the answer, if they are to be shown.
        places: room for so many cards, so that pictures of fewer have the same shape; None: k.
        columns: cards beside each other.
        caption: a line below all cards; None: no room for one.

    Returns:
        (height, width, 3) uint8, white where there is no card.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError as error:
        raise MissingExtra("plots", "drawing what was looked up") from error
    count = max(len(images) if places is None else places, 1)
    height, width = -(-count // columns) * CARD[0], columns * CARD[1]
    room = 0 if caption is None else CAPTION
    whole = Image.new("RGB", (width, height + room), _PAPER)
    pen = ImageDraw.Draw(whole)
    if caption:
        pen.text((_EDGE, height + room // 2), caption, fill=_INK, anchor="lm", font_size=_TEXT)
    for number in range(min(len(images), count)):
        top, left = number // columns * CARD[0], number % columns * CARD[1]
        whole.paste(Image.fromarray(view_picture(images[number])), (left + _EDGE, top + _EDGE))
        share = "" if weights is None else f", {100 * float(weights[number]):.0f} %"
        lines = (f"value {float(values[number]):.2f}{share}", tasks[number])
        for line, text in enumerate(lines):
            y = top + _EDGE + _SIDE + (line + 0.5) * _LINE
            pen.text((left + _EDGE, y), text, fill=_INK, anchor="lm", font_size=_TEXT)
    return np.asarray(whole, dtype=np.uint8)
