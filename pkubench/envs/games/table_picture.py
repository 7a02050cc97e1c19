"""A card table in words and as a picture, drawn with Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from pkubench.errors import MissingExtra

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Color = tuple[int, int, int]

WIDTH: Final = 480
HEIGHT: Final = 320
_SMOOTHING: Final = 2
"""Everything is drawn this many times larger and then averaged down."""
_FELT: Final[Color] = (24, 92, 84)
_RAIL: Final[Color] = (43, 38, 40)
_PAPER: Final[Color] = (250, 250, 247)
_INK: Final[Color] = (38, 42, 50)
_SOFT: Final[Color] = (196, 220, 214)
_BACK: Final[Color] = (0, 114, 178)
_OWN: Final[Color] = (240, 190, 70)
_OTHER: Final[Color] = (213, 94, 0)
_CARD: Final = (58, 82)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What one player sees of a poker table."""

    title: str
    own_card: str
    other_card: str | None
    """None while it is hidden (also after a fold)."""
    public_card: str | None
    has_public_card: bool
    """Whether the game has one at all."""
    own_chips: int
    other_chips: int
    betting: tuple[tuple[str, ...], ...]
    """The words said in each round, players taking turns from the first to act."""
    first_to_act_is_self: bool
    won: float | None
    """Chips won by the viewer; None while the play continues."""
    forfeited: bool
    """Whether the viewer lost by an illegal action."""


def bets(table: Table) -> str:
    """Return the betting as one line: who said what, rounds apart."""
    rounds = []
    for said in table.betting:
        who = table.first_to_act_is_self
        parts = []
        for word in said:
            parts.append(f"{'you' if who else 'they'} {word}")
            who = not who
        rounds.append(", ".join(parts))
    return " | ".join(text or "-" for text in rounds)


def words(table: Table) -> str:
    """Return the table in four or five lines."""
    lines = [
        table.title,
        f"your card: {table.own_card}   their card: {table.other_card or '?'}"
        + (f"   public card: {table.public_card or '-'}" if table.has_public_card else ""),
        f"your chips in the pot: {table.own_chips}   theirs: {table.other_chips}",
        f"betting: {bets(table)}",
    ]
    result = result_words(table.won, table.forfeited)
    return "\n".join([*lines, result] if result else lines)


def draw_table(table: Table) -> npt.NDArray[np.uint8]:
    """Draw a table: (HEIGHT, WIDTH, 3) uint8.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError as error:
        raise MissingExtra("plots", "drawing a card table") from error
    image = Image.new("RGB", (WIDTH * _SMOOTHING, HEIGHT * _SMOOTHING), _RAIL)
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle(_box(10, 10, WIDTH - 20, HEIGHT - 20), 40 * _SMOOTHING, fill=_FELT)
    _text(pen, (WIDTH / 2, 26), table.title, 13, _SOFT)

    _card(pen, (130, 44), table.other_card)
    _text(pen, (80, 85), "they", 15, _PAPER)
    _chips(pen, (215, 85), table.other_chips, _OTHER)
    if table.has_public_card:
        _card(pen, (211, 122), table.public_card or "")
        _text(pen, (163, 163), "public", 13, _SOFT)
    _card(pen, (130, 200), table.own_card)
    _text(pen, (80, 241), "you", 15, _PAPER)
    _chips(pen, (215, 241), table.own_chips, _OWN)

    result = result_words(table.won, table.forfeited)
    for row, said in enumerate(bets(table).split(" | ")):
        _text(pen, (372, 130 + 26 * row), f"{row + 1}: {said}", _fitting(said), _PAPER)
    if result:
        _text(pen, (372, 196), result, 14, _OWN)
    return np.asarray(image.reduce(_SMOOTHING), dtype=np.uint8).copy()


def result_words(won: float | None, forfeited: bool) -> str:
    """Tell how a play ended for who looks at it; empty while it continues."""
    if forfeited:
        return "you lose by an illegal action"
    if won is None:
        return ""
    if won == 0:
        return "a draw"
    return f"you {'win' if won > 0 else 'lose'} {abs(won):g}"


def _fitting(text: str) -> int:
    """Return a font size at which the text stays within the right part of the table."""
    return 13 if len(text) < 26 else max(7, 13 * 26 // len(text))


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x * _SMOOTHING, y * _SMOOTHING, (x + width) * _SMOOTHING, (y + height) * _SMOOTHING


def _text(pen: ImageDraw, at: tuple[float, float], text: str, size: int, color: Color) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(size * _SMOOTHING)
    place = (at[0] * _SMOOTHING, at[1] * _SMOOTHING)
    pen.text(place, text, fill=color, font=font, anchor="mm")


def _card(pen: ImageDraw, at: tuple[float, float], rank: str | None) -> None:
    """Draw a card; None is one lying face down, the empty text a place where one will lie."""
    x, y = at
    width, height = _CARD
    box, radius = _box(x, y, width, height), 7 * _SMOOTHING
    if rank == "":
        pen.rounded_rectangle(box, radius, outline=_SOFT, width=_SMOOTHING)
        return
    pen.rounded_rectangle(box, radius, fill=_PAPER)
    if rank is None:
        pen.rounded_rectangle(_box(x + 5, y + 5, width - 10, height - 10), radius, fill=_BACK)
        return
    _text(pen, (x + width / 2, y + height / 2), rank, 36, _INK)


def _chips(pen: ImageDraw, at: tuple[float, float], count: int, color: Color) -> None:
    """Draw a stack of chips with its number."""
    x, y = at
    for level in range(min(count, 13)):
        top = y + 18 - 4 * level
        pen.ellipse(_box(x, top, 30, 11), fill=color, outline=_INK, width=_SMOOTHING)
    _text(pen, (x + 48, y + 8), str(count), 17, _PAPER)


def draw_text(text: str) -> npt.NDArray[np.uint8]:
    """Draw lines of text on the felt: (HEIGHT, WIDTH, 3) uint8.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError as error:
        raise MissingExtra("plots", "drawing a game") from error
    image = Image.new("RGB", (WIDTH * _SMOOTHING, HEIGHT * _SMOOTHING), _FELT)
    pen = ImageDraw.Draw(image)
    lines = text.splitlines()
    step = min(20.0, (HEIGHT - 40) / max(len(lines), 1))
    for row, line in enumerate(lines):
        _text(pen, (WIDTH / 2, 30 + row * step), line, max(6, int(0.7 * step)), _PAPER)
    return np.asarray(image.reduce(_SMOOTHING), dtype=np.uint8).copy()
