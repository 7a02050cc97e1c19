"""Ctrl-C and SIGTERM: stop where the work can be resumed, and say how."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

_arguments: list[str] = []


class Interrupted(Exception):
    """Stopped by the user. The message says how to resume."""

    exit_code = 130

    def __init__(self, message: str = "", exit_code: int = 130) -> None:
        """Take the message; the default names the same command, which starts again."""
        super().__init__(message or f"stopped; to start again: {this_command()}")
        self.exit_code = exit_code


@contextmanager
def command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Remember what the user typed, for the line that says how to resume."""
    before = _arguments.copy()
    _arguments[:] = arguments
    try:
        yield
    finally:
        _arguments[:] = before


def typed_words() -> list[str]:
    """Return the words that the user typed after ``pkubench``."""
    return list(_arguments)


def this_command(*, add: str = "") -> str:
    """Return the command the user typed, with the words of ``add`` unless they are there."""
    from pkubench.cli.names import present  # a slow import that `pkubench --help` does not need

    words = list(_arguments)
    more = add.split()
    if more and more[0] not in words:
        words += more
    return shlex.join(["pkubench", *map(present, words)])


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt here, so that files are closed and a line is printed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a forked worker: exit as if there were no handler
            os._exit(128 + number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class GentleStop:
    """Ask for a stop at the first Ctrl-C or SIGTERM, raise KeyboardInterrupt at the second.

    Work that proceeds in stages (a training update) checks ``wanted`` between them, so a stop never
    falls into the middle of one.
    """

    def __init__(self, message: str) -> None:
        """Take the line to print at the first signal."""
        self.wanted = False
        self.exit_code = Interrupted.exit_code
        self._message = message
        self._before: dict[int, Any] = {}

    def __enter__(self) -> GentleStop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
        self.exit_code = 128 + number
        print(f"\n{self._message}", file=sys.stderr, flush=True)
