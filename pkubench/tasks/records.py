"""Episode records: one JSON line per episode, from which every reported number is computed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkubench.errors import RecordError, StorageError, counted

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

EPISODES = "episodes.jsonl"
RUN = "run.json"
REPORT = "report.json"

_NO_RECORD = (
    *(KeyError, TypeError, ValueError, AttributeError),
    *(RecursionError, OverflowError),  # brackets too deep, integers beyond any float
)
_ENCODER = json.JSONEncoder(allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """The outcome of one episode.

    A failed episode has no score: ``return_``, ``cost`` and ``success`` are None, ``returns`` and
    ``metrics`` are empty, and ``failure`` says why. Its ``length`` is the steps taken before.
    """

    episode: int
    """Number within the evaluation, from 0."""
    seed: int
    """The environment's seed."""
    return_: float | None
    """Rewards summed over the episode and over all agents, without discount."""
    returns: Mapping[str, float] = field(default_factory=dict)
    """The same for each agent id."""
    cost: float | None = None
    """Costs summed over the episode."""
    length: int
    """Steps taken."""
    success: bool | None = None
    """Whether the goal was reached, in environments that have one."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The task's further metrics."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options that the episode was reset with, as JSON values; a line without any leaves them
    out."""
    group: str = ""
    """The part of the task that the episode belongs to; a line without one leaves it out."""
    transcript: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen and said, as JSON values, where the task keeps it."""
    failure: str | None = None
    """``reason: details`` if the agent did not finish the episode."""

    def value(self, metric: str) -> float | None:
        """Return the episode's value of a metric, None where it has none."""
        if self.failure is not None:
            return None
        if metric == "return":
            return self.return_
        if metric == "cost":
            return self.cost
        if metric == "length":
            return float(self.length)
        if metric == "success":
            return None if self.success is None else float(self.success)
        return self.metrics.get(metric)

    def line(self, task: Task) -> str:
        """Return the record as its line (without newline): same record, same bytes."""
        names = [metric.name for metric in task.metrics]
        entries: dict[str, Any] = {
            "episode": self.episode,
            "seed": self.seed,
            **({"options": dict(self.options)} if self.options else {}),
            **({"group": self.group} if self.group else {}),
            "return": self.return_,
            "returns": dict(self.returns),
        }
        if "cost" in names:
            entries["cost"] = self.cost
        entries["length"] = self.length
        if "success" in names:
            entries["success"] = self.success
        entries["metrics"] = dict(self.metrics)
        if self.transcript:
            entries["transcript"] = dict(self.transcript)
        entries["failure"] = self.failure
        return _ENCODER.encode(entries)


def parse_record(line: str, where: str) -> EpisodeRecord:
    """Read a record from its line.

    Args:
        line: The JSON text.
        where: File and line number, for messages.

    Raises:
        RecordError: not a record, or its values contradict each other.
    """
    try:
        entries = json.loads(line)
        record = EpisodeRecord(
            episode=_integer(entries["episode"]),
            seed=_integer(entries["seed"]),
            return_=_number(entries["return"]),
            returns={str(k): _finite(v) for k, v in entries["returns"].items()},
            cost=_number(entries.get("cost")),
            length=_integer(entries["length"]),
            success=_flag(entries.get("success")),
            metrics={str(k): _finite(v) for k, v in entries["metrics"].items()},
            options=dict(entries.get("options", {})),
            group=_text(entries.get("group", "")),
            transcript=dict(entries.get("transcript", {})),
            failure=None if entries["failure"] is None else str(entries["failure"]),
        )
    except _NO_RECORD as error:
        raise RecordError(f"{where} is not an episode record ({_why(error)})") from error
    if (record.return_ is None) != (record.failure is not None):
        raise RecordError(f"{where}: a record has either a return or a failure")
    return record


def _why(error: Exception) -> str:
    """Return what is wrong with a line in words."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error}"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, ValueError):
        return f"{error!s:.100}"
    if isinstance(error, RecursionError | OverflowError):
        return "its brackets are too deep, or a number is too large"
    return "a value is of another type"


def returns_by_option(records: Iterable[EpisodeRecord]) -> dict[str, float]:
    """Return the mean return of the episodes with each value of an option.

    Keys are such as ``return:task=2``; there are none where episodes have no options. The mean is
    NaN where an episode failed.
    """
    groups: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.options.items():
            found = math.nan if record.return_ is None else record.return_
            groups.setdefault(f"return:{name}={value}", []).append(found)
    return {name: math.fsum(of) / len(of) for name, of in sorted(groups.items())}


def read_records(path: Path, episodes: int | None = None) -> list[EpisodeRecord]:
    """Read a finished ``episodes.jsonl``.

    Args:
        path: The file.
        episodes: How many there must be; None accepts any number.

    Raises:
        RecordError: missing, torn, out of order, repeated or incomplete records.
    """
    text = read_text(path)
    if text and not text.endswith("\n"):
        raise RecordError(f"{path} ends in a torn line; run the evaluation again to complete it")
    records = [
        parse_record(line, f"{path}:{number}")
        for number, line in enumerate(text.splitlines(), start=1)
    ]
    check_order(records, path)
    if episodes is not None and len(records) != episodes:
        raise RecordError(
            f"{path} has {len(records)} of {counted(episodes, 'episode')}; run the evaluation "
            "again to complete it"
        )
    return records


def check_order(records: Iterable[EpisodeRecord], path: Path) -> None:
    """Check that records are episodes 0, 1, 2, ... in this order.

    Raises:
        RecordError: an episode is missing, repeated or out of order.
    """
    for number, record in enumerate(records):
        if record.episode != number:
            raise RecordError(
                f"{path}:{number + 1} is episode {record.episode}, wanted {number}: "
                "lines were removed, repeated or reordered"
            )


def read_text(path: Path) -> str:
    """Read a text file of records.

    Raises:
        RecordError: it does not exist or is not text.
        StorageError: it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise RecordError(f"there are no records at {path}") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is not text: {error}") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RecordError: it does not exist or is not a JSON object.
        StorageError: it cannot be read.
    """
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # also numbers too long, brackets too deep
        raise RecordError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path} is not a JSON object")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not an integer")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _number(value: Any) -> float | None:
    return None if value is None else _finite(value)


def _flag(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true, false or null")
    return value
