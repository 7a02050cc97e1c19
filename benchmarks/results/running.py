"""Training a table's rows: resumable runs, two at a time, their records and shipped weights."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.results import records
from benchmarks.results.kept import SCORE, compared
from benchmarks.results.records import sha256_of
from benchmarks.results.rows import DONE, ROOT, Row, jobs_of, page_path, runs_of
from pkubench.agents import registry
from pkubench.agents.saved.files import CONFIG, DIGEST, WEIGHTS
from pkubench.agents.saved.runs import has_checkpoint, read_training
from pkubench.files import write_json
from pkubench.tasks.registry import make_task

CURVE_LINES = 200
"""Lines kept of a shipped training curve."""
Rows = tuple[Row, ...]


def run_stages(
    rows: Rows,
    table: str,
    describe: str,
    page_of: Callable[[Rows, float], str],
    *,
    make_data: Callable[[Rows, float], None] | None = None,
    seconds: Callable[[Row], float] | None = None,
    data_seconds: Callable[[Rows], float] | None = None,
) -> None:
    """Parse the command line that all tables share and run the chosen stages.

    Only the rows' full budgets reach the package and the documentation; with ``--scale`` weights,
    records and page stay in ``runs``.

    Args:
        rows: of the table, in the order in which they are trained.
        table: its name.
        describe: one line on it.
        page_of: returns the page of the rows at a scale.
        make_data: makes the data sets of some rows at a scale, those that are not there yet; called
            before their training, and by the stage ``data`` alone.
        seconds: the expected core seconds of a row's runs, for the stage ``plan``.
        data_seconds: those in which the data sets of rows are made, those not there yet.
    """
    own = [*(["data"] if make_data else []), *(["plan"] if seconds else [])]
    parser = argparse.ArgumentParser(description=describe)
    parser.add_argument(
        "--stage",
        choices=("all", *own, "train", "ship", "score", "table"),
        default="all",
        help="score: evaluate the shipped weights again after a change of environment, protocol or "
        "acting; plan: print what is left to do, and how long it takes (neither is part of all)",
    )
    parser.add_argument("--jobs", type=int, default=2, help="number of parallel training processes")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every step budget")
    parser.add_argument(
        "--only", default="", help="rows to train whose 'NAME TASK' matches this regular expression"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="train again what the repository has records of"
    )
    args = parser.parse_args()
    chosen = tuple(row for row in rows if re.search(args.only, f"{row.name} {row.task}"))
    if args.stage == "plan" and seconds:
        print("".join(plan_of(chosen, seconds)), end="")
        if data_seconds and (making := data_seconds(chosen)):
            print(f"{making:,.0f} core seconds before that, for data sets that are not there yet")
    if args.stage in ("all", "data", "train") and make_data:
        make_data(chosen, args.scale)
    if args.stage in ("all", "train"):
        train(chosen, args.jobs, args.scale, args.fresh)
    if args.stage in ("all", "ship"):
        ship(rows)
    if args.stage == "score":
        score(chosen)
    if args.stage in ("all", "table"):
        page = page_path(table, args.scale)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(page_of(rows, args.scale))
        print(f"wrote {page}")


def plan_of(rows: Rows, seconds: Callable[[Row], float]) -> Iterator[str]:
    """Yield a table of rows with the core seconds of their runs that have no record yet."""
    total = 0.0
    yield "| row | task | steps | runs to do | core seconds | sum |\n|---|---|---|---|---|---|\n"
    for row in rows:
        left = sum(records.read(row, seed, row.steps) is None for seed in range(row.seeds))
        own = seconds(row) * left / row.seeds
        total += own
        cells = [row.name, row.task, f"{row.steps:,}", f"{left} of {row.seeds}"]
        yield f"| {' | '.join([*cells, f'{own:,.0f}', f'{total:,.0f}'])} |\n"
    yield f"\n{total:,.0f} core seconds, {total / 3600:.1f} hours of a core\n"


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
            budget = row.budget(scale)
            print(f"{row.name} {row.task} seed {_listed(seeds)}: {done.result()}", flush=True)
            for seed in seeds:
                if _is_done(row, seed, budget, fresh):
                    records.write(row, seed, budget, row.run(seed, budget, fresh))


def _is_done(row: Row, seed: int, budget: int, fresh: bool) -> bool:
    run = row.run(seed, budget, fresh)
    if not (run / DONE).exists():
        return False
    return row.is_made_by(json.loads((run / CONFIG).read_text()), budget)


def _train_job(row: Row, seeds: tuple[int, ...], budget: int, fresh: bool) -> str:
    if all(_is_done(row, s, budget, fresh) for s in seeds):
        return "done before"
    if len(seeds) == 1 and not fresh and _restore(row, seeds[0], budget):
        return "done before"
    runs = [row.run(seed, budget, fresh) for seed in seeds]
    for run in runs:
        if (run / DONE).exists():  # with settings that the preset no longer has
            shutil.rmtree(run)
    command = [sys.executable, "-m", "pkubench", "train", row.agent, row.task, "--quiet"]
    command += ["--steps", str(budget), *row.flags()]
    if len(seeds) == 1:
        command += ["--seed", str(seeds[0]), "--out", str(runs[0])]
    else:
        command += ["--seeds", _listed(seeds), "--batch-seeds", "--out", str(runs[0].parent)]
    if is_interrupted(row, runs[0], budget):
        command.append("--resume")
    else:  # it has no checkpoint, or has settings that the preset no longer has
        for run in runs:
            shutil.rmtree(run, ignore_errors=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if ran.returncode:
        return f"FAILED\n{ran.stderr[-2000:]}"
    for run in runs:
        (run / DONE).touch()
    last = json.loads(_curve(runs[0]).read_text().splitlines()[-1])
    return "trained, " + ", ".join(f"{k} {v:.4g}" for k, v in list(last.items())[:4])


def _curve(run: Path) -> Path:
    """Return the curve of a run; of a pipeline, that of its last stage."""
    own = run / "training.jsonl"
    return own if own.exists() else sorted(run.glob("stages/*/training.jsonl"))[-1]


def is_interrupted(row: Row, run: Path, budget: int) -> bool:
    """Return whether a folder holds an unfinished training of this row with current presets."""
    held = read_training(run)
    is_begun = has_checkpoint(run) or (run / "stages").is_dir()
    if held is None or held.command is None or not is_begun:
        return False
    return row.is_made_by(held.facts, budget)


def _listed(seeds: tuple[int, ...]) -> str:
    return ",".join(map(str, seeds))


def _restore(row: Row, seed: int, budget: int) -> bool:
    """Copy a run that ships with the package, if it has the same budget and settings."""
    config = row.shipped(seed) / CONFIG
    if seed >= row.ships or not config.exists():
        return False
    if not row.is_made_by(json.loads(config.read_text()), budget):
        return False
    run = row.run(seed, budget)
    shutil.copytree(config.parent, run, dirs_exist_ok=True)
    (run / DONE).touch()
    return True


def ship(rows: Rows) -> None:
    """Copy weights, configuration, a thinned curve and the score of runs into the package.

    Only runs with the rows' full budgets, the last trained ones first, and none whose last update
    lost the policy (see ``compared``).
    """
    for row, seed in runs_of(rows):
        record = records.read(row, seed, row.steps)
        if seed >= row.ships or record is None:
            continue
        for run in (row.run(seed, row.steps, fresh=True), row.run(seed, row.steps)):
            weights = run / WEIGHTS
            if weights.exists() and sha256_of(weights) == record["weights"]:
                _ship_run(run, row, seed, record)
                break
    size = sum(f.stat().st_size for f in registry.WEIGHTS.rglob("*") if f.is_file())
    print(f"shipped weights: {size / 1e6:.1f} MB")


def score(rows: Rows) -> None:
    """Evaluate the shipped weights of rows again; renew their records and ``score.json``.

    Records of runs whose weights do not ship keep their figures, and those that they were made by
    (see ``records.acted_in``), until the row is trained again.
    """
    for row, seed in runs_of(rows):
        record = records.read(row, seed, row.steps)
        if record is None:
            continue
        weights = row.shipped(seed) / WEIGHTS
        if seed < row.ships and weights.exists() and sha256_of(weights) == record["weights"]:
            records.write_again(row, seed, weights.parent)
            _write_score(row, seed, records.read(row, seed, row.steps) or record)
            print(f"scored {row.name} {row.task} seed {seed}", flush=True)


def _write_score(row: Row, seed: int, record: dict[str, Any]) -> None:
    metric = make_task(row.task).ranking.name
    found = {"metric": metric, **record["report"]["metrics"][metric]}
    write_json(row.shipped(seed) / SCORE, found)


def _ship_run(run: Path, row: Row, seed: int, record: dict[str, Any]) -> None:
    target, task = row.shipped(seed), make_task(row.task)
    mean = record["report"]["metrics"][task.ranking.name]["mean"]
    found = compared(run, mean, task) if task.ranking.name == "return" else None
    if found is not None and found.is_validated and found.is_lost:
        run_name = f"{row.name} {row.task} seed {seed}"
        print(f'not shipped, train the row with keep="best": {run_name}, {found.text}', flush=True)
        return
    if not (run / SCORE).exists():  # else it was restored from the package
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / WEIGHTS, target / WEIGHTS)
        # the digest is in the record also of runs that were saved before configs had one
        config = json.loads((run / CONFIG).read_text())
        write_json(target / CONFIG, {**config, DIGEST: record["weights"]}, allow_nan=True)
        lines = _curve(run).read_text().splitlines()
        stride = max(1, -(-len(lines) // CURVE_LINES))
        kept = lines[stride - 1 :: stride]
        (target / "training.jsonl").write_text("".join(f"{line}\n" for line in kept))
    _write_score(row, seed, record)
    print(f"shipped {row.name} {row.task} seed {seed}", flush=True)
