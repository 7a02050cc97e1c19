"""Training a table's rows: resumable runs, two at a time, and their weights into the package.

Shared by the tables of ``benchmarks/results``: a table is a list of ``Row`` and a page writer.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkubench
from pkubench.agents.catalogue import PRETRAINED
from pkubench.files import write_json
from pkubench.tasks.catalogue import make_task

ROOT = Path(__file__).parents[2]
DONE = "done"
"""Marks a run whose training came to its end."""
SCORE = "score.json"
"""A shipped run's score, which a test holds it to."""
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
    """Whether its weights go into the package."""
    label: str = ""
    """Another name than the agent's, for a row with another budget or settings."""
    table: str = "foundation"
    """Names the folder of its runs."""

    @property
    def name(self) -> str:
        """How the row is called in the table."""
        return self.label or self.agent

    @property
    def folder(self) -> Path:
        """Where the row's runs are."""
        return ROOT / "runs" / self.table / self.name / self.task


def train(rows: Sequence[Row], jobs: int, scale: float) -> None:
    """Train every run that is not finished: what ships first, row by row."""
    work = [(row, seed, scale) for row in rows for seed in range(row.seeds)]
    work.sort(key=lambda job: not job[0].ships)
    with ThreadPoolExecutor(jobs) as pool:
        for message in pool.map(_train_one, *zip(*work, strict=True)):
            print(message, flush=True)


def _train_one(row: Row, seed: int, scale: float) -> str:
    out = row.folder / f"seed{seed}"
    name = f"{row.name} {row.task} seed {seed}"
    if (out / DONE).exists() or _restore(row, seed, int(row.steps * scale)):
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


def _restore(row: Row, seed: int, steps: int) -> bool:
    """Take a run that ships with the package as done, if it had the same budget."""
    shipped = _shipped_folder(row) / f"seed{seed}"
    if not row.ships or not (shipped / "config.json").exists():
        return False
    command = json.loads((shipped / "config.json").read_text())["command"]
    if f"--steps {steps} " not in f"{command} ":
        return False
    shutil.copytree(shipped, row.folder / f"seed{seed}", dirs_exist_ok=True)
    (row.folder / f"seed{seed}" / DONE).touch()
    return True


def _shipped_folder(row: Row) -> Path:
    return PRETRAINED / row.agent / make_task(row.task).id.rpartition("/")[2]


def _last_line(out: Path) -> str:
    last = json.loads((out / "training.jsonl").read_text().splitlines()[-1])
    return ", ".join(f"{k} {v:.4g}" for k, v in list(last.items())[:4])


def ship(rows: Sequence[Row]) -> None:
    """Copy weights, configuration, a thinned curve and the score of finished rows' runs."""
    for row in rows:
        for run in finished(row) if row.ships else ():
            target = _shipped_folder(row) / run.name
            if (target / SCORE).exists():
                continue  # restored from here, or shipped before
            target.mkdir(parents=True, exist_ok=True)
            for name in ("config.json", "weights.safetensors"):
                shutil.copyfile(run / name, target / name)
            lines = (run / "training.jsonl").read_text().splitlines()
            stride = max(1, -(-len(lines) // CURVE_LINES))
            kept = lines[stride - 1 :: stride]
            (target / "training.jsonl").write_text("".join(f"{line}\n" for line in kept))
            write_json(target / SCORE, _score(run, row))
            print(f"shipped {row.name} {row.task} {run.name}", flush=True)
    size = sum(f.stat().st_size for f in PRETRAINED.rglob("*") if f.is_file())
    print(f"shipped weights: {size / 1e6:.1f} MB")


def _score(run: Path, row: Row) -> dict[str, Any]:
    """Score one run; its interval is over episodes (none where the score is exact)."""
    task = make_task(row.task)
    report = pkubench.evaluate(str(run), task)
    found = report.metrics[task.ranking.name]
    return {
        "metric": task.ranking.name,
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "n": found.n,
    }


def finished(row: Row) -> Iterator[Path]:
    """Yield the folders of a row's runs that came to their end."""
    for seed in range(row.seeds):
        run = row.folder / f"seed{seed}"
        if (run / DONE).exists():
            yield run
