"""Peers that cannot live in our virtual environment get one of their own, outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class PeerError(RuntimeError):
    """A peer that could not be installed or did not run."""


def home() -> Path:
    """Return the folder of the peers' environments; ``PKUBENCH_PEERS`` names another one."""
    return Path(os.environ.get("PKUBENCH_PEERS", Path.home() / ".cache" / "pkubench-peers"))


def peer_python(name: str, requirements: Sequence[str]) -> Path:
    """Return the interpreter of the environment ``name``, made on first use.

    Raises:
        PeerError: pip could not install the ``requirements``.
    """
    folder = home() / name
    python = folder / "bin" / "python"
    wanted = "\n".join(requirements)
    done = folder / "requirements.txt"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Making {folder} ({', '.join(requirements)}); once, some minutes", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    install = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if install.returncode:
        told = install.stderr.strip().splitlines() or ["pip said nothing"]
        raise PeerError(f"{name} could not be installed: {told[-1]}")
    done.write_text(wanted, encoding="utf-8")
    return python


def run_peer(
    name: str, requirements: Sequence[str], script: str, *arguments: str, timeout_s: float = 900
) -> Any:
    """Run ``benchmarks/SCRIPT`` in a peer's environment; return the JSON of its last line.

    Raises:
        PeerError: it could not be installed, failed, or took too long.
    """
    command = [str(peer_python(name, requirements)), str(HERE / script), *arguments]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"{script} took longer than {timeout_s:g} s") from error
    if ran.returncode:
        told = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
        raise PeerError(f"{script} failed: {told[-1]}")
    return json.loads(ran.stdout.strip().splitlines()[-1])
