"""On-policy settings for Multi-Agent MuJoCo: which of some candidates learn and do not collapse.

``python -m benchmarks.tuning.robots`` trains what has no record yet and writes
``docs/results/marl-tuning.md``. It can be stopped and started again at any time. Training seeds are
1000 and up, which no table has; every figure is of the training session's validation, whose
episodes no table has either.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tuning.robots_page import page_of
from pkubench.agents.saved.runs import has_checkpoint, read_curve
from pkubench.files import write_json

ROOT = Path(__file__).parents[2]
RECORDS = Path(__file__).parent / "records" / "robots"
PAGE = ROOT / "docs/results/marl-tuning.md"
FIRST_SEED = 1000
POINTS, EPISODES, LAST = 20, 4, 10
"""Validation points of a run, episodes of each, and how many of the last points are averaged."""
TASKS = ("MultiHopper3x1-v0", "MultiWalker2d2x3-v0", "MultiHalfCheetah2x3-v1", "MultiAnt4x2-v1")
_FIRST = {
    "clip": 0.2,
    "value_clip": 0.2,
    "epochs": 10,
    "critic_epochs": 10,
    "minibatches": 4,
    "actor_lr": 7e-4,
    "critic_lr": 1e-3,
    "target_kl": None,
    "lr_decay": False,
    "critic_lr_decay": False,
}
_DECAY = {"lr_decay": True, "critic_lr_decay": True}
_SMALL = {"clip": 0.1, "value_clip": 0.1}
CANDIDATES: Mapping[str, Mapping[str, Any]] = {
    "first": _FIRST,
    "kl-stop": {**_FIRST, **_DECAY, "target_kl": 0.02},
    "small-clip": {**_FIRST, **_DECAY, **_SMALL, "minibatches": 2},
    "both": {**_FIRST, **_DECAY, **_SMALL, "target_kl": 0.01},
}
"""Name -> settings. ``first`` is what the presets had before; the others change it."""
CHOSEN = "kl-stop"
"""What the presets have."""
WHY = (
    "With *first* the KL of an agent's update reached 1 to 6 in runs of a million steps, and its "
    "mean is the lowest on every robot. *kl-stop* has the best mean on three of the four, by a "
    "factor of 1.5 on HalfCheetah, and *small-clip* on Hopper. Every row is one training seed, so "
    "that a difference of a fifth means little; that the KL has to be bounded shows everywhere."
)
"""Why, on the page."""


@dataclass(frozen=True)
class Trial:
    """One training of one candidate."""

    candidate: str
    agent: str
    task: str
    seed: int
    steps: int

    @property
    def record(self) -> Path:
        """Where its figures are."""
        name = f"{self.agent}-seed{self.seed}.json"
        return RECORDS / f"{self.steps}" / self.candidate / self.task / name

    @property
    def folder(self) -> Path:
        """Where it trains."""
        return ROOT / "runs/tuning/robots" / self.record.relative_to(RECORDS).with_suffix("")

    def command(self) -> list[str]:
        """Return the command that trains it, after ``pkubench``."""
        words = ["train", self.agent, self.task, "--steps", str(self.steps)]
        words += ["--seed", str(self.seed)]
        for name, value in CANDIDATES[self.candidate].items():
            words += ["--set", f"{name}={json.dumps(value)}"]
        words += ["--validate", str(POINTS), "--validation-episodes", str(EPISODES)]
        return [*words, "--window", str(LAST), "--validate-sampled"]


def is_recorded(trial: Trial) -> bool:
    """Return whether there is a record of this trial by its current settings."""
    if not trial.record.exists():
        return False
    return bool(json.loads(trial.record.read_text())["command"] == trial.command())


def run(trial: Trial) -> None:
    """Train, or resume, and write the record.

    Raises:
        subprocess.CalledProcessError: the training failed.
    """
    command = [sys.executable, "-m", "pkubench", *trial.command(), "--out", str(trial.folder)]
    if has_checkpoint(trial.folder):
        command += ["--resume"]
    else:
        shutil.rmtree(trial.folder, ignore_errors=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--quiet"], cwd=ROOT, env=environment, check=True)
    curve = read_curve(trial.folder)
    trial.record.parent.mkdir(parents=True, exist_ok=True)
    write_json(trial.record, {"command": trial.command(), **figures_of(curve)})


def figures_of(curve: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a record holds: validation returns, KL of updates, seconds.

    >>> line = {"steps": 5, "validation_return": 2.0, "validation_sampled_return": 1.0, "kl": 0.1}
    >>> figures_of([{**line, "seconds": 3.0}])["mode"]
    [2.0]
    """
    points = [line for line in curve if "validation_return" in line]
    kls = sorted(line["kl"] for line in curve if "kl" in line)
    return {
        "at": [point["steps"] for point in points],
        "mode": [point["validation_return"] for point in points],
        "sampled": [point["validation_sampled_return"] for point in points],
        "kl_median": kls[len(kls) // 2],
        "kl_max": kls[-1],
        "seconds": curve[-1]["seconds"],
    }


def trials(agents: list[str], seeds: int, steps: int) -> Iterator[Trial]:
    """Yield all trials, one seed of everything before the next."""
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for agent in agents:
            for task in TASKS:
                for name in CANDIDATES:
                    yield Trial(name, agent, task, seed, steps)


def main() -> None:
    """Parse the command line, train what is missing, write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--agents", default="happo", help="separated by commas")
    parser.add_argument("--only", default="", help="trials whose 'CANDIDATE TASK' matches this")
    parser.add_argument("--table", action="store_true", help="only write the page")
    args = parser.parse_args()
    for trial in trials(args.agents.split(","), args.seeds, args.steps):
        if args.table or not re.search(args.only, f"{trial.candidate} {trial.task}"):
            continue
        if not is_recorded(trial):
            run(trial)
            print(f"{trial.candidate} {trial.agent} {trial.task} seed {trial.seed}", flush=True)
    PAGE.write_text(page_of(RECORDS, CANDIDATES, CHOSEN, WHY))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
