"""Where output goes: results to stdout, everything else to stderr; with JSON nothing else."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import IO, Any, TextIO

from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pkubench.cli.tables import Column, fitted

__all__ = ["Column", "Output", "facts", "number", "print_anything", "prose", "signed"]

ROUNDING = 1e-13
"""Rounding error of float64 around 0; smaller numbers are shown as 0."""
PIPED_WIDTH = 200
"""Columns when stdout is not a terminal and COLUMNS is not set: grep needs whole lines."""


LINE_WIDTH = 100
"""Columns of prose."""


_STAND_INS = str.maketrans(
    "–—−─━│┃╭╮╰╯┌┐└┘↑↓→←✓✗•·…’“”≤≥≈×÷",
    '-----||++++++++^v><+x**.\'""<>~x/',
)
"""What is printed for a character that the terminal's encoding lacks: one for one, so that tables
keep their columns. Others lose their accents, or become question marks."""


def print_anything(*streams: TextIO) -> None:
    """Let streams of any encoding print any text: what they cannot write is replaced."""
    codecs.register_error("pkubench", _stand_in)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="pkubench")


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is not text
        return bytes([ord(character) - 0xDC00]), error.start + 1
    plain = unicodedata.normalize("NFKD", character.translate(_STAND_INS))[0]
    return plain if plain.isascii() else "?", error.start + 1


class Output:
    """The streams of one call of a verb.

    Used as a context manager: with ``json``, whatever a library prints on stdout (some do, on
    import and from C) is sent to stderr, and only ``document`` writes to the real stdout.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        """Choose between JSON and tables, and whether to be quiet."""
        self.json, self.quiet = json, quiet
        self._stdout: TextIO = sys.stdout
        self._document: IO[str] = sys.stdout
        self._descriptor: int | None = None

    def __enter__(self) -> Output:
        if self.json:
            self._stdout = self._document = sys.stdout
            self._stdout.flush()
            if sys.stdout is sys.__stdout__:
                self._descriptor = os.dup(1)
                self._document = os.fdopen(os.dup(1), "w", encoding="utf-8")
                os.dup2(2, 1)
            sys.stdout = sys.stderr
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.json:
            return
        sys.stdout.flush()
        sys.stdout = self._stdout
        if self._descriptor is not None:
            self._document.close()
            os.dup2(self._descriptor, 1)
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def console(self) -> Console:
        """The terminal for results."""
        is_known = self._stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
        width = None if is_known else PIPED_WIDTH
        return Console(file=self._stdout, width=width, highlight=False)

    def document(self, value: Any) -> None:
        """Print the one JSON document, in ASCII; numbers that are not finite become null."""
        json.dump(_finite(value), self._document, indent=1, allow_nan=False)
        self._document.write("\n")
        self._document.flush()

    def show(self, *things: RenderableType) -> None:
        """Print results for human readers; nothing with ``--json``."""
        if self.json:
            return
        console = self.console
        with console.capture() as captured:
            for thing in things:
                console.print(thing)
        text = captured.get()
        if not console.is_terminal:  # no padding in a file
            text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        self._stdout.write(text)
        self._stdout.flush()

    def note(self, message: str) -> None:
        """Print a message on stderr, unless quiet."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)

    def next(self, *commands: str) -> None:
        """Suggest the next command on stderr, unless quiet or with JSON."""
        if self.quiet or self.json:
            return
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        for number, command in enumerate(commands):
            lead = "next: " if number == 0 else "      "
            console.print(Text.assemble((lead, "dim"), (command, "cyan")))

    def table(
        self, title: str, columns: Sequence[Column], rows: Iterable[Sequence[str | Text]]
    ) -> RenderableType:
        """Return a table that fits the terminal (see ``cli.tables``)."""
        cells = [[_text(cell) for cell in row] for row in rows]
        return fitted(title, columns, cells, self.console.width)


def facts(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Return a two-column card of names and values."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, _text(value))
    return table


def prose(text: str | RenderableType) -> RenderableType:
    """Return indented text, in lines short enough to read."""
    body = Text(text) if isinstance(text, str) else text
    return Constrain(Padding(body, (0, 0, 0, 2)), LINE_WIDTH)


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def number(value: float | None, digits: int = 4) -> str:
    """Format a number for display: about ``digits`` significant digits, a dash for None."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) < ROUNDING:
        return "0"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def signed(value: float) -> str:
    """Format a difference for display: as :func:`number`, with its sign."""
    return number(value) if value < 0 or abs(value) < ROUNDING else f"+{number(value)}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):  # a NumPy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
