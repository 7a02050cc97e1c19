"""Submitters and entries as read from a board, with every number computed from the lines."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.evaluation.report import Report, RunRecords, build_report
from pkubench.evaluation.statistics import Interval
from pkubench.leaderboard.board.tiers import Verdict
from pkubench.leaderboard.submissions.manifest import STORED_SCHEMAS, Manifest, parse_manifest
from pkubench.tasks.records import EpisodeRecord, parse_record

FloatArray = npt.NDArray[np.float64]


class StoredRun(NamedTuple):
    """A run as it is stored."""

    name: str
    info: Mapping[str, Any]
    config: Mapping[str, Any]
    curve: bytes
    lines: bytes


@dataclass(frozen=True, slots=True)
class Submitter:
    """A submission without its records."""

    digest: str
    submitted_at: str | None
    manifest: Manifest

    @classmethod
    def read(cls, digest: str, submitted_at: str | None, manifest: str) -> Submitter:
        """Build one from a row of the store."""
        return cls(digest, submitted_at, _parsed(manifest))

    @property
    def name(self) -> str:
        """The agent's name on the board."""
        return self.manifest.name

    def to_json(self) -> dict[str, Any]:
        """Return the submission as a JSON object."""
        return {
            "digest": self.digest,
            "name": self.name,
            "submitted_at": self.submitted_at,
            "agent": self.manifest.agent,
            "kind": self.manifest.kind,
            "license": self.manifest.license,
            "authors": list(self.manifest.authors),
            "description": self.manifest.description,
            "code_url": self.manifest.code_url,
            "versions": dict(self.manifest.versions),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One training seed of one entry."""

    name: str
    seed: int | None
    """Training seed, from the saved agent's config."""
    steps: int | None
    command: str | None
    records: tuple[EpisodeRecord, ...]
    metrics: Mapping[str, float | None]
    """Mean over the episodes; None if one failed."""
    failed: int
    config: Mapping[str, Any]
    curve: tuple[Mapping[str, Any], ...]
    """Lines of ``training.jsonl``."""
    lines: bytes = field(repr=False)
    """``episodes.jsonl``, byte for byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One submission on one task."""

    submitter: Submitter
    task: str
    verdict: Verdict
    runs: tuple[RunResult, ...]
    report: Report
    """Computed from the lines by the evaluation code, as for everyone."""

    @classmethod
    def of(
        cls, submitter: Submitter, task: str, verdict: Verdict, stored: Sequence[StoredRun]
    ) -> Entry:
        """Build an entry from the rows of the store."""
        stored = sorted(stored, key=lambda run: (len(run.name), run.name))  # seed10 after seed9
        records = [
            RunRecords(
                label=run.name,
                settings=run.info,
                records=tuple(
                    parse_record(line, f"{run.name}:{number}")
                    for number, line in enumerate(run.lines.decode().splitlines(), start=1)
                ),
                digest=hashlib.sha256(run.lines).hexdigest(),
            )
            for run in stored
        ]
        report = build_report(records)
        training = {
            run.name: run.training
            for entry in submitter.manifest.tasks
            if entry.task == task
            for run in entry.runs
        }
        runs = tuple(
            RunResult(
                name=run.name,
                seed=training[run.name].get("seed"),
                steps=training[run.name].get("steps"),
                command=training[run.name].get("command"),
                records=tuple(own.records),
                metrics=summary.metrics,
                failed=summary.failed,
                config=run.config,
                curve=tuple(json.loads(line) for line in run.curve.splitlines()),
                lines=run.lines,
            )
            for run, own, summary in zip(stored, records, report.runs, strict=True)
        )
        return cls(submitter=submitter, task=task, verdict=verdict, runs=runs, report=report)

    @property
    def key(self) -> str:
        """Name and hash: unlike the name alone, no two entries of a task share it."""
        return f"{self.submitter.name}@{self.submitter.digest}"

    @property
    def seeds(self) -> int:
        """Number of distinct training seeds; each run without a recorded seed counts as one."""
        return len({run.name if run.seed is None else run.seed for run in self.runs})

    def values(self, metric: str) -> FloatArray | None:
        """Return (runs,) means over episodes; None if a run has none."""
        means = [run.metrics.get(metric) for run in self.runs]
        return None if None in means else np.array(means, dtype=np.float64)

    def interval(self, metric: str) -> Interval | None:
        """Return mean and interval of the report, unknown bounds as NaN; None without a mean."""
        found = self.report.metrics.get(metric)
        if found is None or found.mean is None:
            return None
        low, high = (math.nan if bound is None else bound for bound in (found.low, found.high))
        return Interval(found.mean, low, high)

    def to_json(self) -> dict[str, Any]:
        """Return the entry with its report as a JSON object."""
        return {
            "submission": self.submitter.digest,
            "name": self.submitter.name,
            "task": self.task,
            "tier": self.verdict.tier.value,
            "reason": self.verdict.reason,
            "training": [
                {"run": run.name, "seed": run.seed, "steps": run.steps, "command": run.command}
                for run in self.runs
            ],
            "report": self.report.to_json(),
        }


@functools.lru_cache(maxsize=256)
def _parsed(manifest: str) -> Manifest:
    return parse_manifest(json.loads(manifest), schemas=STORED_SCHEMAS)
