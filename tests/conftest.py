"""What every test runs under: one thread and no screen."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before NumPy, torch, MuJoCo or matplotlib are imported by a test module.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

# A shell that starts a command in the background lets it ignore Ctrl-C, and so would the commands
# that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Play the blocks of a test's evaluations in this process; forget the test's own modules."""
    play_in_process(monkeypatch)
    yield
    for name, module in list(sys.modules.items()):
        if (file := getattr(module, "__file__", None)) and Path(file).parent == Path.cwd():
            del sys.modules[name]


def play_in_process(patch: pytest.MonkeyPatch) -> None:
    """Let evaluations that would start workers play their blocks in this process.

    Starting a worker takes two seconds. For tests of what is said about an evaluation or made of
    its records; the tests of the harness show that processes give the same bytes.
    """
    from pkubench.evaluation.run import harness, workers
    from pkubench.evaluation.run.execution import InProcess

    for module in (harness, workers):
        patch.setattr(module, "ProcessPool", lambda *args: InProcess())
