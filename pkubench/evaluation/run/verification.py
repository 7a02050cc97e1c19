"""Checking an evaluation: its report against its lines, and its lines against the agent."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from pkubench.errors import RecordError, counted
from pkubench.evaluation.report import (
    Report,
    RunRecords,
    build_report,
    read_run,
    run_folders,
)
from pkubench.evaluation.run.execution import Backend, Limits
from pkubench.evaluation.run.replay import replay
from pkubench.evaluation.run.sources import AgentSource
from pkubench.tasks.records import EPISODES, REPORT, read_json, read_text
from pkubench.tasks.registry import make_task, why_outdated
from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found."""

    report: Report
    """The report recomputed from the lines."""
    problems: tuple[str, ...]
    """What does not agree, each in one sentence; empty if everything does."""
    replayed: int
    """Episodes that were played again."""
    reproduced: int
    """Those of them that gave the same line, byte for byte."""
    escape: float = 1.0
    """Chance that the blocks drawn miss one altered episode, of the run where it is largest."""
    how: str = ""
    """What was played again and compared, in a sentence; empty if nothing was."""

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
    random: Random | None = None,
) -> Verification:
    """Check ``OUT/AGENT/TASK`` (or one run's folder).

    Args:
        folder: What ``evaluate(..., out=OUT)`` left.
        task: What was evaluated; None looks it up.
        agent: Whose episodes to run again; needed if ``episodes`` is positive.
        episodes: How many episodes of each run to play again, at least. They run in their own
            blocks of 16, drawn at random, so the number is rounded up.
        workers: Processes for that.
        limits: How long the agent may take.
        backend: Where blocks run; overrides ``workers``.
        random: Draws the blocks; None is the operating system's generator.

    Raises:
        RecordError: records are missing, damaged, incomplete or of several evaluations.
        AgentError: the agent cannot be loaded, or has no run of a recorded name.
    """
    paths = run_folders(folder)
    runs = [read_run(path) for path in paths]
    recorded = str(runs[0].settings["task"])
    task = task or make_task(recorded)
    report = build_report(runs, task)
    outdated = why_outdated(recorded)
    if outdated is not None:  # the present task has other episodes than these
        return Verification(report, (outdated,), 0, 0)
    problems = _report_problems(folder, report)
    for path, run in zip(paths, runs, strict=True):
        problems += _line_problems(path, run, task)
    if episodes == 0:
        return Verification(report, tuple(problems), 0, 0)
    if agent is None:
        raise RecordError("playing episodes again needs the agent that was evaluated")
    problems += _hash_problems(runs, agent)
    blocks = {run.label: chosen_blocks(run, episodes, random) for run in runs}
    escape = max(
        1.0 - len(blocks[run.label]) / math.ceil(len(run.records) / int(run.settings["block"]))
        for run in runs
    )
    found = replay(runs, agent, task, blocks, workers=workers, limits=limits, backend=backend)
    if found.problem:
        problems.append(found.problem)
    return Verification(
        report, tuple(problems), found.replayed, found.reproduced, escape, found.how
    )


def _hash_problems(runs: Sequence[RunRecords], agent: AgentSource) -> list[str]:
    hashes = {run.label: dict(run.hashes) for run in agent.runs}
    return [
        f"run {run.label!r}: the agent's files are not those evaluated"
        for run in runs
        if run.label in hashes and hashes[run.label] != dict(run.settings["hashes"])
    ]


def _report_problems(folder: Path, report: Report) -> list[str]:
    path = folder / REPORT
    if not path.is_file():
        return []  # one run of several: the report is in the folder of all runs
    stored, computed = read_json(path), report.to_json()
    return [
        f"{path}: {key} is {_short(stored.get(key))}, "
        f"but the lines give {_short(computed.get(key))}"
        for key in {**computed, **stored}
        if key != "normalised" and stored.get(key) != computed.get(key)
    ]


def _line_problems(path: Path, run: RunRecords, task: Task) -> list[str]:
    file = path / EPISODES
    planned = task.scoring.plan(task, int(run.settings["seed"]), len(run.records))
    lines = read_text(file).splitlines()
    if len(planned) != len(run.records):
        return [f"{file} has {counted(len(run.records), 'line')}, wanted {len(planned)}"]
    for record, episode, line in zip(run.records, planned, lines, strict=True):
        where = f"{file}:{record.episode + 1}"
        if record.seed != episode.seed:
            return [f"{where} has seed {record.seed}, but this evaluation's is {episode.seed}"]
        if record.line(task) != line:
            return [f"{where} is not written as the harness writes it"]
        if wrong := task.scoring.check(record, task):
            return [f"{where}: {wrong}"]
    return []


def chosen_blocks(run: RunRecords, episodes: int, random: Random | None = None) -> tuple[int, ...]:
    """Draw the blocks of a run to play again: their first episodes, sorted.

    Args:
        run: The run.
        episodes: How many episodes to play at least; blocks are played whole.
        random: Makes the choice; None is the operating system's generator, so that whoever wrote
            the records cannot have known it.
    """
    size, total = int(run.settings["block"]), len(run.records)
    starts = range(0, total, size)
    wanted = min(len(starts), math.ceil(episodes / size))
    return tuple(sorted((random or SystemRandom()).sample(starts, wanted)))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
