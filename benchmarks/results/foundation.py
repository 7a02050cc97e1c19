"""The reference agents of the foundation suites and their table, by one resumable command.

``make results-foundation`` trains what is not trained yet (two processes, one thread each), puts
the weights into the package, measures the reference scores and writes
``docs/results/foundation.md``. Stop it and start it again at will: finished runs stay, interrupted
ones go on from their checkpoints. A user with more time edits nothing but ``--scale``.

    python -m benchmarks.results.foundation --stage train     # only the training
    python -m benchmarks.results.foundation --stage ship      # only weights into the package
    python -m benchmarks.results.foundation --stage table     # only references and the table
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pkubench.agents.catalogue import PRETRAINED
from pkubench.tasks.catalogue import make_task

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs" / "foundation"
RESULTS = ROOT / "results" / "foundation"
PAGE = ROOT / "docs" / "results" / "foundation.md"
DONE = "done"
"""Marks a run whose training came to its end."""
CURVE_LINES = 200
"""Lines kept of a shipped training curve."""


@dataclass(frozen=True)
class Row:
    """One row of the table: an agent on a task, so many seeds of so many steps."""

    agent: str
    task: str
    steps: int
    seeds: int
    ships: bool = True
    label: str = ""

    @property
    def folder(self) -> Path:
        """Where the row's runs are."""
        return RUNS / (self.label or self.agent) / self.task


_SPREAD = 1_500_000
_TALK = 1_000_000
_CHEETAH = 2_000_000
_HOPPER = 1_000_000
ROWS = (
    Row("happo", "SimpleSpread-v0", _SPREAD, 5),
    Row("ppo-lag", "HalfCheetahVelocity-v0", _CHEETAH, 5),
    Row("psro", "KuhnPoker-v0", 30, 5),
    Row("psro", "LeducPoker-v0", 400, 5),
    Row("mappo", "SimpleSpread-v0", _SPREAD, 5),
    Row("ppo-lag", "HopperVelocity-v0", _HOPPER, 5),
    Row("happo", "SimpleSpeakerListener-v0", _TALK, 5),
    Row("mappo", "SimpleSpeakerListener-v0", _TALK, 5),
    Row("happo", "SimpleReference-v0", _TALK, 5),
    Row("mappo", "SimpleReference-v0", _TALK, 5),
    Row("ppo", "HopperVelocity-v0", _HOPPER, 5),
    Row("ppo", "HalfCheetahVelocity-v0", _CHEETAH, 5),
    Row("happo", "SimpleSpread-v0", 10_000_000, 1, ships=False, label="happo-10m"),
    Row("happo-paper", "SimpleSpread-v0", _SPREAD, 3, ships=False),
)


def main() -> None:
    """Run the stages."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stage", choices=("all", "train", "ship", "table"), default="all")
    parser.add_argument("--jobs", type=int, default=2, help="training processes at once")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every step budget")
    args = parser.parse_args()
    if args.stage in ("all", "train"):
        train(args.jobs, args.scale)
    if args.stage in ("all", "ship"):
        ship()
    if args.stage in ("all", "table"):
        from benchmarks.results.foundation_table import write_table

        write_table(ROWS, RESULTS, PAGE)


def train(jobs: int, scale: float) -> None:
    """Train every run that has no weights yet, seed 0 of all rows first."""
    rounds = range(max(row.seeds for row in ROWS))
    work = [(row, seed, scale) for seed in rounds for row in ROWS if seed < row.seeds]
    with ThreadPoolExecutor(jobs) as pool:
        for message in pool.map(_train_one, *zip(*work, strict=True)):
            print(message, flush=True)


def _train_one(row: Row, seed: int, scale: float) -> str:
    out = row.folder / f"seed{seed}"
    name = f"{row.label or row.agent} {row.task} seed {seed}"
    if (out / DONE).exists():
        return f"{name}: done before"
    command = [sys.executable, "-m", "pkubench", "train", row.agent, row.task, "--quiet"]
    command += ["--steps", str(int(row.steps * scale)), "--seed", str(seed), "--out", str(out)]
    if any(out.glob("checkpoint*")):  # left by an interrupted training
        command.append("--resume")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        return f"{name}: FAILED\n{done.stderr[-2000:]}"
    (out / DONE).touch()
    return f"{name}: trained, {_last_line(out)}"


def _last_line(out: Path) -> str:
    last = json.loads((out / "training.jsonl").read_text().splitlines()[-1])
    return ", ".join(f"{k} {v:.4g}" for k, v in list(last.items())[:4])


def ship() -> None:
    """Copy weights, configuration and a thinned curve of finished rows into the package."""
    for row in ROWS:
        for run in _finished(row) if row.ships else ():
            target = PRETRAINED / row.agent / make_task(row.task).id.rpartition("/")[2] / run.name
            target.mkdir(parents=True, exist_ok=True)
            for name in ("config.json", "weights.safetensors"):
                shutil.copyfile(run / name, target / name)
            lines = (run / "training.jsonl").read_text().splitlines()
            stride = max(1, -(-len(lines) // CURVE_LINES))
            kept = lines[stride - 1 :: stride]
            (target / "training.jsonl").write_text("".join(f"{line}\n" for line in kept))
    size = sum(f.stat().st_size for f in PRETRAINED.rglob("*") if f.is_file())
    print(f"shipped weights: {size / 1e6:.1f} MB")


def _finished(row: Row) -> Iterator[Path]:
    for seed in range(row.seeds):
        run = row.folder / f"seed{seed}"
        if (run / DONE).exists():
            yield run


if __name__ == "__main__":
    main()
