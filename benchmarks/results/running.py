"""Training a table's rows: resumable runs, two at a time, their records and shipped weights."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from benchmarks.results import records
from benchmarks.results.rows import DONE, ROOT, Row, jobs_of, runs_of
from pkubench.agents.catalogue import PRETRAINED
from pkubench.files import write_json
from pkubench.tasks.catalogue import make_task

SCORE = "score.json"
"""A shipped run's score, which a test holds it to."""
CURVE_LINES = 200
"""Lines kept of a shipped training curve."""
Rows = tuple[Row, ...]


def run_stages(rows: Rows, describe: str, write_page: Callable[[Rows, float], None]) -> None:
    """Parse the command line that all tables share and run what it asks for."""
    parser = argparse.ArgumentParser(description=describe)
    parser.add_argument("--stage", choices=("all", "train", "ship", "table"), default="all")
    parser.add_argument("--jobs", type=int, default=2, help="training processes at once")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every step budget")
    parser.add_argument(
        "--only", default="", help="rows to train whose 'NAME TASK' matches this regular expression"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="train anew what the repository has records of"
    )
    args = parser.parse_args()
    if args.stage in ("all", "train"):
        chosen = tuple(row for row in rows if re.search(args.only, f"{row.name} {row.task}"))
        train(chosen, args.jobs, args.scale, args.fresh)
    if args.stage in ("all", "ship"):
        ship(rows, args.scale)
    if args.stage in ("all", "table"):
        write_page(rows, args.scale)


def train(rows: Rows, jobs: int, scale: float, fresh: bool) -> None:
    """Train and score every run that has no record yet: what ships first, row by row."""
    missing = [
        (row, seed)
        for row, seed in runs_of(rows)
        if fresh or records.read(row, seed, row.budget(scale)) is None
    ]
    with ThreadPoolExecutor(jobs) as pool:
        waiting: dict[Future[str], tuple[Row, tuple[int, ...]]] = {}
        for row, seeds in jobs_of(missing):
            done = pool.submit(_train_job, row, seeds, row.budget(scale), fresh)
            waiting[done] = row, seeds
        for done in as_completed(waiting):
            row, seeds = waiting[done]
            print(f"{row.name} {row.task} seed {_listed(seeds)}: {done.result()}", flush=True)
            for seed in seeds:
                if (row.run(seed) / DONE).exists():
                    records.write(row, seed, row.budget(scale), row.run(seed))


def _train_job(row: Row, seeds: tuple[int, ...], budget: int, fresh: bool) -> str:
    if all((row.run(s) / DONE).exists() for s in seeds):
        return "done before"
    if len(seeds) == 1 and not fresh and _restore(row, seeds[0], budget):
        return "done before"
    command = [sys.executable, "-m", "pkubench", "train", row.agent, row.task, "--quiet"]
    command += ["--steps", str(budget)]
    if len(seeds) == 1:
        command += ["--seed", str(seeds[0]), "--out", str(row.run(seeds[0]))]
    else:
        command += ["--seeds", _listed(seeds), "--together", "--out", str(row.run(0).parent)]
    if any(row.run(seeds[0]).glob("checkpoint*")):  # left by an interrupted training
        command.append("--resume")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if ran.returncode:
        return f"FAILED\n{ran.stderr[-2000:]}"
    for seed in seeds:
        (row.run(seed) / DONE).touch()
    last = json.loads((row.run(seeds[0]) / "training.jsonl").read_text().splitlines()[-1])
    return "trained, " + ", ".join(f"{k} {v:.4g}" for k, v in list(last.items())[:4])


def _listed(seeds: tuple[int, ...]) -> str:
    return ",".join(map(str, seeds))


def _restore(row: Row, seed: int, budget: int) -> bool:
    """Take a run that ships with the package as done, if it had the same budget."""
    config = row.shipped(seed) / "config.json"
    if seed >= row.ships or not config.exists():
        return False
    if f"--steps {budget} " not in f"{json.loads(config.read_text())['command']} ":
        return False
    shutil.copytree(config.parent, row.run(seed), dirs_exist_ok=True)
    (row.run(seed) / DONE).touch()
    return True


def ship(rows: Rows, scale: float) -> None:
    """Copy weights, configuration, a thinned curve and the score of runs into the package."""
    for row, seed in runs_of(rows):
        run, target = row.run(seed), row.shipped(seed)
        record = records.read(row, seed, row.budget(scale))
        if seed >= row.ships or record is None or not (run / DONE).exists():
            continue
        if (run / SCORE).exists():
            continue  # restored from the package
        target.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "weights.safetensors"):
            shutil.copyfile(run / name, target / name)
        lines = (run / "training.jsonl").read_text().splitlines()
        stride = max(1, -(-len(lines) // CURVE_LINES))
        kept = lines[stride - 1 :: stride]
        (target / "training.jsonl").write_text("".join(f"{line}\n" for line in kept))
        metric = make_task(row.task).ranking.name
        write_json(target / SCORE, {"metric": metric, **record["report"]["metrics"][metric]})
        print(f"shipped {row.name} {row.task} seed {seed}", flush=True)
    size = sum(f.stat().st_size for f in PRETRAINED.rglob("*") if f.is_file())
    print(f"shipped weights: {size / 1e6:.1f} MB")
