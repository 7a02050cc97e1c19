"""Saved agents: run folders and shipped weights, loaded by the family that saved them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkubench.agents.contract import Entrant, FloatArray
from pkubench.agents.registry import AgentFamily, families, family_of_kind, import_function
from pkubench.agents.resolve.sources import AgentRun, AgentSource, file_hash
from pkubench.agents.saved.files import (
    CONFIG,
    WEIGHTS,
    SavedAgent,
    Tensors,
    files_of,
    has_extra,
    load_saved,
)
from pkubench.agents.saved.runs import read_training, spent, training_folders, trainings
from pkubench.envs.core.recording import Recording
from pkubench.errors import (
    AgentError,
    MissingExtra,
    PkubenchError,
    StorageError,
    UnknownName,
    WeightsError,
)
from pkubench.plugins import MISSING

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

_CREDIT = "credit"
"""File of what a credit model learned, without its suffix."""


def run_folder(folder: Path, task: Task | None = None) -> AgentSource:
    """Return the agent in a run folder, or in the ``seed*/`` folders below it.

    Raises:
        WeightsError: there is none, it is not finished, or the seeds are of different agents.
    """
    paths = saved_folders(folder)
    if not paths:
        for run in trainings(folder):
            raise WeightsError(run.unfinished)
        raise WeightsError(
            f"{folder} is not a saved agent: it has neither {CONFIG} nor seed*/{CONFIG}"
        )
    _check_alike(folder, paths)
    runs = tuple(saved_run(path, task) for path in paths)
    return AgentSource(folder.resolve().name, "saved", runs)


def saved_folders(folder: Path) -> list[Path]:
    """Return the folders of finished trainings: this one, or the ``seed*/`` folders below it."""
    return [path for path in training_folders(folder) if (path / CONFIG).is_file()]


def _check_alike(folder: Path, paths: list[Path]) -> None:
    """Refuse seeds that are not a sample of one agent; damaged files are reported when loaded."""
    if len(paths) < 2:
        return
    try:
        facts = {path: run.facts for path in paths if (run := read_training(path)) is not None}
    except StorageError:
        return
    for name in ("agent", "task", "total_steps", "settings"):
        for path in paths[1:]:
            if facts[path].get(name) != facts[paths[0]].get(name):
                raise WeightsError(
                    f"{folder} contains runs of different agents ({paths[0].name} and {path.name} "
                    f"differ in {name.replace('total_', '')}), whose mean is meaningless; name one "
                    f"of them, such as {path}"
                )


def saved_run(folder: Path, task: Task | None) -> AgentRun:
    """Return the run of one saved agent, with the hashes of its files."""
    names = (CONFIG, WEIGHTS, *files_of(folder))
    hashes = {name: file_hash(folder / name) for name in names if (folder / name).is_file()}
    label = folder.name if folder.name.startswith("seed") else "run"
    try:
        training = read_training(folder)
    except StorageError:  # reported when it is loaded
        training = None
    used = {} if training is None else spent(training.facts)
    return AgentRun(label, load_folder, (folder.absolute(), task), hashes, spent=used)


def load_folder(
    folder: Path, task: Task | None, acting: Mapping[str, Any] | None = None
) -> Entrant:
    """Rebuild a saved agent, with other settings of ``acting`` than the defaults where given.

    Raises:
        WeightsError: its files are damaged, or of a kind unknown to this release.
        AgentError: it was trained for other spaces than the task's.
    """
    return _rebuilt(folder, load_saved(folder), task, acting)


class _Noting(dict[str, Any]):
    """Tensors that record which of them are read."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        self.read[name] = super().__getitem__(name)
        return self.read[name]


def tensors_read(folder: Path, task: Task) -> Tensors:
    """Return the tensors of a saved agent that acting reads, by name.

    Raises:
        WeightsError, AgentError: as :func:`load_folder`.
    """
    saved = load_saved(folder)
    noting = _Noting(saved.tensors)
    _rebuilt(folder, saved._replace(tensors=noting), task)
    return noting.read


Credit = Callable[[Recording], FloatArray]
"""From recorded episodes to each agent's shares (T, N, agents)."""


def credit_of(name: str, run: AgentRun) -> Credit:
    """Return the credit that a saved run was trained with.

    Args:
        name: of the agent, for messages.
        run: one of its runs.

    Raises:
        AgentError: it is not a saved agent, or its family assigns no credit.
        WeightsError: its files are damaged, or do not have what the credit model learned.
    """
    if run.function is not load_folder:
        raise AgentError(f"{name} is not a saved agent: credit is assigned in a training")
    folder, task = run.arguments[:2]
    family = _family(folder, load_saved(folder))
    if family.credit is None:
        raise AgentError(f"agents of the family {family.name!r} assign no credit")
    found: Credit = import_function(family.credit)(folder, task)
    return found


def learned_credit_of(name: str, run: AgentRun) -> Credit | None:
    """Return the credit of a run whose folder holds a credit model; None for any other."""
    if run.function is not load_folder or not has_extra(run.arguments[0], _CREDIT):
        return None
    family = family_in(run.arguments[0])  # others have other tensors that acting does not read
    return None if family.credit is None else credit_of(name, run)


def family_in(folder: Path) -> AgentFamily:
    """Return the family of the agent that is saved in a folder.

    Raises:
        WeightsError: it is not a saved agent, or of a kind that no family here loads.
    """
    return _family(folder, load_saved(folder))


def _family(folder: Path, saved: SavedAgent) -> AgentFamily:
    kind = str(saved.config["kind"])
    try:
        family = family_of_kind(kind)
    except UnknownName as error:
        kinds = ", ".join(family.kind for family in families().values() if family.load)
        raise WeightsError(
            f"{folder / CONFIG} is of kind {kind!r}; known kinds are {kinds}; "
            f"if it is of another package, {MISSING}"
        ) from error
    if family.load is None:
        raise WeightsError(f"{folder} is of kind {kind!r}, which is not an agent that acts")
    return family


def _rebuilt(
    folder: Path,
    saved: SavedAgent,
    task: Task | None,
    acting: Mapping[str, Any] | None = None,
) -> Entrant:
    family = _family(folder, saved)
    chosen = family.acting_with(acting or {})
    try:
        loaded: Entrant = import_function(str(family.load))(saved, task, chosen)
    except WeightsError as error:
        if str(folder) in str(error):
            raise
        raise WeightsError(f"{folder}: {error}") from error
    except MissingExtra:
        raise
    except PkubenchError as error:
        run = read_training(folder)
        own = None if run is None else run.facts.get("task")
        if task is None or own in (None, task.id):
            raise
        raise AgentError(f"{folder} was trained on {own!s:.80}: {error}") from error
    return loaded
