"""What every test runs under: one thread and no screen."""

from __future__ import annotations

import os
import signal

# Before NumPy, torch, MuJoCo or matplotlib are imported by a test module.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

# A shell that starts a command in the background lets it ignore Ctrl-C, and so would the commands
# that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
