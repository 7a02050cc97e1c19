"""The runs that claims are judged by: per-run scores with agent, task, seed and training budget.

``pkubench/tasks/claims/evidence.json`` ships with the package and is written by ``make
results-claims`` from the records of the published tables; ``from_reports`` reads evaluations of
your own.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from pkubench.errors import RecordError
from pkubench.evaluation.report import Report
from pkubench.files import write_bytes

SCHEMA = 1
"""Version of the file."""
EVIDENCE = "evidence.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Runs of one agent on one task, of one training budget; one value per run and metric."""

    agent: str
    task: str
    unit: str = ""
    """Unit of the budget (``pkubench.tasks.claim.UNITS``); "" if the budget is not recorded."""
    budget: float | None = None
    """What each run was trained for, in ``unit``; None if it is not recorded."""
    keep: str = "last"
    """Which weights of a run were scored: the last ones, or the ``best`` by validation."""
    seeds: tuple[str, ...]
    """(n,) training seeds, as they are called in records."""
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Metric -> (n,) mean of each run over its evaluation episodes, in the task's units."""

    def __post_init__(self) -> None:
        """Check that there is one value per run.

        Raises:
            RecordError: a metric has more or fewer values than there are seeds, or a seed is there
                twice.
        """
        where = f"{self.agent} on {self.task}"
        if len(set(self.seeds)) < len(self.seeds):
            raise RecordError(f"evidence of {where} has a training seed twice")
        for name, values in self.metrics.items():
            if len(values) != len(self.seeds):
                raise RecordError(
                    f"evidence of {where} has {len(values)} values of {name} and "
                    f"{len(self.seeds)} seeds"
                )

    @property
    def n(self) -> int:
        """Number of runs."""
        return len(self.seeds)


@functools.cache
def shipped() -> tuple[Sample, ...]:
    """Return the published runs that ship with the package.

    Raises:
        RecordError: the file is damaged.
    """
    return parse((resources.files("pkubench.tasks.claims") / EVIDENCE).read_text("utf-8"))


def parse(text: str) -> tuple[Sample, ...]:
    """Return the samples of a file's text.

    Raises:
        RecordError: it is damaged, or of another version.
    """
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise RecordError(f"evidence of version {document['schema']}; this is {SCHEMA}")
        return tuple(_sample(entry) for entry in document["samples"])
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"evidence is damaged: {type(error).__name__}: {error}") from None


def _sample(entry: Mapping[str, Any]) -> Sample:
    return Sample(
        agent=str(entry["agent"]),
        task=str(entry["task"]),
        unit=str(entry["unit"]),
        budget=float(entry["budget"]),
        keep=str(entry.get("keep", "last")),
        seeds=tuple(map(str, entry["seeds"])),
        metrics={name: tuple(map(float, values)) for name, values in entry["metrics"].items()},
    )


def save(samples: Iterable[Sample], path: Path) -> None:
    """Write samples, one a line so that a difference can be read, in a fixed order."""
    ordered = sorted(samples, key=lambda s: (s.task, s.agent, s.unit, s.budget or 0.0))
    lines = ",\n".join(
        json.dumps(
            {
                "agent": sample.agent,
                "task": sample.task,
                "unit": sample.unit,
                "budget": sample.budget,
                **({} if sample.keep == "last" else {"keep": sample.keep}),
                "seeds": list(sample.seeds),
                "metrics": {name: list(values) for name, values in sample.metrics.items()},
            }
        )
        for sample in ordered
    )
    write_bytes(path, f'{{"schema": {SCHEMA}, "samples": [\n{lines}\n]}}\n'.encode())


def from_reports(reports: Sequence[Report]) -> list[Sample]:
    """Return the samples of evaluations.

    Records do not say what an agent was trained for, so the samples have no budget: they are
    compared with each other, and never with samples of a known budget.

    Raises:
        RecordError: an agent was evaluated twice on a task, or failed episodes.
    """
    samples: dict[tuple[str, str], Sample] = {}
    for report in reports:
        key = report.agent, report.task
        if key in samples:
            raise RecordError(f"{report.agent} on {report.task} was given twice; give one of them")
        if report.failed:
            raise RecordError(f"{report.agent} failed episodes of {report.task}: it has no score")
        samples[key] = Sample(
            agent=report.agent,
            task=report.task,
            seeds=tuple(run.label for run in report.runs),
            metrics={
                name: values for name in report.metrics if len(values := _known(report, name)) > 0
            },
        )
    return list(samples.values())


def _known(report: Report, metric: str) -> tuple[float, ...]:
    """Return a metric's value of each run; () if a run has none."""
    values = [run.metrics[metric] for run in report.runs]
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else ()
