"""The report of one agent on one task: always computed from the episode lines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkubench.errors import RecordError
from pkubench.evaluation.metrics import Constraint, Sample, constraint, failures, feasible
from pkubench.files import write_json
from pkubench.tasks.records import (
    EPISODES,
    REPORT,
    RUN,
    EpisodeRecord,
    read_json,
    read_records,
)
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import Aggregate
from pkubench.tasks.task import Task

SCHEMA = 1
"""Version of ``report.json`` and ``run.json``."""

_SAME_IN_ALL_RUNS = ("task", "agent", "label", "seed", "episodes", "block", "threads", "versions")

_LOWEST = {"seed": -(2**63), "episodes": 1, "block": 1, "threads": 1}
"""Lowest sound values of the settings that are integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecords:
    """The records of one run and what was evaluated."""

    label: str
    settings: Mapping[str, Any]
    """The run's ``run.json``."""
    records: Sequence[EpisodeRecord]
    digest: str
    """SHA-256 of ``episodes.jsonl``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run's part in a report."""

    label: str
    episodes: int
    failed: int
    metrics: Mapping[str, float | None]
    """Mean over the run's episodes; None if one failed."""
    hashes: Mapping[str, str]
    """SHA-256 of what was evaluated and of ``episodes.jsonl``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How one agent did on one task."""

    task: str
    agent: str
    label: str
    """Where the agent comes from: ``registered``, ``saved``, ``code``, ``onnx``, ``sb3``..."""
    seed: int
    episodes: int
    """Episodes of each run."""
    sample: Sample
    """What ``n`` counts and intervals are over: runs, or the episodes of the only run."""
    metrics: Mapping[str, Aggregate]
    score: float | None
    """The ranking metric's mean; None if an episode failed or the mean cost is over the limit."""
    normalised: float | None
    """0 is the task's floor, 1 the reference agent; None without score or references."""
    feasible: bool | None
    """Whether the mean cost is within the limit; None without limit, or if an episode failed."""
    constraint: Constraint | None
    """Violation of the cost limit and share of feasible runs; None for tasks without a limit."""
    failed: int
    """Episodes that the agent did not finish, over all runs."""
    failures: Mapping[str, int]
    """Why, with counts."""
    runs: tuple[RunSummary, ...]
    versions: Mapping[str, str]
    threads: int
    block: int
    """Episodes that ran as one batch; replaying a record exactly needs the same."""
    beyond_budget: str = ""
    """What a training spent beyond the protocol's budget, in words; "" if none did, or if it is
    not known."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "schema": SCHEMA,
            "task": self.task,
            "agent": self.agent,
            "label": self.label,
            "score": self.score,
            "normalised": self.normalised,
            "feasible": self.feasible,
            **({} if self.constraint is None else {"constraint": self.constraint.to_json()}),
            "metrics": {name: value._asdict() for name, value in self.metrics.items()},
            "sample": self.sample,
            "seed": self.seed,
            "episodes": self.episodes,
            "failed": self.failed,
            "failures": dict(self.failures),
            "runs": [
                {
                    "label": run.label,
                    "episodes": run.episodes,
                    "failed": run.failed,
                    "metrics": dict(run.metrics),
                    "hashes": dict(run.hashes),
                }
                for run in self.runs
            ],
            "versions": dict(self.versions),
            "threads": self.threads,
            "block": self.block,
            **({"beyond_budget": self.beyond_budget} if self.beyond_budget else {}),
        }

    def save(self, folder: Path) -> None:
        """Write ``report.json``.

        Raises:
            StorageError: the folder cannot be written.
        """
        write_json(folder / REPORT, self.to_json())

    @staticmethod
    def from_records(folder: Path, task: Task | None = None) -> Report:
        """Compute the report of ``OUT/AGENT/TASK`` (or of one run's folder) from its lines.

        Args:
            folder: Holds ``RUN/episodes.jsonl`` and ``RUN/run.json`` for each run, or these files.
            task: What was evaluated; None looks it up by the id in ``run.json``.

        Raises:
            RecordError: records are missing, damaged, incomplete or of different evaluations.
        """
        return build_report([read_run(path) for path in run_folders(folder)], task)


def run_folders(folder: Path) -> list[Path]:
    """Return the folders of the runs in ``folder``, by label.

    Raises:
        RecordError: there are none.
    """
    if (folder / EPISODES).is_file():
        return [folder]
    paths = [path for path in folder.glob("*") if (path / EPISODES).is_file()]
    if not paths:
        raise RecordError(
            f"{folder} holds no records; give OUT/AGENT/TASK of `pkubench evaluate --out OUT`"
        )
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def read_settings(folder: Path) -> dict[str, Any]:
    """Read one run's ``run.json``.

    Raises:
        RecordError: it is missing or damaged, or a setting is not what the harness writes.
    """
    settings = read_json(folder / RUN)
    check_settings(settings, str(folder / RUN))
    return settings


def check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Check that settings have the form that the harness writes.

    Raises:
        RecordError: one is missing or of another kind; ``where`` names the file.
    """
    for key in (*_SAME_IN_ALL_RUNS, "run", "hashes"):
        if key not in settings:
            raise RecordError(f"{where} has no {key!r}")
        value = settings[key]
        if key in _LOWEST:
            lowest = _LOWEST[key]
            wanted = f"an integer of at least {lowest}"
            is_sound = type(value) is int and lowest <= value < 2**63
        elif key in ("versions", "hashes"):
            wanted = "an object of texts"
            is_sound = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        else:
            wanted, is_sound = "a text", isinstance(value, str)
        if not is_sound:
            raise RecordError(f"{where}: {key!r} is {value!r:.80}, wanted {wanted}")


def read_run(folder: Path) -> RunRecords:
    """Read one run's records.

    Raises:
        RecordError: they are missing, damaged or incomplete.
    """
    settings = read_settings(folder)
    records = read_records(folder / EPISODES, settings["episodes"])
    digest = hashlib.sha256((folder / EPISODES).read_bytes()).hexdigest()
    return RunRecords(label=settings["run"], settings=settings, records=records, digest=digest)


def build_report(runs: Sequence[RunRecords], task: Task | None = None) -> Report:
    """Compute a report from the runs of one agent on one task.

    Raises:
        RecordError: the runs are not of one evaluation.
    """
    first = runs[0].settings
    for run in runs[1:]:
        for key in _SAME_IN_ALL_RUNS:
            if run.settings[key] != first[key]:
                raise RecordError(
                    f"runs {runs[0].label!r} and {run.label!r} differ in {key}: "
                    f"{first[key]} and {run.settings[key]}"
                )
    task = task or make_task(str(first["task"]))
    records = [run.records for run in runs]
    metrics = dict(task.scoring.summarise(records, task))
    of_runs = tuple(_summary(run, task) for run in runs)
    reasons = failures(records)
    cost = metrics.get("cost")
    means = {name: metric.mean for name, metric in metrics.items()}
    is_feasible = feasible(task, means.get("cost"), means)
    score = metrics[task.ranking.name].mean
    if is_feasible is False:
        score = None
    return Report(
        task=task.id,
        agent=str(first["agent"]),
        label=str(first["label"]),
        seed=int(first["seed"]),
        episodes=int(first["episodes"]),
        sample="runs" if len(runs) > 1 else "episodes",
        metrics=metrics,
        score=score,
        normalised=None if score is None else task.normalised(score),
        feasible=is_feasible,
        constraint=constraint(
            task.cost_limit,
            cost,
            [run.metrics.get("cost") for run in of_runs],
            task.cost_tolerance,
            [feasible(task, run.metrics.get("cost"), run.metrics) for run in of_runs],
        ),
        failed=sum(reasons.values()),
        failures=reasons,
        runs=of_runs,
        versions=dict(first["versions"]),
        threads=int(first["threads"]),
        block=int(first["block"]),
        beyond_budget=max(str(run.settings.get("beyond_budget", "")) for run in runs),
    )


def ranking_key(report: Report, task: Task) -> tuple[int, float]:
    """Return a key that sorts reports of one task from best to worst.

    Scored entries come first, then those over the cost limit by their cost, then those with
    failed episodes by how many.
    """
    if report.score is not None:
        return 0, -report.score if task.ranking.higher_is_better else report.score
    cost = report.metrics["cost"].mean if "cost" in report.metrics else None
    if report.failed == 0 and cost is not None:
        return 1, cost
    return 2, float(report.failed)


def _summary(run: RunRecords, task: Task) -> RunSummary:
    summary = task.scoring.summarise([run.records], task)
    return RunSummary(
        label=run.label,
        episodes=len(run.records),
        failed=sum(record.failure is not None for record in run.records),
        metrics={name: found.mean for name, found in summary.items()},
        hashes={**run.settings["hashes"], EPISODES: run.digest},
    )
