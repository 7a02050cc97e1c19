"""Trainings that compare settings: resumable, on training seeds from 1000 on, as no table has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkubench.agents.saved.runs import has_checkpoint, read_curve
from pkubench.files import write_json

ROOT = Path(__file__).parents[2]
FIRST_SEED = 1000
POINTS, EPISODES, LAST = 20, 4, 10
"""Validation points of a run, episodes of each, and how many of the last points are averaged."""
Candidates = Mapping[str, Mapping[str, Any]]
"""Name -> settings, as changes of a preset."""


def records_of(study: str) -> Path:
    """Return the folder of a study's records."""
    return Path(__file__).parent / "records" / study


@dataclass(frozen=True)
class Trial:
    """One training of one candidate."""

    study: str
    """Names the folders of its records and runs."""
    candidate: str
    agent: str
    task: str
    seed: int
    steps: int

    @property
    def record(self) -> Path:
        """Where its figures are."""
        name = f"{self.agent}-seed{self.seed}.json"
        return records_of(self.study) / f"{self.steps}" / self.candidate / self.task / name

    @property
    def folder(self) -> Path:
        """Where it trains."""
        below = self.record.relative_to(records_of(self.study)).with_suffix("")
        return ROOT / "runs/tuning" / self.study / below

    def command(self, candidates: Candidates) -> list[str]:
        """Return the command that trains it, after ``pkubench``."""
        words = ["train", self.agent, self.task, "--steps", str(self.steps)]
        words += ["--seed", str(self.seed)]
        for name, value in candidates[self.candidate].items():
            words += ["--set", f"{name}={json.dumps(value)}"]
        words += ["--validate", str(POINTS), "--validation-episodes", str(EPISODES)]
        return [*words, "--window", str(LAST), "--validate-sampled"]


def is_recorded(trial: Trial, candidates: Candidates) -> bool:
    """Return whether there is a record of this trial by its current settings."""
    if not trial.record.exists():
        return False
    return bool(json.loads(trial.record.read_text())["command"] == trial.command(candidates))


def run(trial: Trial, candidates: Candidates) -> None:
    """Train, or resume, and write the record.

    Raises:
        subprocess.CalledProcessError: the training failed.
    """
    words = trial.command(candidates)
    command = [sys.executable, "-m", "pkubench", *words, "--out", str(trial.folder)]
    if has_checkpoint(trial.folder):
        command += ["--resume"]
    else:
        shutil.rmtree(trial.folder, ignore_errors=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--quiet"], cwd=ROOT, env=environment, check=True)
    curve = read_curve(trial.folder)
    trial.record.parent.mkdir(parents=True, exist_ok=True)
    write_json(trial.record, {"command": words, **figures_of(curve)})
    print(f"{trial.candidate} {trial.agent} {trial.task} seed {trial.seed}", flush=True)


def figures_of(curve: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a record holds: validation returns, KL of updates if reported, seconds.

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
        **({"kl_median": kls[len(kls) // 2], "kl_max": kls[-1]} if kls else {}),
        "seconds": curve[-1]["seconds"],
    }
