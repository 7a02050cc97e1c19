"""What the quick commands import: `import torch` alone costs over a second."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest

HEAVY = {
    "torch",
    "mujoco",
    "matplotlib",
    "pettingzoo",
    "open_spiel",
    "pyspiel",
    "onnxruntime",
    "stable_baselines3",
    "tensorboard",
    "sqlalchemy",
    "pandas",
}
RUN = "from pkubench.cli.main import run; run()"


@cache
def imported_by(program: str, *arguments: str) -> frozenset[str]:
    """The top-level packages that a fresh interpreter imports while it runs ``program``."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.splitlines()[-20:]
    names = [
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    ]
    return frozenset(name.partition(".")[0] for name in names)


def test_the_probe_sees_an_import_inside_a_function() -> None:
    assert "matplotlib" in imported_by("def f():\n    import matplotlib\nf()")


def test_import_pkubench_imports_nothing_heavy() -> None:
    imported = imported_by("import pkubench")
    assert "pkubench" in imported
    assert not imported & HEAVY


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("list",),
        ("list", "--json"),
        ("show", "SimpleSpread-v0"),
        ("claims", "--paper", "HASAC"),
    ],
    ids=" ".join,
)
def test_quick_commands_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    imported = imported_by(RUN, *arguments)
    assert "pkubench" in imported
    assert not imported & HEAVY
