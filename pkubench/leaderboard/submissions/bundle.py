"""Bundles: one zip with the records of one agent and the weights that were evaluated."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pkubench import __version__
from pkubench.agents.registry import prefixes
from pkubench.agents.resolve.acting import split_acting
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.resolve.sources import file_hash
from pkubench.agents.saved.files import WEIGHTS
from pkubench.agents.saved.population_content import POPULATION_SUFFIXES
from pkubench.agents.saved.runs import spent
from pkubench.errors import AgentError, BundleError, StorageError, UnknownName
from pkubench.evaluation.report import run_folders
from pkubench.leaderboard.board.reading import CONFIG, CURVE, DATA_FILES, Bundle, read_bundle
from pkubench.leaderboard.submissions.archive import CODE, SUFFIXES, Digest, write_archive
from pkubench.leaderboard.submissions.manifest import (
    MANIFEST,
    Manifest,
    RunEntry,
    TaskEntry,
    check_text,
    check_url,
    encode,
    has_module,
)
from pkubench.tasks.records import EPISODES, REPORT, RUN, read_json
from pkubench.tasks.registry import make_listed_task, why_outdated
from pkubench.tasks.task import Task

__all__ = ["Bundle", "create_bundle", "read_bundle", "task_folders"]

DEFAULT_LICENSE = "Apache-2.0"

_KINDS = {
    "builtin": "named",
    "pretrained": "saved",
    "saved": "saved",
    "population": "population",
}
"""Source of an agent (``label`` of a report) -> kind of the bundle, from the spelling prefixes."""

PathLike = str | os.PathLike[str]


def create_bundle(
    results: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    name: str | None = None,
    authors: str | Sequence[str] | None = None,
    description: str | None = None,
    code_url: str | None = None,
    license: str = DEFAULT_LICENSE,
    weights: PathLike | Sequence[PathLike] | None = None,
    missing_weights: Literal["refuse", "leave-out"] = "refuse",
    include_weights: bool = True,
    code: PathLike | None = None,
) -> Bundle:
    """Pack the records of one agent, and its weights, into one zip.

    The same input gives the same bytes. The bundle is read back before it is returned, so a board
    accepts what was written.

    Args:
        results: what ``pkubench evaluate --out`` wrote: the folder of one agent, or of one of its
            tasks, or several of these.
        out: the zip to write.
        name: name of the agent on the board; None is the name in the records.
        authors: names of the authors, if any.
        description: a few sentences for the agent's page.
        code_url: web address of the code.
        license: SPDX name of the weights' license.
        weights: folders or files with the weights that were evaluated. They are recognised by
            their hash, so a parent folder will do. Not needed for agents that pkubench ships.
        missing_weights: whether to refuse to make a bundle, or make one that a board cannot verify,
            where the evaluated weights are not found.
        include_weights: False makes a bundle that a board can show but not verify.
        code: folder with the modules of a ``module:factory`` agent, for a board's sandbox.

    Raises:
        BundleError: there are no records, records of several agents or of an earlier version of a
            task, the evaluated weights are not where they were looked for, or the records are not
            consistent.
        RecordError: a record file is corrupt.
        StorageError: ``out`` cannot be written.
    """
    members: dict[str, bytes] = {}
    tasks: list[TaskEntry] = []
    agents: dict[str, str] = {}
    versions: dict[str, str] = {}
    given = _candidates(_paths(weights))
    for folder in task_folders(_paths(results)):
        report = read_json(folder / REPORT)
        outdated = why_outdated(str(report.get("task")))
        if outdated is not None:
            raise BundleError(f"{folder}: {outdated}")
        task = make_listed_task(str(report.get("task")))
        agents[str(report.get("agent"))] = str(report.get("label"))
        if any(entry.task == task.id for entry in tasks):
            raise BundleError(f"two folders hold records of {task.id}; give one of them")
        for package, version in dict(report.get("versions") or {}).items():
            versions.setdefault(str(package), str(version))
        entry, packed = _packed(folder, task, given if include_weights else None, missing_weights)
        tasks.append(entry)
        members |= packed
    agent, label = _the_agent(agents)
    own_code = {} if code is None else _code(Path(code), agent, label)
    members |= own_code
    manifest = Manifest(
        name=check_text(agent if name is None else name, "name", 80),
        agent=agent,
        kind="code" if own_code else _kind(label),
        license=check_text(license, "license", 80),
        authors=(authors,) if isinstance(authors, str) else tuple(authors or ()),
        description=check_text(description or "", "description", 4000, empty=True),
        code_url=check_url(code_url),
        versions=versions or {"pkubench": __version__},
        tasks=tuple(sorted(tasks, key=lambda entry: entry.task)),
        members={member: Digest.of(data) for member, data in members.items()},
        code=tuple(sorted(own_code)),
    )
    path = Path(out)
    write_archive(path, {MANIFEST: encode(manifest.to_json()), **members})
    return read_bundle(path)


def _packed(
    folder: Path,
    task: Task,
    given: Sequence[Path] | None,
    missing_weights: Literal["refuse", "leave-out"],
) -> tuple[TaskEntry, dict[str, bytes]]:
    """Return a task's entry of the manifest, and the members it names.

    Args:
        folder: Its records.
        task: The task.
        given: Folders that may hold the weights; None leaves weights out.
        missing_weights: As of :func:`create_bundle`.
    """
    base = task.id.rpartition("/")[2]
    members: dict[str, bytes] = {}
    runs = []
    for run in run_folders(folder):
        info = read_json(run / RUN)
        records = {
            f"records/{base}/{run.name}/{file}": _content(run / file) for file in (EPISODES, RUN)
        }
        saved: dict[str, bytes] = {}
        if given is not None and info.get("hashes"):
            _check_files(info)
            where = _find_weights(info, [*given, *_shipped(info, task)])
            if where is None and _are_weights(info) and missing_weights == "refuse":
                raise BundleError(_not_found(info))
            if where is not None:
                files = [*info["hashes"], *([CURVE] if (where / CURVE).is_file() else [])]
                saved = {f"weights/{base}/{run.name}/{f}": _content(where / f) for f in files}
        members |= records | saved
        runs.append(
            RunEntry(
                name=str(info.get("run")),
                episodes=f"records/{base}/{run.name}/{EPISODES}",
                info=f"records/{base}/{run.name}/{RUN}",
                weights=tuple(saved),
                training=_training(saved),
            )
        )
    members[f"records/{base}/{REPORT}"] = _content(folder / REPORT)
    entry = TaskEntry(task=task.id, report=f"records/{base}/{REPORT}", runs=tuple(runs))
    return entry, members


def _code(folder: Path, agent: str, label: str) -> dict[str, bytes]:
    """Return the members of an agent's code.

    Raises:
        BundleError: the agent is not code, or its module is not in the folder.
    """
    if label != "code":
        raise BundleError(f"{agent} is not package.module:factory, so it needs no code")
    suffixes = (".py", *SUFFIXES)
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name.endswith(suffixes)]
    found = {CODE + path.relative_to(folder).as_posix(): _content(path) for path in files}
    if not has_module(agent, found):
        raise BundleError(f"{folder} does not have the module of {agent}")
    return found


def _kind(label: str) -> str:
    prefix = prefixes().get(label)
    return _KINDS.get(label, "external") if prefix is None else prefix.bundle


def task_folders(paths: Iterable[Path]) -> list[Path]:
    """Return the folders ``AGENT/TASK`` of records below some paths, sorted.

    Raises:
        BundleError: there are none.
    """
    found: dict[Path, None] = {}
    searched = []
    for path in paths:
        searched.append(str(path))
        found |= {report.parent.resolve(): None for report in _reports_below(path)}
    if not found:
        raise BundleError(
            f"there are no records in {', '.join(searched) or 'no folder'}; make some with "
            "`pkubench evaluate AGENT TASK --out results` and give results/AGENT"
        )
    return sorted(found)


def is_of_records(path: Path) -> bool:
    """Return whether a folder holds records, rather than weights."""
    return any(True for _ in _reports_below(path))


def _reports_below(path: Path) -> Iterator[Path]:
    files = (path / REPORT, *sorted(path.glob(f"*/{REPORT}")), *path.glob(f"*/*/{REPORT}"))
    return (file for file in files if file.is_file())


def _the_agent(agents: Mapping[str, str]) -> tuple[str, str]:
    """Return the one agent of a bundle and where it comes from.

    Raises:
        BundleError: the records are of several, or it acted in another way than by default.
    """
    if len(agents) > 1:
        raise BundleError(
            f"the records are of {len(agents)} agents ({', '.join(sorted(agents))}); a bundle "
            "holds one: give that agent's folder"
        )
    ((agent, label),) = agents.items()
    if acting := split_acting(agent)[1]:
        settings = " ".join(f"--act {name}={value}" for name, value in acting.items())
        raise BundleError(
            f"{agent} was evaluated with {settings}, and boards take agents as they act by "
            "default: evaluate it without"
        )
    return agent, label


def _paths(given: PathLike | Sequence[PathLike] | None) -> list[Path]:
    if given is None:
        return []
    return [Path(given)] if isinstance(given, str | os.PathLike) else [Path(p) for p in given]


def _candidates(paths: Iterable[Path]) -> list[Path]:
    """Return the folders that may hold weights: those given and all below them."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise BundleError(f"there are no weights at {path}")
        folders = [path.parent] if path.is_file() else [path, *sorted(_folders_below(path))]
        found |= dict.fromkeys(folders)
    return list(found)


def _folders_below(path: Path) -> Iterator[Path]:
    return (below for below in path.rglob("*") if below.is_dir())


def _shipped(info: Mapping[str, Any], task: Task) -> list[Path]:
    """Return the folders of the weights that pkubench ships for an agent."""
    if info.get("label") != "pretrained":
        return []
    try:
        source = resolve_agent(str(info.get("agent")), task)
    except (AgentError, UnknownName):
        return []
    return [part for run in source.runs for part in run.arguments if isinstance(part, Path)]


def _find_weights(info: Mapping[str, Any], folders: Sequence[Path]) -> Path | None:
    """Return the folder with the very files that were evaluated."""
    hashes = info["hashes"]
    if not _are_weights(info):
        return None
    for folder in folders:
        files = {name: folder / name for name in hashes}
        if all(f.is_file() for f in files.values()) and all(
            file_hash(files[name]) == digest for name, digest in hashes.items()
        ):
            return folder
    return None


def _are_weights(info: Mapping[str, Any]) -> bool:
    """Whether what was evaluated is data, rather than code or a pickle."""
    suffixes = (".safetensors", ".onnx", *POPULATION_SUFFIXES)
    return all(f in DATA_FILES or f.endswith(suffixes) for f in info["hashes"])


def _check_files(info: Mapping[str, Any]) -> None:
    """Refuse a saved agent with files that no board unpacks; without them it could not be loaded.

    Raises:
        BundleError: it is one.
    """
    further = sorted({*info["hashes"]} - {*DATA_FILES, WEIGHTS})
    if CONFIG in info["hashes"] and WEIGHTS in info["hashes"] and further:
        raise BundleError(
            f"{info.get('agent')} needs {', '.join(further)} besides its weights, and boards do "
            "not take such files yet: --no-weights submits its records alone (then never ranked)"
        )


def _not_found(info: Mapping[str, Any]) -> str:
    return (
        f"the weights that were evaluated as {info.get('agent')!r}, run {info.get('run')!r} "
        f"({', '.join(sorted(info['hashes']))}), are not where they were looked for; name their "
        "folder with --weights (or the file itself), or leave them out with --no-weights (then "
        "never ranked)"
    )


def _training(saved: Mapping[str, bytes]) -> dict[str, Any]:
    """Return seed, steps and command of a training from what was saved with the weights."""
    files = {name.rpartition("/")[2]: data for name, data in saved.items()}
    try:
        config = json.loads(files.get(CONFIG, b"{}"))
        training = {key: config.get(key) for key in ("seed", "command")}
        training["steps"] = spent(config).get("environment_steps")
    except (ValueError, AttributeError) as error:
        raise BundleError(f"{CONFIG} of the weights is not a JSON object: {error}") from error
    return {key: value for key, value in training.items() if value is not None}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
