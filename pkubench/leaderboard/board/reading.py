"""Reading bundles without trusting them."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkubench.errors import BundleError, PkubenchError, RecordError, StorageError, UnknownName
from pkubench.evaluation.report import RunRecords, build_report, check_settings
from pkubench.evaluation.run.episodes import BLOCK
from pkubench.leaderboard.submissions.archive import CODE, Archive, Digest, Limits
from pkubench.leaderboard.submissions.manifest import (
    MANIFEST,
    Manifest,
    RunEntry,
    TaskEntry,
    decode,
    parse_manifest,
)
from pkubench.leaderboard.submissions.weights import check_weights
from pkubench.tasks.records import EpisodeRecord, check_order, parse_record
from pkubench.tasks.registry import make_listed_task
from pkubench.tasks.task import Task

CONFIG = "config.json"
CURVE = "training.jsonl"
DATA_FILES = (CONFIG, "team.json")
"""JSON files that accompany weights."""

TOLERANCE = 1e-9
"""Relative difference that another machine's mathematical library may make in an aggregate."""

LARGEST = 1e50
"""Largest value of an episode; the squares in intervals of larger ones overflow."""

_CHECKED = (
    *("task", "agent", "label", "score", "metrics", "sample"),
    *("seed", "episodes", "failed", "failures", "runs", "block"),
)
"""Fields of a report that must follow from the lines. Normalised scores change with references."""


def is_weights(member: str) -> bool:
    """Return whether a member of a saved agent holds numbers, rather than describes them."""
    return member.rpartition("/")[2] not in (*DATA_FILES, CURVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRun:
    """One run of a bundle, as read and checked."""

    entry: RunEntry
    info: Mapping[str, Any]
    """``run.json``: the settings of its evaluation."""
    config: Mapping[str, Any]
    """The saved agent's ``config.json``; empty where no weights are submitted."""
    curve: bytes
    """``training.jsonl``; empty where there is none."""
    lines: bytes
    """``episodes.jsonl``, byte for byte."""
    records: tuple[EpisodeRecord, ...]

    @property
    def name(self) -> str:
        """Name of the run, such as ``seed0``."""
        return self.entry.name

    @property
    def weights(self) -> tuple[str, ...]:
        """Members that hold numbers, without descriptions and curve."""
        return tuple(filter(is_weights, self.entry.weights))


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleTask:
    """The records of one task."""

    task: Task
    report: Mapping[str, Any]
    runs: tuple[BundleRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was read and found sound."""

    path: Path
    digest: str
    """SHA-256 of the manifest, which holds the hashes of all members: names the content."""
    manifest: Manifest
    tasks: tuple[BundleTask, ...]

    def extract_code(self, folder: Path) -> Path:
        """Write the agent's code into a new folder, for a sandbox, and return it.

        Raises:
            BundleError: the file changed since it was read.
            StorageError: the folder cannot be written.
        """
        archive = Archive(self.path)
        try:
            for member in self.manifest.code:
                data = _checked(archive, member, self.manifest.members[member])
                path = folder / member.removeprefix(CODE)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
        return folder

    def extract_weights(self, run: BundleRun, folder: Path) -> Path:
        """Write a run's saved agent into a new folder and return it.

        Raises:
            BundleError: the run has no weights, or the file changed since it was read.
            StorageError: the folder cannot be written.
        """
        if not run.entry.weights:
            raise BundleError(f"{self.path.name} has no weights for the run {run.name!r}")
        archive = Archive(self.path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for member in run.entry.weights:
                data = _checked(archive, member, self.manifest.members[member])
                (folder / member.rpartition("/")[2]).write_bytes(data)
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
        return folder


def read_bundle(path: str | os.PathLike[str], limits: Limits | None = None) -> Bundle:
    """Read a bundle without trusting it; nothing in it is unpacked to disk or executed.

    Checked are: names, kinds and sizes of members; the manifest against its schema; the hash of
    every member; every episode line; the weights' format; that the reports follow from the lines;
    and that no two runs of a task have the same weights.

    Raises:
        StorageError: there is no such file.
        BundleError: the first thing that is wrong with it.
    """
    archive = Archive(Path(path), limits)
    raw = archive.read(MANIFEST)
    manifest = parse_manifest(decode(raw, MANIFEST))
    for member in archive.names:
        if member != MANIFEST and member not in manifest.members:
            raise BundleError(f"{member} is not in the manifest; take it out")
    unused = sorted(manifest.members.keys() - {*manifest.referenced()})
    if unused:
        raise BundleError(f"{unused[0]} does not belong to a run of the manifest; take it out")
    for member in manifest.code:
        _checked(archive, member, manifest.members[member])
    tasks = tuple(_read_task(archive, manifest, entry) for entry in manifest.tasks)
    for task in tasks:
        _check_apart(task, manifest)
    return Bundle(
        path=archive.path,
        digest=hashlib.sha256(raw).hexdigest(),
        manifest=manifest,
        tasks=tasks,
    )


def run_records(run: BundleRun) -> RunRecords:
    """Return a run as the evaluation code computes with it."""
    return RunRecords(
        label=run.name,
        settings=run.info,
        records=run.records,
        digest=hashlib.sha256(run.lines).hexdigest(),
    )


def parse_lines(lines: bytes, where: str) -> tuple[EpisodeRecord, ...]:
    """Read untrusted episode lines.

    Raises:
        BundleError: a line is not a record, or lines are torn, missing, repeated or reordered.
    """
    try:
        text = lines.decode()
        if not text.endswith("\n"):
            raise BundleError(f"{where} is empty or ends in a torn line")
        records = tuple(
            parse_record(line, f"{where}:{number}")
            for number, line in enumerate(text.splitlines(), start=1)
        )
        check_order(records, Path(where))
    except (RecordError, UnicodeDecodeError) as error:
        raise BundleError(str(error)) from error
    except (RecursionError, OverflowError) as error:
        raise BundleError(f"{where} holds a value that is not a number or text: {error}") from error
    return records


def _read_task(archive: Archive, manifest: Manifest, entry: TaskEntry) -> BundleTask:
    try:
        task = make_listed_task(entry.task)
    except UnknownName as error:
        raise BundleError(f"{archive.path.name}: {error}") from error
    if task.id != entry.task:
        raise BundleError(f"the manifest calls {task.id} {entry.task!r}; use the full id")

    def member(name: str) -> bytes:
        return _checked(archive, name, manifest.members[name])

    report = _object(decode(member(entry.report), entry.report), entry.report)
    runs = tuple(_read_run(run, task, manifest, member) for run in entry.runs)
    _check_report(task, runs, report, entry.report)
    return BundleTask(task=task, report=report, runs=runs)


def _check_apart(task: BundleTask, manifest: Manifest) -> None:
    """Refuse one agent submitted as several runs: their interval would be zero."""
    if manifest.kind == "code" and len(task.runs) > 1:
        raise BundleError(
            f"{task.task.id} has {len(task.runs)} runs of the same code; runs differ by what was "
            "trained, and code has no weights of a run's own, so submit it as one run"
        )
    seen: dict[frozenset[str], str] = {}
    for run in task.runs:
        hashes = frozenset(manifest.members[name].sha256 for name in run.weights)
        if hashes and hashes in seen:
            raise BundleError(
                f"{seen[hashes]} and {run.name} of {task.task.id} have the same weights: one "
                "training is one run, so submit it once"
            )
        seen[hashes] = run.name


def _read_run(
    entry: RunEntry, task: Task, manifest: Manifest, member: Callable[[str], bytes]
) -> BundleRun:
    info = _object(decode(member(entry.info), entry.info), entry.info)
    lines = member(entry.episodes)
    records = parse_lines(lines, entry.episodes)
    _check_settings(entry, task, manifest, info, lines, records)
    config: Mapping[str, Any] = {}
    curve = b""
    for name in entry.weights:
        data, base = member(name), name.rpartition("/")[2]
        if base == CURVE:
            curve = data
            for number, line in enumerate(data.splitlines(), start=1):
                _object(decode(line, f"{name}:{number}"), f"{name}:{number}")
        elif base in DATA_FILES:
            content = _object(decode(data, name), name)
            config = content if base == CONFIG else config
        else:
            check_weights(name, data)
        # The submitted files must be those that were evaluated.
        if base != CURVE and info["hashes"].get(base) != manifest.members[name].sha256:
            raise BundleError(f"{name} is not the file that was evaluated: {entry.info} says so")
    if manifest.kind == "saved" and entry.weights and not config:
        raise BundleError(f"the weights of the run {entry.name!r} have no {CONFIG}")
    return BundleRun(
        entry=entry, info=info, config=config, curve=curve, lines=lines, records=records
    )


def _check_settings(
    entry: RunEntry,
    task: Task,
    manifest: Manifest,
    info: Mapping[str, Any],
    lines: bytes,
    records: tuple[EpisodeRecord, ...],
) -> None:
    """Check that a run is what the harness writes for this task under the task's own protocol."""
    try:
        check_settings(info, entry.info)
    except RecordError as error:
        raise BundleError(str(error)) from error
    expected = {
        "block": BLOCK,
        "threads": 1,
        "task": task.id,
        "agent": manifest.agent,
        "run": entry.name,
        "horizon": task.protocol.horizon,
        "env_kwargs": dict(task.env_kwargs),
        "episodes": len(records),
    }
    for key, value in expected.items():
        if info.get(key) != value:
            raise BundleError(
                f"{entry.info} says {key} = {str(info.get(key))[:80]!r}, wanted {value!r}"
            )
    seed = info["seed"]
    if seed < 0:
        raise BundleError(f"{entry.info} has a negative seed")
    text = lines.decode().splitlines()
    for record, line in zip(records, text, strict=True):
        where = f"{entry.episodes}:{record.episode + 1}"
        if record.line(task) != line:
            raise BundleError(f"{where} is not written as the harness writes it")
        values = (record.return_, record.cost, *record.returns.values(), *record.metrics.values())
        if any(value is not None and abs(value) > LARGEST for value in values):
            raise BundleError(f"{where} has a value beyond {LARGEST:g}")
        if wrong := task.scoring.check(record, task):
            raise BundleError(f"{where}: {wrong}")
    planned = task.scoring.plan(task, seed, len(records))
    if len(planned) != len(records):
        raise BundleError(f"{entry.episodes} has {len(records)} lines; wanted {len(planned)}")
    for record, wanted in zip(records, planned, strict=True):
        if record.seed != wanted.seed:
            raise BundleError(
                f"{entry.episodes}: episode {record.episode} has seed {record.seed}; the "
                f"evaluation with seed {seed} has {wanted.seed} there"
            )


def _check_report(
    task: Task, runs: tuple[BundleRun, ...], report: Mapping[str, Any], where: str
) -> None:
    """Compute the report again from the lines and compare."""
    try:
        computed = build_report([run_records(run) for run in runs], task).to_json()
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BundleError(f"the runs of {task.id} do not say what was evaluated") from error
    except PkubenchError as error:
        raise BundleError(str(error)) from error
    for key in _CHECKED:
        difference = _difference(report.get(key), computed[key], key)
        if difference:
            raise BundleError(f"{where} does not follow from the episode lines: {difference}")


def _difference(given: Any, computed: Any, place: str) -> str | None:
    """Return the first difference of two JSON values in words, None if they are equal."""
    if isinstance(given, Mapping) and isinstance(computed, Mapping):
        for key in [*computed, *(key for key in given if key not in computed)]:
            found = _difference(given.get(key), computed.get(key), f"{place}.{key}")
            if found:
                return found
        return None
    if isinstance(given, list) and isinstance(computed, list) and len(given) == len(computed):
        pairs = zip(given, computed, strict=True)
        found_all = (_difference(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(pairs))
        return next((found for found in found_all if found), None)
    if _are_equal(given, computed):
        return None
    return f"{place} is {str(given)[:60]}, the lines give {str(computed)[:60]}"


def _are_equal(given: Any, computed: Any) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (given, computed))
    if numbers:
        try:
            return math.isclose(given, computed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        except OverflowError:
            return False
    return type(given) is type(computed) and bool(given == computed)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BundleError(f"{where} is not a JSON object")
    return value


def _checked(archive: Archive, name: str, digest: Digest) -> bytes:
    data = archive.read(name)
    if Digest.of(data) != digest:
        raise BundleError(f"{name} is not what the manifest says (its SHA-256 or size differs)")
    return data
