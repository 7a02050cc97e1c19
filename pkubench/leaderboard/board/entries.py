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
from pkubench.leaderboard.board.secret import gap
from pkubench.leaderboard.board.tiers import Verdict
from pkubench.leaderboard.submissions.manifest import STORED_SCHEMAS, Manifest, parse_manifest
from pkubench.tasks.records import EpisodeRecord, parse_record
from pkubench.tasks.registry import make_task

FloatArray = npt.NDArray[np.float64]

SECRET_SEED = -1
"""Stands in reports for the seed of secret episodes."""


class StoredRun(NamedTuple):
    """A run as it is stored."""

    name: str
    info: Mapping[str, Any]
    config: Mapping[str, Any]
    curve: bytes
    lines: bytes
    secret: bytes | None = None
    """Lines of the board's secret episodes, if it played any."""


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
    """The public episodes."""
    metrics: Mapping[str, float | None]
    """Mean over the episodes that rank: secret ones where there are any. None if one failed."""
    shown: Mapping[str, float | None]
    """Mean over the public episodes: a run's exact secret means are not published."""
    failed: int
    """Of the episodes that rank."""
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
    """Of the episodes that rank, computed from the lines by the evaluation code, as for everyone.
    Where the board played secret episodes, these."""
    public: Report
    """Of the episodes that everyone knows."""
    gap: str = ""
    """What the test found between the two, in words."""

    @classmethod
    def of(
        cls, submitter: Submitter, task: str, verdict: Verdict, stored: Sequence[StoredRun]
    ) -> Entry:
        """Build an entry from the rows of the store."""
        stored = sorted(stored, key=lambda run: (len(run.name), run.name))  # seed10 after seed9
        public = [_records(run, run.lines, run.info) for run in stored]
        report = public_report = build_report(public)
        found = ""
        if all(run.secret is not None for run in stored):
            secret = [
                _records(run, run.secret or b"", {**run.info, "seed": SECRET_SEED})
                for run in stored
            ]
            report = build_report(secret)
            both = ([run.records for run in side] for side in (public, secret))
            found = gap(make_task(task), *both)
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
                shown=shown.metrics,
                failed=summary.failed,
                config=run.config,
                curve=tuple(json.loads(line) for line in run.curve.splitlines()),
                lines=run.lines,
            )
            for run, own, summary, shown in zip(
                stored, public, report.runs, public_report.runs, strict=True
            )
        )
        return cls(
            submitter=submitter,
            task=task,
            verdict=verdict,
            runs=runs,
            report=report,
            public=public_report,
            gap=found,
        )

    @property
    def is_secret(self) -> bool:
        """Whether it is ranked by episodes that only the board knows."""
        return self.report.seed == SECRET_SEED

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
        """Return mean and interval of the report, unknown bounds as NaN; None without a mean.

        Of secret episodes they are rounded (:func:`rounded`).
        """
        found = self.report.metrics.get(metric)
        if found is None or found.mean is None:
            return None
        low, high = (math.nan if bound is None else bound for bound in (found.low, found.high))
        interval = Interval(found.mean, low, high)
        return rounded(interval) if self.is_secret else interval

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
            "report": self.public.to_json(),
            **self._secret_json(),
        }

    def _secret_json(self) -> dict[str, Any]:
        if not self.is_secret:
            return {}
        intervals = {name: self.interval(name) for name in self.report.metrics}
        metrics = {
            name: {k: None if math.isnan(v) else v for k, v in found._asdict().items()}
            for name, found in intervals.items()
            if found is not None
        }
        report = {
            "episodes": self.report.episodes,
            "failed": self.report.failed,
            "failures": dict(self.report.failures),
            "metrics": metrics,
        }
        return {"secret_report": report, "gap": self.gap}


def rounded(interval: Interval) -> Interval:
    """Return an interval rounded to a power of ten of at most a tenth of its width.

    The secret episodes are the same for every submission: exact means would let submitters climb by
    small steps, and code report what it saw. Without a width, three significant digits are kept.

    >>> rounded(Interval(-37.2514, -38.9, -35.4))
    Interval(estimate=-37.3, low=-38.9, high=-35.4)
    >>> rounded(Interval(0.123456, 0.123456, 0.123456)).estimate
    0.123
    """
    width = interval.high - interval.low
    if not (math.isfinite(width) and width > 0):
        width = abs(interval.estimate) / 10
    if width <= 0:
        return interval
    digits = -math.floor(math.log10(width / 10))
    return Interval(*(round(v, digits) if math.isfinite(v) else v for v in interval))


def _records(run: StoredRun, lines: bytes, settings: Mapping[str, Any]) -> RunRecords:
    records = tuple(
        parse_record(line, f"{run.name}:{number}")
        for number, line in enumerate(lines.decode().splitlines(), start=1)
    )
    return RunRecords(
        label=run.name,
        settings={**settings, "episodes": len(records)},
        records=records,
        digest=hashlib.sha256(lines).hexdigest(),
    )


@functools.lru_cache(maxsize=256)
def _parsed(manifest: str) -> Manifest:
    return parse_manifest(json.loads(manifest), schemas=STORED_SCHEMAS)
