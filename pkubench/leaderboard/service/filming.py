"""Film an entry: ``pkubench watch`` in a process of its own, which ends when it takes too long."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pkubench.errors import PkubenchError
from pkubench.leaderboard.board.films import Unfilmed
from pkubench.leaderboard.board.store import Board
from pkubench.leaderboard.submissions.bundle import read_bundle

FILM_S = 600.0
"""How long one film may take."""
MAX_FILM = 16 << 20
"""Bytes of the largest film that is kept."""
_WATCHED = ("named", "saved")
"""Kinds of agents that act without code of a stranger, graphs included."""
_LOG = logging.getLogger("pkubench.leaderboard.worker")


def filmed(board: Board, wanted: Unfilmed, seconds: float = FILM_S) -> bytes:
    """Return the film of the first episode that an entry's first run plays on public seeds.

    Args:
        board: has the bundle.
        wanted: the entry.
        seconds: how long it may take.

    Returns:
        An MP4; empty, and a line in the log, where it cannot be filmed: a graph, a machine without
        OpenGL, a film that takes too long or is too large.
    """
    with tempfile.TemporaryDirectory(prefix="pkubench-film-") as folder:
        root, film = Path(folder), Path(folder) / "film.mp4"
        reason = "it was not written"
        try:
            agent = _agent(board, wanted, root)
            words = [sys.executable, "-m", "pkubench", "watch", agent, wanted.task]
            result = subprocess.run(
                [*words, "--out", str(film), "--quiet"],
                cwd=root,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
            reason = result.stderr.strip().rpartition("\n")[2] or reason
        except subprocess.TimeoutExpired:
            reason = f"it took more than {seconds:g} s"
        except PkubenchError as error:
            reason = str(error)
        # Exit code 1 is an agent that fails its episode: the film shows how far it came.
        if film.is_file():
            if film.stat().st_size <= MAX_FILM:
                return film.read_bytes()
            reason = f"it has {film.stat().st_size} bytes, more than {MAX_FILM}"
    _LOG.warning("no film of %s on %s: %s", wanted.digest[:12], wanted.task, reason)
    return b""


def _agent(board: Board, wanted: Unfilmed, root: Path) -> str:
    """Return how the agent of an entry is spelt; weights are written below ``root``."""
    path = root / "bundle.zip"
    path.write_bytes(board.bundle(wanted.digest))
    bundle = read_bundle(path)
    if bundle.manifest.kind not in _WATCHED:
        raise PkubenchError(f"agents of the kind {bundle.manifest.kind!r} are not filmed")
    (run,) = [task.runs[0] for task in bundle.tasks if task.task.id == wanted.task]
    if bundle.manifest.kind == "named":
        return bundle.manifest.agent
    return str(bundle.extract_weights(run, root / "run"))


def _environment() -> dict[str, str]:
    """Return this process's environment without the address of the board."""
    return {name: value for name, value in os.environ.items() if name != "PKUBENCH_BOARD"}
