"""Pictures of the memory environments, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pkubench.errors import MissingExtra

Color = tuple[int, int, int]
Picture = npt.NDArray[np.uint8]

_SMOOTHING: Final = 2
"""Everything is drawn this many times larger and then averaged down."""
_PAPER: Final[Color] = (250, 250, 247)
_LINE: Final[Color] = (200, 203, 209)
_WALL: Final[Color] = (86, 92, 102)
_INK: Final[Color] = (52, 56, 64)
# Okabe and Ito's palette: distinguishable with any kind of color vision.
_AGENT: Final[Color] = (86, 180, 233)
_GOAL: Final[Color] = (0, 158, 115)
_KEY: Final[Color] = (230, 159, 0)
_DOOR: Final[Color] = (204, 121, 167)
_APPLE: Final[Color] = (213, 94, 0)
_KINDS: Final = {"#": _WALL, "k": _KEY, "d": _DOOR, "a": _APPLE}


class _Canvas:
    """A picture in pixels of its final size."""

    def __init__(self, width: int, height: int, title: str) -> None:
        try:
            from PIL import Image, ImageDraw
        except ModuleNotFoundError as error:
            raise MissingExtra("plots", "drawing an environment") from error
        self.image = Image.new("RGB", (width * _SMOOTHING, height * _SMOOTHING), _PAPER)
        self.pen: Any = ImageDraw.Draw(self.image)
        self.text((width / 2, 18), title, 15)

    def text(self, at: tuple[float, float], text: str, size: float, fill: Color = _INK) -> None:
        place = (at[0] * _SMOOTHING, at[1] * _SMOOTHING)
        self.pen.text(place, text, fill=fill, anchor="mm", font_size=size * _SMOOTHING)

    def box(self, x: float, y: float, width: float, height: float, fill: Color) -> None:
        edges = [v * _SMOOTHING for v in (x, y, x + width, y + height)]
        self.pen.rectangle(edges, fill=fill, outline=_LINE, width=_SMOOTHING)

    def disc(self, x: float, y: float, radius: float, fill: Color) -> None:
        edges = [v * _SMOOTHING for v in (x - radius, y - radius, x + radius, y + radius)]
        self.pen.ellipse(edges, fill=fill, outline=_INK, width=_SMOOTHING)

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        edges = [v * _SMOOTHING for v in (*start, *end)]
        self.pen.line(edges, fill=_LINE, width=2 * _SMOOTHING)

    def done(self) -> Picture:
        return np.asarray(self.image.reduce(_SMOOTHING), dtype=np.uint8).copy()


def draw_row(title: str, labels: Sequence[str], at: int) -> Picture:
    """Draw places in a row, each with its label, and the agent at one: (160, 480, 3) uint8.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    canvas = _Canvas(480, 160, title)
    width = 440 / len(labels)
    for place, label in enumerate(labels):
        canvas.box(20 + place * width, 50, width, 70, _PAPER)
        canvas.text((20 + (place + 0.5) * width, 138), label, 15)
    canvas.disc(20 + (at + 0.5) * width, 85, 20, _AGENT)
    return canvas.done()


def draw_tmaze(title: str, end: int, at: tuple[int, int], start: int, goal: int) -> Picture:
    """Draw a T-maze: (240, 640, 3) uint8.

    Args:
        title: what to write above.
        end: the last cell of the corridor.
        at: the agent's cell.
        start: the cell that episodes start in; the sign is in cell 0.
        goal: +1, the upper arm pays, or −1.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    canvas = _Canvas(640, 240, title)
    width = min(560 / (end + 1), 60.0)
    height, left = 50.0, 320 - width * (end + 1) / 2
    for x, y in [*((x, 0) for x in range(end + 1)), (end, 1), (end, -1)]:
        pays = x == end and y == goal
        canvas.box(left + x * width, 110 - y * height, width, height, _GOAL if pays else _PAPER)
    canvas.text((left + width / 2, 175), f"sign {'+' if goal > 0 else '−'}1", 14)
    canvas.text((left + (start + 0.5) * width, 195), "start", 14)
    x, y = at
    radius = max(min(width, height) * 0.35, 4.0)
    canvas.disc(left + (x + 0.5) * width, 135 - y * height, radius, _AGENT)
    return canvas.done()


def draw_rooms(title: str, rows: Sequence[str], at: tuple[int, int], has_key: bool) -> Picture:
    """Draw a room of KeyToDoor: (392, 528, 3) uint8.

    Args:
        title: what to write above.
        rows: its cells: ``#`` wall, ``k`` key, ``d`` door, ``a`` apple, or free.
        at: row and column of the agent.
        has_key: whether it holds the key.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    size = 48
    canvas = _Canvas(size * len(rows[0]), size * len(rows) + 56, title)
    for row, line in enumerate(rows):
        for column, kind in enumerate(line):
            x, y = column * size, row * size + 40
            canvas.box(x, y, size, size, _KINDS[kind] if kind in "#d" else _PAPER)
            if kind in "ka":
                canvas.disc(x + size / 2, y + size / 2, size / 4, _KINDS[kind])
    middle = (at[1] * size + size / 2, at[0] * size + 40 + size / 2)
    canvas.disc(*middle, 0.36 * size, _AGENT)
    if has_key:
        canvas.disc(*middle, 0.16 * size, _KEY)
    return canvas.done()


def draw_graph(title: str, successors: Sequence[Sequence[int]], goal: int, at: int) -> Picture:
    """Draw a directed graph, its nodes on a circle: (480, 480, 3) uint8.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    canvas = _Canvas(480, 480, title)
    angles = [2 * math.pi * node / len(successors) - math.pi / 2 for node in range(len(successors))]
    places = [(240 + 190 * math.cos(a), 255 + 190 * math.sin(a)) for a in angles]
    for node, nodes in enumerate(successors):
        for after in nodes:
            (x, y), (x2, y2) = places[node], places[after]
            share = 1 - 22 / math.dist((x, y), (x2, y2))
            tip = (x + share * (x2 - x), y + share * (y2 - y))
            canvas.line((x, y), tip)
            canvas.disc(*tip, 3, _INK)
    for node, (x, y) in enumerate(places):
        canvas.disc(x, y, 17, _AGENT if node == at else _GOAL if node == goal else _PAPER)
        canvas.text((x, y), str(node), 14)
    return canvas.done()
