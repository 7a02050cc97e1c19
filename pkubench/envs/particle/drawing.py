"""Pictures of particle environments: discs, targets and messages on a plane, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from pkubench.errors import MissingExtra

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Color = tuple[int, int, int]

SIZE: Final = 480
"""Height and width of a picture in pixels."""
# Okabe and Ito's palette: distinguishable with any kind of colour vision.
LANDMARK_COLORS: Final[tuple[Color, ...]] = ((213, 94, 0), (0, 158, 115), (0, 114, 178))
AGENT_COLOR: Final[Color] = (86, 110, 200)
GREY: Final[Color] = (120, 124, 132)

_SMOOTHING: Final = 3
"""Everything is drawn this many times larger and then averaged down."""
_PAPER: Final[Color] = (250, 250, 247)
_FIELD: Final[Color] = (255, 255, 255)
_LINES: Final[Color] = (228, 230, 234)
_INK: Final[Color] = (52, 56, 64)
_MIN_RANGE: Final = 1.25
_ROW: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Disc:
    """An agent or a landmark, in the environment's coordinates."""

    x: float
    y: float
    radius: float
    color: Color
    label: str = ""
    is_target: bool = False
    """Drawn as a bull's-eye rather than as a body."""
    velocity: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A message: who sends it and how strong each channel is, in [0, 1]."""

    text: str
    channels: Sequence[float]


def draw_scene(discs: Sequence[Disc], captions: Sequence[Caption] = ()) -> npt.NDArray[np.uint8]:
    """Draw discs from back to front, and messages below them: (SIZE, SIZE, 3) uint8.

    The plane [-1, 1]^2, where episodes start, is always in view; the camera draws back when a
    disc leaves it.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError as error:
        raise MissingExtra("plots", "drawing a particle environment") from error

    side = SIZE * _SMOOTHING
    image = Image.new("RGB", (side, side), _PAPER)
    pen = ImageDraw.Draw(image)
    reach = max([_MIN_RANGE] + [max(abs(d.x), abs(d.y)) + d.radius + 0.05 for d in discs])
    scale = side / (2 * reach)

    def place(x: float, y: float) -> tuple[float, float]:
        return side / 2 + x * scale, side / 2 - y * scale

    pen.rectangle((*place(-1, 1), *place(1, -1)), fill=_FIELD, outline=_LINES, width=_SMOOTHING)
    for tick in (-0.5, 0.0, 0.5):
        pen.line((*place(tick, 1), *place(tick, -1)), fill=_LINES, width=_SMOOTHING)
        pen.line((*place(-1, tick), *place(1, tick)), fill=_LINES, width=_SMOOTHING)
    for disc in discs:
        if disc.is_target:
            _draw_target(pen, place(disc.x, disc.y), disc, scale)
        else:
            _draw_body(pen, place(disc.x, disc.y), disc, scale)
    for row, caption in enumerate(captions):
        _draw_caption(pen, caption, SIZE - _ROW * (len(captions) - row) - 6)
    return np.asarray(image.reduce(_SMOOTHING), dtype=np.uint8).copy()


def _mixed(color: Color, other: Color, share: float) -> Color:
    mixed = [round(a + (b - a) * share) for a, b in zip(color, other, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def _circle(pen: ImageDraw, at: tuple[float, float], radius: float, **style: object) -> None:
    x, y = at
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), **style)  # type: ignore[arg-type]


def _draw_target(pen: ImageDraw, at: tuple[float, float], disc: Disc, scale: float) -> None:
    radius = disc.radius * scale
    _circle(pen, at, 1.9 * radius, fill=_mixed(disc.color, _FIELD, 0.8))
    _circle(pen, at, 1.9 * radius, outline=disc.color, width=2 * _SMOOTHING)
    _circle(pen, at, 0.8 * radius, fill=disc.color)


def _draw_body(pen: ImageDraw, at: tuple[float, float], disc: Disc, scale: float) -> None:
    radius = disc.radius * scale
    dark = _mixed(disc.color, _INK, 0.55)
    _circle(pen, at, radius, fill=_mixed(disc.color, _FIELD, 0.35))
    _circle(pen, at, radius, outline=dark, width=2 * _SMOOTHING)
    # A third of a second of travel: long enough to see, short enough to stay in the picture.
    tip = (at[0] + 0.33 * disc.velocity[0] * scale, at[1] - 0.33 * disc.velocity[1] * scale)
    pen.line((*at, *tip), fill=dark, width=3 * _SMOOTHING)
    if disc.label:
        _circle(pen, at, 9 * _SMOOTHING, fill=dark)
        pen.text(at, disc.label, fill=_FIELD, anchor="mm", font_size=12 * _SMOOTHING)


def _draw_caption(pen: ImageDraw, caption: Caption, top: float) -> None:
    middle = (top + _ROW / 2) * _SMOOTHING
    left: float = 12 * _SMOOTHING
    pen.text((left, middle), caption.text, fill=_INK, anchor="lm", font_size=13 * _SMOOTHING)
    left += pen.textlength(caption.text, font_size=13 * _SMOOTHING) + 10 * _SMOOTHING
    cell, half = 18 * _SMOOTHING, 8 * _SMOOTHING
    for index, strength in enumerate(caption.channels):
        share = min(max(float(strength), 0.0), 1.0)
        box = (left + index * cell, middle - half, left + index * cell + 2 * half, middle + half)
        pen.rounded_rectangle(
            box, 3 * _SMOOTHING, fill=_mixed(_FIELD, _INK, share), outline=_INK, width=_SMOOTHING
        )
        pen.text(
            (box[0] + half, middle),
            chr(ord("A") + index),
            fill=_FIELD if share > 0.35 else GREY,
            anchor="mm",
            font_size=11 * _SMOOTHING,
        )
