"""The harness: an agent, a task, a fixed set of episodes; out come records and a report.

The set of episodes is fixed before the first step, and they run in fixed blocks of 16, each block
in fresh environments; so the records are the same bytes whatever the number of workers, and whether
or not the evaluation was killed and resumed.
"""

from __future__ import annotations

import hashlib
import platform
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from pkubench import __version__
from pkubench.agents.contract import Entrant
from pkubench.envs.core.registry import resolve
from pkubench.envs.core.seeding import check_seed
from pkubench.errors import AgentError, ConfigError, RecordError
from pkubench.evaluation.report import SCHEMA, Report, RunRecords, build_report
from pkubench.evaluation.run.arguments import output_folder, whole_number
from pkubench.evaluation.run.episodes import BLOCK, ran_late
from pkubench.evaluation.run.execution import Backend, InProcess, Job, Limits
from pkubench.evaluation.run.machine import MACHINES, differences, machine
from pkubench.evaluation.run.sources import AgentSource, ObjectSource, RunSource, as_source
from pkubench.evaluation.run.storage import MemoryRun, RunFolder
from pkubench.evaluation.run.workers import ProcessPool
from pkubench.tasks.records import RUN, EpisodeRecord
from pkubench.tasks.registry import as_task
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task

_UNSAFE = re.compile(r"[^A-Za-z0-9._+@-]+")


class Progress(NamedTuple):
    """How far an evaluation is."""

    done: int
    """Episodes with a record, over all runs, those of an interrupted evaluation included."""
    total: int


def evaluate(
    agent: Entrant | AgentSource,
    task: Task | str,
    *,
    episodes: int | None = None,
    seed: int = 0,
    workers: int = 1,
    out: Path | str | None = None,
    name: str | None = None,
    limits: Limits | None = None,
    backend: Backend | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Score an agent on a task.

    Args:
        agent: An Agent, Team, CentralisedTeam or Population, or a source of several runs (see
            ``pkubench.agents.resolve.loading``; ``pkubench.evaluate`` takes spellings too).
        task: A task, or its name.
        episodes: Episodes of each run; None is the task's own number.
        seed: Chooses the set of episodes. A longer evaluation begins with a shorter one's.
        workers: Processes. 0 runs everything in this process, for debugging. Never changes a
            result.
        out: Folder for ``AGENT/TASK/RUN/episodes.jsonl`` and ``AGENT/TASK/report.json``; an
            interrupted evaluation resumes from what it holds, once a block of it, drawn at
            random, has been played again and is the same bytes. None keeps records in memory.
        name: Name of an agent given as an object.
        limits: How long the agent may take.
        backend: Where blocks run; overrides ``workers`` and is left open.
        progress: Called whenever a block is done.

    Raises:
        UnknownName: no such task.
        ConfigError: an argument is not of its kind or outside its domain.
        AgentError: the agent cannot be loaded or does not fit the task's environment. Whatever it
            does wrong while acting is a failed episode in the report instead.
        RecordError: ``out`` holds another evaluation, or lines that the agent does not play here.
        StorageError: ``out`` cannot be written.
        MissingExtra: the task's environment needs something that is not installed.
    """
    task = as_task(task)
    seed, workers = whole_number("seed", seed), whole_number("workers", workers)
    out = output_folder(out)
    episodes = task.protocol.episodes if episodes is None else whole_number("episodes", episodes)
    if episodes < 1:
        raise ConfigError(f"episodes must be at least 1, got {episodes}")
    check_seed(seed)
    planned = task.scoring.plan(task, seed, episodes)
    source = as_source(agent, name)
    folder = None if out is None else evaluation_folder(out, source.name, task)
    if folder is not None:
        _check_no_other_runs(folder, source)
    runs: list[_Run] = []
    try:
        for run_source in source.runs:
            runs.append(_open(run_source, source, task, seed, planned, folder))
        _run_blocks(runs, source, task, limits or Limits(), backend, workers, progress)
    finally:
        for run in runs:
            run.sink.close()
    report = build_report([run.finished(task) for run in runs], task)
    if folder is not None:
        report.save(folder)
    return report


def evaluation_folder(out: Path | str, agent: str, task: Task) -> Path:
    """Return the folder below ``out`` with the records of an agent on a task."""
    return Path(out) / folder_name(agent) / folder_name(task.id.rpartition("/")[2])


def _check_no_other_runs(folder: Path, source: AgentSource) -> None:
    """Refuse a folder with other runs, of another agent or seed: one report would cover them all.

    Raises:
        RecordError: there are such runs; nothing is touched.
    """
    own = {folder_name(run.label) for run in source.runs}
    others = [path.parent.name for path in folder.glob(f"*/{RUN}") if path.parent.name not in own]
    if others:
        raise RecordError(
            f"{folder} holds runs that are not among those of {source.name!r} to evaluate now "
            f"({', '.join(sorted(others))}), and one report is of all runs in a folder; choose "
            "another --out, or rename the agent's folder"
        )


def folder_name(name: str) -> str:
    """Return a name with every character replaced that a folder's name should not have.

    Letters outside ASCII are replaced too; the start of a hash keeps such names distinct.
    """
    name = unicodedata.normalize("NFC", name)
    safe = _UNSAFE.sub("-", name).strip("-.") or "agent"
    if name.isascii():
        return safe
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    return f"{safe}-{digest[:8]}"


def versions_for(task: Task, runtimes: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions of everything that an agent's records on a task may depend on.

    Args:
        task: What is evaluated.
        runtimes: The distributions that the agent acts with, as its source reports them.
    """
    found = {
        "python": platform.python_version(),
        "pkubench": __version__,
        "numpy": metadata.version("numpy"),
    }
    for distribution in (*resolve(task.id).engines, *runtimes):
        try:
            found[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:  # what needs it will say so better
            found[distribution] = "missing"
    return found


@dataclass
class _Run:
    source: RunSource
    settings: Mapping[str, Any]
    episodes: Sequence[Episode]
    sink: RunFolder | MemoryRun
    found: Sequence[EpisodeRecord]
    """Records of an earlier, interrupted evaluation."""
    is_checked: bool = False
    """Whether one of their blocks was played again; nothing is appended before that."""

    def __post_init__(self) -> None:
        self.is_checked = not self.found

    def blocks(self) -> Iterator[tuple[Episode, ...]]:
        """Yield the episodes of each block without records."""
        for first in range(len(self.sink.records), len(self.episodes), BLOCK):
            yield tuple(self.episodes[first : first + BLOCK])

    def to_check(self) -> tuple[Episode, ...] | None:
        """Draw a block of the lines that were found; None if there were none."""
        if not self.found:
            return None
        first = secrets.choice(range(0, len(self.found), BLOCK))
        return tuple(self.episodes[first : first + BLOCK])

    def check(self, records: Sequence[EpisodeRecord], task: Task) -> None:
        """Check found lines against the same episodes, played again.

        Raises:
            RecordError: they differ; nothing is added to them.
        """
        assert isinstance(self.sink, RunFolder)
        differ = [
            again.episode
            for again, then in zip(records, self.found[records[0].episode :], strict=False)
            if again.line(task) != then.line(task) and not (ran_late(again) or ran_late(then))
        ]
        if not differ:
            self.sink.resumed_on(machine())
            self.is_checked = True
            return
        why = differences(self.sink.machines, machine())
        reason = f" ({'; '.join(why)})" if why else ": lines were changed, or it plays at random"
        raise RecordError(
            f"{self.sink.path} holds records that the agent does not play here, such as episode "
            f"{differ[0]}{reason}; {'resume where they were made, or ' if why else ''}choose "
            "another --out"
        )

    def finished(self, task: Task) -> RunRecords:
        data = "".join(f"{record.line(task)}\n" for record in self.sink.records)
        return RunRecords(
            label=self.source.label,
            settings=self.settings,
            records=self.sink.records,
            digest=hashlib.sha256(data.encode()).hexdigest(),
        )


def _open(
    run: RunSource,
    source: AgentSource,
    task: Task,
    seed: int,
    episodes: Sequence[Episode],
    folder: Path | None,
) -> _Run:
    settings = {
        "schema": SCHEMA,
        "task": task.id,
        "agent": source.name,
        "label": source.label,
        "run": run.label,
        "hashes": dict(run.hashes),
        "seed": seed,
        "episodes": len(episodes),
        "horizon": task.protocol.horizon,
        "env_kwargs": dict(task.env_kwargs),
        "block": BLOCK,
        "threads": 1,
        "versions": versions_for(task, source.runtimes),
        MACHINES: [machine()],
    }
    # of sources of other packages too, which need not say how they were trained
    if beyond := task.protocol.beyond_budget(getattr(run, "spent", {})):
        settings["beyond_budget"] = beyond
    if folder is None:
        return _Run(run, settings, episodes, MemoryRun(), ())
    ends = [*range(BLOCK, len(episodes), BLOCK), len(episodes)]
    sink = RunFolder(folder / folder_name(run.label), task, settings, ends)
    for record in sink.records:
        planned = episodes[record.episode]
        if record.seed != planned.seed:
            sink.close()
            raise RecordError(
                f"{sink.path}:{record.episode + 1} has seed {record.seed}, wanted "
                f"{planned.seed}: its lines were changed"
            )
        if wrong := task.scoring.check(record, task):
            sink.close()
            raise RecordError(f"{sink.path}:{record.episode + 1}: {wrong}; choose another --out")
    return _Run(run, settings, episodes, sink, tuple(sink.records))


def _run_blocks(
    runs: Sequence[_Run],
    source: AgentSource,
    task: Task,
    limits: Limits,
    backend: Backend | None,
    workers: int,
    progress: Callable[[Progress], None] | None,
) -> None:
    jobs: list[Job] = []
    owners: list[_Run] = []
    checks = [[block] if (block := run.to_check()) else [] for run in runs]
    for run, check in zip(runs, checks, strict=True):  # a block that is checked comes first
        for episodes in [*check, *run.blocks()]:
            jobs.append(
                Job(
                    index=len(jobs),
                    task=task,
                    env=resolve(task.id),
                    run=run.source,
                    owner=source.name,
                    episodes=episodes,
                    limits=limits,
                )
            )
            owners.append(run)
    total = sum(len(run.episodes) for run in runs)
    done = sum(len(run.sink.records) for run in runs)
    if progress is not None:
        progress(Progress(done, total))
    if not jobs:
        return
    chosen = backend or backend_for(source, workers)
    waiting: dict[int, list[EpisodeRecord]] = {}
    try:
        for result in chosen.map(jobs):
            run = owners[result.job.index]
            if result.job.first < len(run.found):
                run.check(result.records, task)
            else:
                waiting[result.job.index] = result.records
                done += len(result.records)
            _write_in_order(jobs, owners, waiting)
            if progress is not None:
                progress(Progress(done, total))
    finally:
        if backend is None:
            chosen.close()


def _write_in_order(
    jobs: Sequence[Job], owners: Sequence[_Run], waiting: dict[int, list[EpisodeRecord]]
) -> None:
    """Append what is next in its run's file; later blocks wait."""
    for index in sorted(waiting):
        run = owners[index]
        if run.is_checked and len(run.sink.records) == jobs[index].first:
            owners[index].sink.append(waiting.pop(index))


def backend_for(source: AgentSource, workers: int) -> Backend:
    """Return where an agent's blocks run: ``workers`` processes, or this one.

    Raises:
        AgentError: the agent exists in this process only, and several processes were asked for.
        ConfigError: ``workers`` is negative.
    """
    if workers == 0:
        return InProcess()
    if isinstance(source, ObjectSource) and not source.is_portable:
        if workers > 1:
            raise AgentError(
                f"agent {source.name!r} exists in this process only (it cannot be pickled, or is "
                "defined in the running script): give it as package.module:factory, or workers=1"
            )
        return InProcess()
    return ProcessPool(workers)
