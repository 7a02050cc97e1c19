"""Where the metrics of a training are logged: always the curve, and trackers that users choose."""

from __future__ import annotations

import importlib
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pkubench.agents.saved.runs import CURVE
from pkubench.errors import ConfigError, MissingExtra, StorageError, UnknownName


class Tracker(Protocol):
    """Logs the named metrics of a training as it proceeds."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the metrics after ``step`` (in the unit of the run's budget)."""
        ...

    def close(self) -> None:
        """Write what is buffered, and close."""
        ...


class Run(NamedTuple):
    """The description of the run that a tracker receives."""

    folder: Path
    name: str
    group: str
    """What the seeds of one agent on one task share."""
    config: Mapping[str, Any]
    resumed_at: int | None
    """The step of the checkpoint it resumes from; None for a new run."""


class JSONLines:
    """The curve: ``training.jsonl``, one line per report, ``{"steps": 128, "return": 1.5, ...}``.

    A resumed run first cuts the lines past its checkpoint, so no step is reported twice.
    """

    def __init__(self, run: Run) -> None:
        """Open the curve of a run.

        Raises:
            StorageError: it cannot be written.
        """
        path = run.folder / CURVE
        kept: list[str] = []
        try:
            if run.resumed_at is not None and path.exists():
                kept = _lines_until(path, run.resumed_at)
            path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Append one line."""
        self._file.write(json.dumps({"steps": step, **figures}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _lines_until(path: Path, step: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["steps"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):  # torn by a kill
            break
    return kept


class TensorBoard:
    """The same curve for TensorBoard, in the run's folder ``tensorboard``."""

    def __init__(self, run: Run) -> None:
        """Open the writer."""
        folder = str(run.folder / "tensorboard")
        self._writer = _summary_writer()(folder, purge_step=run.resumed_at)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Add one scalar per metric."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("agents", "--track tensorboard") from error
    return SummaryWriter


class Service:
    """A library with the interface of Weights & Biases: ``init``, ``log``, ``finish`` (trackio)."""

    def __init__(self, run: Run, module: str) -> None:
        """Start a run of the service."""
        self._library = _imported(module)
        self._library.init(
            project="pkubench",
            name=run.name,
            group=run.group,
            config=dict(run.config),
            **_continued(run, module),
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send the metrics."""
        self._library.log(dict(figures), step=step)

    def close(self) -> None:
        """Finish the run of the service."""
        self._library.finish()


def _continued(run: Run, module: str) -> dict[str, str]:
    """Return the arguments of ``init`` with which a resumed training continues its own run.

    Weights & Biases finds a run by its id, which is kept beside the curve; trackio by its name.
    """
    if module != "wandb":
        return {"resume": "never" if run.resumed_at is None else "allow"}
    path = run.folder / "wandb.id"
    try:
        if run.resumed_at is None or not path.is_file():
            path.write_text(secrets.token_hex(8), encoding="utf-8")
        return {"id": path.read_text(encoding="utf-8").strip(), "resume": "allow"}
    except OSError as error:
        raise StorageError(f"cannot use {path}: {error.strerror or error}") from error


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra("trackers", f"--track {module}") from error


class TrackerKind(NamedTuple):
    """A tracker that ``--track`` can name."""

    open: Callable[[Run], Tracker]
    check: Callable[[], object] = tuple
    """Raises an error where it cannot be used, such as a package that is not installed."""
    follows_many: bool = True
    """Whether several runs of one process can be tracked together."""


def _service(module: str) -> TrackerKind:
    return TrackerKind(
        lambda run: Service(run, module), lambda: _imported(module), follows_many=False
    )


TRACKERS: dict[str, TrackerKind] = {
    "tensorboard": TrackerKind(TensorBoard, _summary_writer),
    "trackio": _service("trackio"),
    "wandb": _service("wandb"),
}
"""The trackers that ``--track`` accepts."""


def check_trackers(names: tuple[str, ...], runs: int = 1) -> None:
    """Refuse trackers that do not exist, are not installed, or cannot follow several runs together.

    Raises:
        UnknownName: no such tracker.
        MissingExtra, ConfigError: it is not installed, or cannot follow several runs.
    """
    for name in names:
        if name not in TRACKERS:
            raise UnknownName("tracker", name, TRACKERS)
        if runs > 1 and not TRACKERS[name].follows_many:
            raise ConfigError(
                f"--track {name} follows one run at a time: leave --batch-seeds or --track out"
            )
        TRACKERS[name].check()


def open_trackers(run: Run, names: tuple[str, ...]) -> list[Tracker]:
    """Open the curve of a run and the trackers of ``names``.

    Raises:
        StorageError: the curve cannot be written.
        PkubenchError: a tracker cannot be opened.
    """
    opened: list[Tracker] = [JSONLines(run)]
    try:
        for name in dict.fromkeys(names):
            opened.append(TRACKERS[name].open(run))
    except BaseException:
        for tracker in opened:
            tracker.close()
        raise
    return opened
