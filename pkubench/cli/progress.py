"""Progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from pkubench.cli.output import number
from pkubench.errors import counted

SECONDS_BETWEEN_LINES = 5.0


class Meter:
    """Shows the progress of one piece of work of known length.

    On a terminal there is a bar with the time that remains; elsewhere one line every few seconds
    and one at the end; nothing at all when quiet.
    """

    def __init__(
        self,
        title: str,
        *,
        quiet: bool = False,
        unit: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the work and what it is counted in, such as ``steps``."""
        self._title, self._unit, self._clock = title, unit, clock
        self._quiet = quiet
        self._bar: Progress | None = None
        self._said_at = clock()
        self._line = ""
        self._is_said = True

    def __enter__(self) -> Meter:
        if not self._quiet and sys.stderr.isatty():
            console = Console(stderr=True)
            wide = console.width >= 90
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None if wide else 12),
                MofNCompleteColumn() if wide else TaskProgressColumn(),
                TextColumn("{task.fields[detail]}", style="cyan"),
                TimeRemainingColumn(compact=True),
                console=console,
                expand=wide,
                refresh_per_second=5,
            )
            self._bar.start()
            self._task = self._bar.add_task(escape(self._title), total=None, detail="")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not self._is_said and exception[:1] == (None,):
            self._say()

    def update(
        self,
        done: int,
        total: int,
        values: Mapping[str, float] | None = None,
        title: str | None = None,
        unit: str | None = None,
    ) -> None:
        """Report ``done`` of ``total``, some named numbers, and a new title or unit, if any.

        The last step may exceed the total (updates are whole); it is then shown as the total.
        """
        if self._quiet:
            return
        self._title = self._title if title is None else title
        self._unit = self._unit if unit is None else unit
        detail = "  ".join(f"{name} {number(value)}" for name, value in (values or {}).items())
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=escape(self._title),
                completed=done,
                total=max(done, total),
                detail=detail,
            )
            return
        share = f"{100 * min(done / total, 1.0):3.0f} %" if total else ""
        unit = self._unit.removesuffix("s")
        whole = f"{total:,}"
        count = f"{done:,}/{counted(whole, unit) if unit else whole}"
        self._line = "  ".join(part for part in (self._title, share, count, detail) if part)
        self._is_said = False
        if self._clock() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._say()

    def _say(self) -> None:
        print(self._line, file=sys.stderr, flush=True)
        self._said_at = self._clock()
        self._is_said = True
