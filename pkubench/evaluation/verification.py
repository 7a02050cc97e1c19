"""Checking an evaluation: its report against its lines, and its lines against the agent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkubench.envs.registry import resolve
from pkubench.envs.seeding import evaluation_seeds
from pkubench.errors import RecordError
from pkubench.evaluation.execution import Backend, Job, Limits
from pkubench.evaluation.harness import backend_for, versions_for
from pkubench.evaluation.records import EPISODES, REPORT, read_json, read_text
from pkubench.evaluation.report import (
    Report,
    RunRecords,
    build_report,
    read_run,
    run_folders,
)
from pkubench.evaluation.sources import AgentSource
from pkubench.tasks.catalogue import make_task
from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found."""

    report: Report
    """The report recomputed from the lines."""
    problems: tuple[str, ...]
    """What does not agree, each in one sentence; empty if everything does."""
    replayed: int
    """Episodes that were run again."""
    reproduced: int
    """Those of them that gave the same line, byte for byte."""

    @property
    def passed(self) -> bool:
        """Whether everything agrees."""
        return not self.problems


def verify(
    folder: Path,
    *,
    task: Task | None = None,
    agent: AgentSource | None = None,
    episodes: int = 0,
    workers: int = 1,
    limits: Limits | None = None,
    backend: Backend | None = None,
) -> Verification:
    """Check ``OUT/AGENT/TASK`` (or one run's folder).

    Args:
        folder: What ``evaluate(..., out=OUT)`` left.
        task: What was evaluated; None looks it up.
        agent: Whose episodes to run again; needed if ``episodes`` is positive.
        episodes: How many episodes of each run to run again, at least. They run in their own
            blocks of 16, spread evenly over the evaluation, so the number is rounded up.
        workers: Processes for that.
        limits: How long the agent may take.
        backend: Where blocks run; overrides ``workers``.

    Raises:
        RecordError: records are missing, damaged, incomplete or of several evaluations.
        AgentError: the agent cannot be loaded, or has no run of a recorded name.
    """
    paths = run_folders(folder)
    runs = [read_run(path) for path in paths]
    task = task or make_task(str(runs[0].settings["task"]))
    report = build_report(runs, task)
    problems = _report_problems(folder, report)
    for path, run in zip(paths, runs, strict=True):
        problems += _line_problems(path, run, task)
    replayed = reproduced = 0
    if episodes > 0:
        if agent is None:
            raise RecordError("running episodes again needs the agent that was evaluated")
        found = _replay(runs, agent, task, episodes, workers, limits, backend)
        replayed, reproduced = found.replayed, found.reproduced
        problems += found.problems
    return Verification(report, tuple(problems), replayed, reproduced)


def _report_problems(folder: Path, report: Report) -> list[str]:
    path = folder / REPORT
    if not path.is_file():
        return []  # one run of several: the report lies beside the runs
    stored, computed = read_json(path), report.to_json()
    return [
        f"{path}: {key} is {_short(stored.get(key))}, "
        f"but the lines give {_short(computed.get(key))}"
        for key in {**computed, **stored}
        if key != "normalised" and stored.get(key) != computed.get(key)
    ]


def _line_problems(path: Path, run: RunRecords, task: Task) -> list[str]:
    file = path / EPISODES
    seeds = evaluation_seeds(int(run.settings["seed"]), len(run.records)).tolist()
    lines = read_text(file).splitlines()
    for record, seed, line in zip(run.records, seeds, lines, strict=True):
        where = f"{file}:{record.episode + 1}"
        if record.seed != seed:
            return [f"{where} has seed {record.seed}, but this evaluation's is {seed}"]
        if record.line(task) != line:
            return [f"{where} is not written as the harness writes it"]
        total = math.fsum(record.returns.values())
        if record.failure is None and task.kind == "episodes" and record.return_ != total:
            return [f"{where}: the return is {record.return_}, but the agents' sum is {total}"]
    return []


@dataclass(frozen=True, slots=True)
class _Replay:
    problems: list[str]
    replayed: int
    reproduced: int


def _replay(
    runs: Sequence[RunRecords],
    agent: AgentSource,
    task: Task,
    episodes: int,
    workers: int,
    limits: Limits | None,
    backend: Backend | None,
) -> _Replay:
    problems: list[str] = []
    sources = {run.label: run for run in agent.runs}
    jobs: list[Job] = []
    owners: list[RunRecords] = []
    for run in runs:
        if run.label not in sources:
            raise RecordError(f"agent {agent.name!r} has no run {run.label!r} to run again")
        if dict(sources[run.label].hashes) != dict(run.settings["hashes"]):
            problems.append(f"run {run.label!r}: the agent's files are not those evaluated")
        for first, seeds in _chosen_blocks(run, episodes):
            limit = limits or Limits()
            source = sources[run.label]
            world = resolve(task.id)
            jobs.append(Job(len(jobs), task, world, source, agent.name, first, seeds, limit))
            owners.append(run)
    chosen = backend or backend_for(agent, workers)
    replayed = reproduced = 0
    try:
        for result in chosen.map(jobs):
            run = owners[result.job.index]
            for record in result.records:
                replayed += 1
                if record.line(task) == run.records[record.episode].line(task):
                    reproduced += 1
    finally:
        if backend is None:
            chosen.close()
    if reproduced < replayed:
        problems.append(
            f"{replayed - reproduced} of {replayed} episodes came out differently"
            + _version_hint(runs[0].settings["versions"], versions_for(task))
        )
    return _Replay(problems, replayed, reproduced)


def _chosen_blocks(run: RunRecords, episodes: int) -> list[tuple[int, tuple[int, ...]]]:
    size, total = int(run.settings["block"]), len(run.records)
    starts = list(range(0, total, size))
    wanted = min(len(starts), math.ceil(episodes / size))
    picked = [starts[i * len(starts) // wanted] for i in range(wanted)]
    return [
        (first, tuple(record.seed for record in run.records[first : first + size]))
        for first in picked
    ]


def _version_hint(then: dict[str, str], now: dict[str, str]) -> str:
    changed = [f"{k} {then.get(k)} then, {now[k]} now" for k in now if then.get(k) != now[k]]
    return f" ({'; '.join(changed)})" if changed else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
