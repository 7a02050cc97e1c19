"""Training speed of this checkout over that of another one, in alternating pairs.

    git worktree add --detach ../before COMMIT
    python -m tools.paired_speed ../before [--pairs 7] [--only TEXT]

Each turn trains the same preset by the command line of both checkouts, one after the other, and
reads the learning rate from the training curves: a pair's ratio is that of the median updates, the
first of each run left out. Printed is the median ratio of all pairs with its range. Processor time
of the whole command is compared too, which counts what is outside the updates (validation, say).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1]


class Row(NamedTuple):
    """A training to time."""

    agent: str
    task: str
    steps: int
    settings: tuple[str, ...] = ()


ROWS = (
    Row("happo", "SimpleSpread-v0", 60_000),
    Row("happo-paper", "SimpleSpread-v0", 60_000),
    Row("mappo", "SimpleSpread-v0", 60_000),
    Row("hatrpo", "SimpleSpread-v0", 60_000),
    Row("hatrpo-paper", "SimpleSpread-v0", 60_000),
    Row("haa2c", "SimpleSpread-v0", 60_000),
    Row("ppo-lag-paper", "PointGoal1-v0", 60_000, ("target_kl=1e9", "minibatches=313")),
    Row("ppo-lag", "HopperVelocity-v0", 40_960),
    Row("cpo", "HopperVelocity-v0", 40_960),
    Row("hasac", "SimpleSpreadContinuous-v0", 30_000),
    Row("hatd3", "SimpleSpreadContinuous-v0", 30_000),
    Row("hasac-paper", "SimpleSpreadContinuous-v0", 16_000),
    Row("psro", "LeducPoker-v0", 60),
    Row("psd-psro", "LeducPoker-v0", 30),
    Row("cfr+", "LeducPoker-v0", 300),
)


class Spent(NamedTuple):
    """What one training took."""

    per_update: float
    """Seconds of the median update after the first."""
    processor: float
    """Processor seconds of the whole command."""


def spent(checkout: Path, row: Row) -> Spent:
    """Train once and read what it took."""
    with tempfile.TemporaryDirectory() as parent:
        out = Path(parent) / "run"
        command = [sys.executable, "-m", "pkubench", "train", row.agent, row.task, "--quiet"]
        command += ["--steps", str(row.steps), "--seed", "0", "--out", str(out)]
        for setting in row.settings:
            command += ["--set", setting]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
        subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = (out / "training.jsonl").read_text(encoding="utf-8").splitlines()
    curve = [line for line in map(json.loads, lines) if "seconds" in line]
    seconds = [
        (now["seconds"] - then["seconds"]) / max(now["steps"] - then["steps"], 1)
        for then, now in itertools.pairwise(curve)
    ]
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(median(seconds), processor)


def main() -> int:
    """Measure the rows and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", default="", help="only rows whose agent or task holds this")
    options = parser.parse_args()
    print("| training | speed, this over the other | range | processor time |")
    print("|---|---:|---:|---:|", flush=True)
    slow = []
    for row in ROWS:
        if options.only not in f"{row.agent} {row.task}":
            continue
        ratios, processor = [], []
        for pair in range(options.pairs):
            order = (
                (options.before.resolve(), HERE) if pair % 2 else (HERE, options.before.resolve())
            )
            took = {checkout: spent(checkout, row) for checkout in order}
            then, now = took[options.before.resolve()], took[HERE]
            ratios.append(then.per_update / now.per_update)
            processor.append(now.processor / then.processor)
        ratio = median(ratios)
        print(
            f"| {row.agent} on {row.task} | {ratio:.3f} | {min(ratios):.2f} to {max(ratios):.2f} "
            f"| {median(processor):.2f} |",
            flush=True,
        )
        if ratio < 0.97:
            slow.append(row.agent)
    print(f"\nbelow 0.97: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
