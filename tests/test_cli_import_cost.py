"""What the quick commands import: `import torch` alone costs over a second."""

from __future__ import annotations

import json
import subprocess
import sys

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
QUICK = (
    ("--help",),
    ("list",),
    ("list", "--json"),
    ("show", "SimpleSpread-v0"),
    ("claims", "--paper", "HASAC"),
)
ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys
from pkubench.cli.main import main
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(words) == 0, words
    print(json.dumps([words, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


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


def test_quick_commands_import_nothing_heavy() -> None:
    """One after another in a fresh interpreter: the first that has a heavy package imported it."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_ANOTHER, json.dumps(QUICK)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [tuple(words) for words, _ in lines] == list(QUICK)
    for words, modules in lines:
        assert "pkubench" in modules
        assert not HEAVY.intersection(modules), words
