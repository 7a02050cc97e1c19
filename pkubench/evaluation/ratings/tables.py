"""Tables of results: what they are of, how they are read, and what a resample of their runs is."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from pkubench.envs.games.forest import Floats
from pkubench.envs.games.payoff_matrices import checked_payoff, is_antisymmetric
from pkubench.errors import RecordError

Kind = Literal["wins", "payoffs", "general", "scores"]
KINDS: dict[str, str] = {
    "wins": "shares of wins among agents, draws counted half",
    "payoffs": "what agents win from each other, zero-sum",
    "general": "what agents earn when they meet, not zero-sum",
    "scores": "scores of agents on tasks",
}
SUFFIXES = (".csv", ".json", ".npz", ".npy")
_MAX_BYTES = 1 << 28
_DRAW = 1e-9
"""Normalised scores closer than this are a draw: exactly computed ones differ by rounding."""


class Results(Protocol):
    """A table of results that can be drawn again from its runs."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        ...

    @property
    def kind(self) -> Kind:
        """What the entries are."""
        ...

    @property
    def runs(self) -> int:
        """Least number of runs behind an entry; intervals need two."""
        ...

    def table(self) -> Floats:
        """Return the mean table, ``(rows, columns)``."""
        ...

    def resampled(self, rng: np.random.Generator) -> Floats:
        """Return the mean table of runs drawn with replacement."""
        ...


@dataclass(frozen=True)
class RunTables:
    """Whole tables, one for each run.

    Attributes:
        names: Of the rows.
        columns: Of the columns.
        kind: What the entries are.
        tables: float64 ``(runs, rows, columns)``.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    kind: Kind
    tables: Floats

    @property
    def runs(self) -> int:
        """Number of tables."""
        return len(self.tables)

    def table(self) -> Floats:
        """Return the mean table."""
        return np.asarray(self.tables.mean(axis=0))

    def resampled(self, rng: np.random.Generator) -> Floats:
        """Return the mean of tables drawn with replacement."""
        return np.asarray(self.tables[rng.integers(0, self.runs, self.runs)].mean(axis=0))


@dataclass(frozen=True)
class AgentRuns:
    """Agents with several runs each, and a table among all runs, by columns of tasks.

    Attributes:
        names: Agents.
        kind: ``wins`` or ``payoffs``.
        of: For each agent the rows of its runs in ``met``.
        met: float64 ``(tasks, all runs, all runs)``: how a run did against another.
    """

    names: tuple[str, ...]
    kind: Kind
    of: tuple[np.ndarray, ...]
    met: Floats

    @property
    def columns(self) -> tuple[str, ...]:
        """The same agents."""
        return self.names

    @property
    def runs(self) -> int:
        """Least number of runs of an agent."""
        return min(len(rows) for rows in self.of)

    def table(self) -> Floats:
        """Return the mean over tasks and pairs of runs."""
        return self._mean([self.of] * len(self.met))

    def resampled(self, rng: np.random.Generator) -> Floats:
        """Return it for runs drawn within each agent and task."""
        return self._mean(
            [
                tuple(rows[rng.integers(0, len(rows), len(rows))] for rows in self.of)
                for _ in self.met
            ]
        )

    def _mean(self, drawn: Sequence[tuple[np.ndarray, ...]]) -> Floats:
        agents = len(self.names)
        mean = np.zeros((agents, agents))
        for met, groups in zip(self.met, drawn, strict=True):
            share = np.zeros((agents, met.shape[0]))
            for number, rows in enumerate(groups):
                np.add.at(share[number], rows, 1.0 / len(rows))
            mean += share @ met @ share.T
        mean /= len(self.met)
        # An agent and its own copy: a draw, whatever its runs did against each other.
        np.fill_diagonal(mean, 0.5 if self.kind == "wins" else 0.0)
        return mean


def wins_of_scores(scores: Mapping[str, Floats]) -> AgentRuns:
    """Return how often a run of one agent scores more than a run of another, task by task.

    Args:
        scores: agent -> normalised scores, float64 ``(runs, tasks)``, higher is better; the same
            tasks for all.

    Raises:
        RecordError: There are fewer than two agents.
    """
    if len(scores) < 2:
        raise RecordError(
            f"ratings compare agents, and the results have {len(scores)} that can be compared; "
            "evaluate another one on the same tasks"
        )
    every = np.concatenate(list(scores.values()))
    ahead = every.T[:, :, None] - every.T[:, None, :]
    met = 0.5 * (1.0 + np.where(np.abs(ahead) <= _DRAW, 0.0, np.sign(ahead)))
    ends = np.cumsum([len(runs) for runs in scores.values()])
    of = np.split(np.arange(len(every)), ends[:-1])
    return AgentRuns(tuple(scores), "wins", tuple(of), met)


def read_tables(files: Sequence[Path], kind: str = "") -> RunTables:
    """Read tables of results; several files, or tables of a file, are runs.

    CSV: a first row with the names of the columns and a first column with those of the rows, or
    numbers alone. JSON: ``{"agents": [...], "columns": [...], "table": [[...]]}`` or ``"tables"``,
    one for each run, or the nested list alone. NumPy: ``.npy`` with two or three axes, or ``.npz``
    with arrays of the same names as in JSON. Nothing in a file is executed.

    Args:
        files: The files, with the same agents.
        kind: What the tables are of (``KINDS``); "" looks.

    Raises:
        RecordError: A file cannot be read or is no such table, or the files do not fit together.
        GameError: A table has entries that are not finite numbers.
    """
    found = [_read(file) for file in files]
    names, columns, _ = found[0]
    for file, (other, further, tables) in zip(files, found, strict=True):
        if (other, further, tables.shape[1:]) != (names, columns, found[0][2].shape[1:]):
            raise RecordError(
                f"{file} and {files[0]} have other rows or columns; runs of one table have the same"
            )
    tables = np.concatenate([tables for _, _, tables in found])
    for run in tables:
        checked_payoff(run, str(files[0]))
    rows, width = tables.shape[1:]
    own = names or tuple(f"agent {number}" for number in range(rows))
    heads = columns or (own if rows == width else tuple(f"task {n}" for n in range(width)))
    if len(own) != rows or len(heads) != width:
        raise RecordError(
            f"{files[0]} has {len(own)} and {len(heads)} names for a table of {rows} rows and "
            f"{width} columns"
        )
    if len(set(own)) < rows or len(set(heads)) < width:
        raise RecordError(f"{files[0]} names a row or column twice")
    if rows < 2:
        raise RecordError(f"{files[0]} has one row; ratings compare two or more agents")
    return _as_kind(RunTables(own, heads, "scores", tables), kind, str(files[0]))


def _as_kind(results: RunTables, kind: str, name: str) -> RunTables:
    """Return results with their kind, checked; zero-sum ones exactly antisymmetric."""
    mean = results.table()
    meets_itself = results.names == results.columns
    is_shares = bool(mean.min() >= 0.0 and mean.max() <= 1.0)
    if not kind:
        if not meets_itself:
            _check_tasks(results, name)
            kind = "scores"
        elif is_shares and is_antisymmetric(mean - 0.5):
            kind = "wins"
        else:
            kind = "payoffs" if is_antisymmetric(mean) else "general"
    if kind == "scores":
        return results
    if not meets_itself:
        raise RecordError(f"{name}: agents that meet each other are both rows and columns")
    if kind == "wins" and not is_shares:
        raise RecordError(f"{name}: shares of wins lie in [0, 1]; use --kind payoffs")
    tables, flipped = results.tables, results.tables.transpose(0, 2, 1)
    if kind == "wins":
        tables = 0.5 * (tables + 1.0 - flipped)
    elif kind == "payoffs":
        tables = 0.5 * (tables - flipped)
    return replace(results, kind=kind, tables=tables)  # type: ignore[arg-type]


def _check_tasks(results: RunTables, name: str) -> None:
    """Check that columns are of tasks: agents that meet each other would be rated by half a table.

    Raises:
        RecordError: some are of agents.
    """
    agents = [column for column in results.columns if column in results.names]
    if not agents:
        return
    lacking = [row for row in results.names if row not in results.columns]
    if lacking:
        why = f"{lacking[0]} has no column"
    elif len(results.columns) > len(results.names):
        other = next(column for column in results.columns if column not in results.names)
        why = f"{other} has no row"
    else:
        why = "the columns are in another order than the rows"
    raise RecordError(
        f"{name} has columns of agents, such as {agents[0]}, but {why}: agents that meet each "
        "other are rows and columns, in one order; if the columns are tasks, --kind scores says so"
    )


Parsed = tuple[tuple[str, ...], tuple[str, ...], Floats]


def _read(file: Path) -> Parsed:
    """Return names of rows, names of columns (empty: none are given) and tables."""
    readers = {".csv": _from_csv, ".json": _from_json, ".npz": _from_numpy, ".npy": _from_numpy}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise RecordError(f"{file} is none of {', '.join(SUFFIXES)}, nor a folder of results")
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise RecordError(f"{file} is larger than {_MAX_BYTES >> 20} MiB")
        names, columns, tables = reader(file.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        raise RecordError(f"{file} is no table of results: {error}") from error
    if tables.ndim == 2:
        tables = tables[None]
    if tables.ndim != 3 or not tables.size:
        raise RecordError(f"{file} is no table of rows and columns: shape {tables.shape}")
    return names, columns, tables


def _from_csv(content: bytes) -> Parsed:
    rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"))) if any(row)]
    if not rows:
        raise ValueError("it is empty")
    if _are_numbers(rows[0]):
        return (), (), np.array([[float(cell) for cell in row] for row in rows])
    if len({len(row) for row in rows}) > 1:
        raise ValueError("its rows have different numbers of cells")
    body = [[float(cell) for cell in row[1:]] for row in rows[1:]]
    return (
        tuple(row[0].strip() for row in rows[1:]),
        tuple(name.strip() for name in rows[0][1:]),
        np.array(body),
    )


def _are_numbers(cells: Sequence[str]) -> bool:
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return False
    return True


def _from_json(content: bytes) -> Parsed:
    value = json.loads(content)
    return _named(value if isinstance(value, dict) else {"table": value})


def _from_numpy(content: bytes) -> Parsed:
    found = np.load(io.BytesIO(content), allow_pickle=False)
    return _named({"table": found} if isinstance(found, np.ndarray) else dict(found))


def _named(value: Mapping[str, Any]) -> Parsed:
    given = [name for name in ("table", "tables") if name in value]
    if len(given) != 1:
        raise ValueError("it needs one of 'table' and 'tables'")
    names, columns = (tuple(map(str, value.get(key, ()))) for key in ("agents", "columns"))
    tables = np.asarray(value[given[0]], np.float64)
    if not columns and tables.shape[-1] == len(names):  # agents that meet each other
        columns = names
    return names, columns, tables
