"""Record traces of safety-gymnasium 1.0.0 into tests/data/safety.

    python -m tools.record_safety_gymnasium [TASK ...] [--steps N] [--jobs N] [--into FOLDER]

Makes a virtual environment with the original package, outside the checkout (`PKUBENCH_PEERS` names
the folder), from a Python 3.10 (`PKUBENCH_PYTHON` names one), and records every task there, or
those named. Same versions give the same files.
"""

from __future__ import annotations

import argparse
import json
import lzma
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.peers import SAFETY_GYMNASIUM, PeerError, peer_python

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "data" / "safety"
MODELS = "models.json.xz"
RECORDER = Path(__file__).with_name("safety_gymnasium_recorder.py")
LEVELS = ("Goal0", "Goal1", "Goal2", "Circle0", "Circle1", "Circle2", "Run0")
CONTACTS = ("Push0", "Push1", "Push2", "Button0", "Button1", "Button2")
TASKS = tuple(a + t for a in ("Point", "Car", "Ant", "Doggo") for t in LEVELS + CONTACTS)


def record(python: Path, task: str, into: Path, steps: int) -> None:
    """Record one task in the peer's environment."""
    command = [str(python), str(RECORDER), task, "--into", str(into), "--steps", str(steps)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    print(ran.stdout, end="", flush=True)
    if ran.returncode:
        lines = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
        raise PeerError(f"{task} could not be recorded: {lines[-1]}")


def collect(made: Path, into: Path) -> None:
    """Move the recordings in, and add their models' constants to those that are there."""
    archive = into / MODELS
    facts: dict[str, Any] = {}
    if archive.exists():
        facts = json.loads(lzma.decompress(archive.read_bytes()))
    for file in sorted(made.glob("*.json")):
        facts[file.stem] = json.loads(file.read_text(encoding="utf-8"))
    text = json.dumps(dict(sorted(facts.items())), separators=(",", ":"))
    archive.write_bytes(lzma.compress(text.encode(), preset=9))
    for file in made.glob("*.npz"):
        (into / file.name).write_bytes(file.read_bytes())


def main() -> None:
    """Make the environment, record, collect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="such as PointGoal1; default all")
    parser.add_argument("--steps", type=int, default=0, help="steps per task; default 70 to 130")
    parser.add_argument("--jobs", type=int, default=1, help="tasks recorded in parallel")
    parser.add_argument("--into", type=Path, default=FOLDER, help="default tests/data/safety")
    options = parser.parse_args()
    unknown = sorted(set(options.tasks) - set(TASKS))
    if unknown:
        parser.error(f"no such task: {', '.join(unknown)}; there are {', '.join(TASKS)}")
    options.into.mkdir(parents=True, exist_ok=True)
    try:
        python = peer_python(*SAFETY_GYMNASIUM)
        with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(options.jobs) as pool:
            tasks = options.tasks or TASKS
            waiting = [
                pool.submit(record, python, task, Path(made), options.steps) for task in tasks
            ]
            for each in waiting:
                each.result()
            collect(Path(made), options.into)
    except PeerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
