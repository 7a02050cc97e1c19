"""The memory of all processes of a sandbox together, which no limit of a process bounds.

It is looked up twice a second in ``/proc``, from outside. What forked processes share counts for
each of them, so it is rather too much than too little.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

EVERY_S = 0.5
_COUNTED = (b"RssAnon:", b"RssShmem:")
"""What a process has for itself, without the files of libraries."""
_GONE = (OSError, ValueError, IndexError)
"""What reading about a process raises that has just ended."""


def memory_of(root: int) -> int:
    """Return the bytes in memory of a process and all that it started; 0 once it is gone."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(*_GONE):
                text = Path("/proc", name, "stat").read_bytes()
                # The name in brackets may hold anything, brackets too.
                parents[int(name)] = int(text.rpartition(b")")[2].split()[1])
    below, found = {root}, {root}
    while below:
        below = {process for process, parent in parents.items() if parent in below} - found
        found |= below
    return sum(map(_resident, found))


def _resident(process: int) -> int:
    total = 0
    with contextlib.suppress(*_GONE):
        for line in Path("/proc", str(process), "status").read_bytes().splitlines():
            if line.startswith(_COUNTED):
                total += int(line.split()[1]) << 10
    return total


def watch_memory(
    process: subprocess.Popen[bytes], limit: int, over: threading.Event, end: Callable[[], None]
) -> None:
    """Call ``end`` when a process and all that it started hold more than ``limit`` bytes.

    In a thread of its own, until then or until ``over`` is set.
    """

    def watch() -> None:
        while not over.wait(EVERY_S):
            if memory_of(process.pid) > limit:
                end()
                return

    threading.Thread(target=watch, daemon=True, name="sandbox memory").start()
