"""Pictures of the diagnostic environments: payoffs, choices, a corridor, a road (Pillow)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import FloatArray
from pkubench.errors import MissingExtra

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Pen

Color = tuple[int, int, int]

WIDTH: Final = 480
HEIGHT: Final = 320
_SMOOTHING: Final = 2
"""Everything is drawn this many times larger and then averaged down."""
_PAPER: Final[Color] = (250, 250, 247)
_INK: Final[Color] = (52, 56, 64)
_FIELD: Final[Color] = (255, 255, 255)
# Okabe and Ito's palette: distinguishable with any kind of colour vision.
_GOOD: Final[Color] = (0, 114, 178)
_BAD: Final[Color] = (213, 94, 0)
_CHOSEN: Final[Color] = (230, 159, 0)
_TOP: Final = 74
_BOTTOM: Final = 286
_LEFT: Final = 96
_RIGHT: Final = 436


def draw_payoffs(
    title: str, payoffs: FloatArray, chosen: tuple[int, int] | None
) -> npt.NDArray[np.uint8]:
    """Draw a payoff table (rows, columns) with a frame round the chosen cell.

    Blue pays and orange costs, by the root of the size. Returns (HEIGHT, WIDTH, 3) uint8.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    sheet = _Sheet(_caption(title, None if chosen is None else float(payoffs[chosen])))
    rows, columns = payoffs.shape
    width, height = (_RIGHT - _LEFT) / columns, (_BOTTOM - _TOP) / rows
    largest = float(np.abs(payoffs).max()) or 1.0
    sheet.text((_LEFT + _RIGHT) / 2, 46, "agent 1", 13)
    sheet.text(36, (_TOP + _BOTTOM) / 2, "agent 0", 13)
    for row in range(rows):
        sheet.text(_LEFT - 14, _TOP + (row + 0.5) * height, str(row), 13)
        for column in range(columns):
            value = float(payoffs[row, column])
            x, y = _LEFT + column * width, _TOP + row * height
            if row == 0:
                sheet.text(x + width / 2, 64, str(column), 13)
            shade = 0.7 * (abs(value) / largest) ** 0.5
            sheet.box(x, y, width, height, _mixed(_GOOD if value > 0 else _BAD, shade))
            sheet.text(x + width / 2, y + height / 2, f"{value:g}", 20)
    if chosen is not None:
        row, column = chosen
        sheet.frame(_LEFT + column * width, _TOP + row * height, width, height)
    return sheet.picture()


def draw_choices(
    title: str, chosen: Sequence[int] | None, count: int, payoff: float
) -> npt.NDArray[np.uint8]:
    """Draw what each of ``count`` agents chose, 0 or 1, in two halves.

    Returns (HEIGHT, WIDTH, 3) uint8; ``chosen`` None is before the choice.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    sheet = _Sheet(_caption(title, None if chosen is None else payoff))
    step = 400 / count
    radius = min(34.0, 0.4 * step)
    for index in range(count):
        x = 30 + (index + 0.5) * step + (20 if 2 * index >= count else 0)
        choice = None if chosen is None else chosen[index]
        color = _FIELD if choice is None else (_mixed(_GOOD, 0.5), _CHOSEN)[choice]
        sheet.disc(x, 170, radius, color)
        sheet.text(x, 170, "?" if choice is None else str(choice), max(7, int(radius)))
        sheet.text(x, 226, str(index), 12)
    sheet.text(240, 256, "agent", 13)
    return sheet.picture()


def draw_plane(title: str, chosen: tuple[float, float] | None) -> npt.NDArray[np.uint8]:
    """Draw the joint actions of two agents in [-1, 1], shaded by their product.

    Returns (HEIGHT, WIDTH, 3) uint8; ``chosen`` None is before the choice.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    sheet = _Sheet(_caption(title, None if chosen is None else chosen[0] * chosen[1]))
    cells, left, side = 20, 134.0, float(_BOTTOM - _TOP)
    size = side / cells
    centres = (np.arange(cells) + 0.5) / cells * 2 - 1
    for i, first in enumerate(centres):
        for j, second in enumerate(centres):
            value = float(first * second)
            color = _mixed(_GOOD if value > 0 else _BAD, 0.7 * abs(value) ** 0.5)
            sheet.box(
                left + i * size, _BOTTOM - (j + 1) * size, size, size, color, is_outlined=False
            )
    sheet.text(left + side / 2, _BOTTOM + 14, "agent 0", 13)
    sheet.text(left - 38, (_TOP + _BOTTOM) / 2, "agent 1", 13)
    if chosen is not None:
        x, y = (left + side * (chosen[0] + 1) / 2, _BOTTOM - side * (chosen[1] + 1) / 2)
        sheet.disc(x, y, 7, _CHOSEN)
    return sheet.picture()


def draw_corridor(
    title: str, goal: int, planks: Sequence[tuple[int, int, float]], cell: int
) -> npt.NDArray[np.uint8]:
    """Draw a corridor of cells 0 to ``goal`` with a walker in one of them.

    ``planks`` are (cell in front, cell behind, risk): they span a pit, redder with the risk, and
    the corridor winds round below it. Returns (HEIGHT, WIDTH, 3) uint8.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    sheet = _Sheet(title)
    size, top, dip = 20.0, 120.0, 74.0
    left = (WIDTH - size * (goal + 1)) / 2
    around = {c: (start, end) for start, end, _ in planks for c in range(start + 1, end)}
    centres = {c: (left + (c + 0.5) * size, top + size / 2) for c in range(goal + 1)}
    for start, end, risk in planks:
        first, last = centres[start][0] + size / 2, centres[end][0] - size / 2
        sheet.box(first, top, last - first, dip, _mixed(_INK, 0.75), is_outlined=False)
        sheet.box(first - 4, top + 6, last - first + 8, 7, _mixed(_BAD, 0.2 + 0.8 * risk))
        middle = (first + last) / 2
        sheet.text(middle, top - 36, f"{risk:.0%}", 13)
        sheet.text(middle, top - 20, f"saves {end - start - 1}", 10)
    for number, (x, y) in centres.items():
        if number in around:  # the way round lies below the pit
            y += dip
            centres[number] = x, y
        color = _mixed(_GOOD, 0.55) if number == goal else _FIELD
        sheet.box(x - size / 2, y - size / 2, size, size, color)
        sheet.text(x, y, str(number), 9)
    sheet.disc(*centres[cell], 8, _CHOSEN)
    sheet.text(WIDTH / 2, top + 2 * dip, "planks over pits: risk of a fall, steps saved", 12)
    return sheet.picture()


def draw_road(
    title: str, speed: float, limit: float, top: float, way: float
) -> npt.NDArray[np.uint8]:
    """Draw a car's speed on a scale up to ``top`` with its limit, above a road ``way`` along.

    Returns (HEIGHT, WIDTH, 3) uint8.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    sheet = _Sheet(title)
    left, width, upper, height = 50.0, 380.0, 96.0, 44.0
    mark = left + limit / top * width
    sheet.box(left, upper, width, height, _FIELD)
    sheet.box(mark, upper, left + width - mark, height, _mixed(_BAD, 0.15))
    color = _mixed(_BAD if speed > limit else _GOOD, 0.65)
    sheet.box(left, upper + 8, abs(speed) / top * width, height - 16, color)
    sheet.box(mark - 1, upper - 10, 2, height + 20, _INK, is_outlined=False)
    for place, words in ((left, "0"), (mark, f"limit {limit:g}"), (left + width, f"{top:g}")):
        sheet.text(place, upper + height + 22, words, 12)
    sheet.text(left + width / 2, upper - 22, f"speed {speed:.2f}", 14)
    road, stripe = 212.0, 40.0
    sheet.box(0, road, WIDTH, 64, _mixed(_INK, 0.75), is_outlined=False)
    shift = way * stripe % stripe
    for k in range(-1, int(WIDTH / stripe) + 1):
        sheet.box(k * stripe + stripe - shift, road + 30, stripe / 2, 4, _FIELD, is_outlined=False)
    sheet.box(WIDTH / 2 - 24, road + 14, 48, 24, _CHOSEN)
    for wheel in (-14, 14):
        sheet.disc(WIDTH / 2 + wheel, road + 40, 7, _INK)
    return sheet.picture()


def _caption(title: str, payoff: float | None) -> str:
    """Return a game's title with, once the game is over, the payoff."""
    return f"{title}   ({'to be played' if payoff is None else f'payoff {payoff:.4g}'})"


class _Sheet:
    """A sheet of paper with a title."""

    def __init__(self, title: str) -> None:
        try:
            from PIL import Image, ImageDraw
        except ModuleNotFoundError as error:
            raise MissingExtra("plots", "drawing a game") from error
        self._image: Any = Image.new("RGB", (WIDTH * _SMOOTHING, HEIGHT * _SMOOTHING), _PAPER)
        self._pen: Pen = ImageDraw.Draw(self._image)
        self.text(WIDTH / 2, 22, title, 15)

    def text(self, x: float, y: float, text: str, size: int) -> None:
        from PIL import ImageFont

        font = ImageFont.load_default(size * _SMOOTHING)
        self._pen.text((x * _SMOOTHING, y * _SMOOTHING), text, fill=_INK, font=font, anchor="mm")

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        color: Color,
        *,
        is_outlined: bool = True,
    ) -> None:
        self._pen.rectangle(
            _corners(x, y, width, height), fill=color, outline=_INK if is_outlined else None
        )

    def frame(self, x: float, y: float, width: float, height: float) -> None:
        self._pen.rectangle(_corners(x, y, width, height), outline=_CHOSEN, width=6 * _SMOOTHING)

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        corners = _corners(x - radius, y - radius, 2 * radius, 2 * radius)
        self._pen.ellipse(corners, fill=color, outline=_INK, width=_SMOOTHING)

    def picture(self) -> npt.NDArray[np.uint8]:
        return np.asarray(self._image.reduce(_SMOOTHING), dtype=np.uint8).copy()


def _corners(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x * _SMOOTHING, y * _SMOOTHING, (x + width) * _SMOOTHING, (y + height) * _SMOOTHING


def _mixed(color: Color, share: float) -> Color:
    """Return ``color`` on white, ``share`` in [0, 1] of it."""
    red, green, blue = (round(255 + share * (part - 255)) for part in color)
    return red, green, blue
