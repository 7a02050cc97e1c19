"""The board: submissions in a SQL database, from which every number is recomputed.

What is stored is what was submitted: the bundle, and for each run its episode lines. Means,
intervals and ranks are never stored; :meth:`Board.entries` computes them from the lines.

The tables use portable types only. SQLite files run in write-ahead mode with immediate write
transactions, so that readers never wait and two submitters take turns.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.pool import StaticPool

from pkubench.errors import BundleError, StorageError, UnknownName
from pkubench.leaderboard.board.entries import Entry, StoredRun, Submitter
from pkubench.leaderboard.board.reading import Bundle, read_bundle
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.submissions.copies import known_weights
from pkubench.tasks.outside import registered_tasks
from pkubench.tasks.registry import tasks as known_tasks

SCHEMA = 1
"""Version of the tables."""

BUSY_TIMEOUT_S = 60
"""How long a submitter waits for another one."""

_METADATA = sql.MetaData()
_BOARD = sql.Table(
    "board",
    _METADATA,
    sql.Column("key", sql.String(40), primary_key=True),
    sql.Column("value", sql.Text, nullable=False),
)
_SUBMISSIONS = sql.Table(
    "submissions",
    _METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("digest", sql.String(64), nullable=False, unique=True),
    sql.Column("name", sql.String(80), nullable=False),
    sql.Column("submitted_at", sql.String(32)),
    sql.Column("manifest", sql.Text, nullable=False),
    sql.Column("bundle", sql.LargeBinary, nullable=False),
)
_ENTRIES = sql.Table(
    "entries",
    _METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("submission", sql.ForeignKey("submissions.id"), nullable=False, index=True),
    sql.Column("task", sql.String(200), nullable=False, index=True),
    sql.Column("tier", sql.String(40), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.UniqueConstraint("submission", "task"),
)
_RUNS = sql.Table(
    "runs",
    _METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("entry", sql.ForeignKey("entries.id"), nullable=False, index=True),
    sql.Column("name", sql.String(120), nullable=False),
    sql.Column("info", sql.Text, nullable=False),
    sql.Column("config", sql.Text, nullable=False),
    sql.Column("curve", sql.LargeBinary, nullable=False),
    sql.UniqueConstraint("entry", "name"),
)
_EPISODES = sql.Table(
    "episodes",
    _METADATA,
    sql.Column("run", sql.ForeignKey("runs.id"), primary_key=True),
    sql.Column("lines", sql.LargeBinary, nullable=False),
)


class SubmissionId(NamedTuple):
    """What a board calls a submission: the SHA-256 of its manifest."""

    digest: str
    is_new: bool
    """False where the board had this bundle already."""


class Board:
    """A leaderboard's store. Safe to use from several processes at once."""

    def __init__(self, engine: sql.Engine, where: str) -> None:
        """Use :meth:`open`."""
        self._engine, self._where = engine, where

    @classmethod
    def open(cls, where: str | os.PathLike[str] = ":memory:") -> Board:
        """Open a board, making it where there is none.

        Args:
            where: a SQLite file, ``:memory:``, or any SQLAlchemy URL.

        Raises:
            StorageError: the file cannot be made, is no board, or of a newer release.
        """
        text = os.fspath(where)
        try:
            engine = _engine(text)
        except (sql.exc.ArgumentError, ImportError) as error:
            raise StorageError(f"cannot open the board {text}: {error}") from error
        board = cls(engine, engine.url.render_as_string(hide_password=True))
        with board._transaction() as connection:
            _METADATA.create_all(connection)
            key = _BOARD.c.key == "schema"
            found = connection.scalar(sql.select(_BOARD.c.value).where(key))
            if found is None:
                connection.execute(_BOARD.insert().values(key="schema", value=str(SCHEMA)))
            elif found != str(SCHEMA):
                raise StorageError(
                    f"the board {text} has schema {found}; this release reads {SCHEMA}"
                )
        return board

    def submit(
        self,
        bundle: Bundle,
        verification: Verification | None = None,
        *,
        submitted_at: datetime.datetime | None = None,
    ) -> SubmissionId:
        """Store a bundle, whole or not at all.

        A bundle that is there already is not stored twice; a new verification replaces the old.
        Weights that another submission is ranked with on the same task are flagged.

        Args:
            bundle: what :func:`~pkubench.leaderboard.submissions.bundle.read_bundle` returned.
            verification: what :func:`~pkubench.leaderboard.submissions.verify.verify_bundle`
                found; None stores the entries as self-reported.
            submitted_at: shown on the site; None shows no date.

        Raises:
            BundleError: the agent, run again, produced different episodes.
            StorageError: the board cannot be written. Nothing is left behind.
        """
        if verification is not None and verification.is_contradicted:
            reasons = [v.reason for v in verification.verdicts.values() if v.is_contradicted]
            raise BundleError(f"not submitted: {reasons[0]}")
        data = _read(bundle)
        with self._transaction() as connection:
            if verification is not None:
                verification = _without_copies(connection, bundle, verification)
            known = _find(connection, bundle.digest)
            if known is not None:
                if verification is not None:
                    _judge(connection, known, verification)
                return SubmissionId(bundle.digest, False)
            rows = _rows_of(bundle, verification or Verification({}))
            submission = _insert(
                connection,
                _SUBMISSIONS,
                digest=bundle.digest,
                name=bundle.manifest.name,
                submitted_at=None
                if submitted_at is None
                else submitted_at.isoformat("T", "seconds"),
                manifest=json.dumps(bundle.manifest.to_json()),
                bundle=data,
            )
            for entry_values, runs in rows:
                entry = _insert(connection, _ENTRIES, submission=submission, **entry_values)
                for run_values, lines in runs:
                    run = _insert(connection, _RUNS, entry=entry, **run_values)
                    connection.execute(_EPISODES.insert().values(run=run, lines=lines))
        return SubmissionId(bundle.digest, True)

    def verdicts(self, digest: str) -> dict[str, Verdict]:
        """Return what is known of a submission, task by task; nothing if it is not there."""
        query = (
            sql.select(_ENTRIES.c.task, _ENTRIES.c.tier, _ENTRIES.c.reason)
            .join(_SUBMISSIONS)
            .where(_SUBMISSIONS.c.digest == digest)
        )
        with self._transaction(write=False) as connection:
            return {
                task: Verdict(Tier(tier), reason)
                for task, tier, reason in connection.execute(query)
            }

    def tasks(self) -> tuple[str, ...]:
        """Return the ids of the tasks with an entry, sorted."""
        with self._transaction(write=False) as connection:
            query = sql.select(_ENTRIES.c.task).distinct().order_by(_ENTRIES.c.task)
            return tuple(connection.scalars(query))

    def submissions(self) -> tuple[Submitter, ...]:
        """Return who is on the board, sorted by name, then by hash."""
        with self._transaction(write=False) as connection:
            query = sql.select(
                _SUBMISSIONS.c.digest, _SUBMISSIONS.c.submitted_at, _SUBMISSIONS.c.manifest
            )
            found = [Submitter.read(*row) for row in connection.execute(query)]
        return tuple(sorted(found, key=lambda submitter: (submitter.name, submitter.digest)))

    def entries(self, task: str | None = None) -> tuple[Entry, ...]:
        """Return the entries of a task (None: of all), numbers recomputed from the lines.

        Of all tasks, those that this release does not know are left out.

        They are sorted by task, name and hash, so that no order of submission shows.
        """
        query = (
            sql.select(
                _SUBMISSIONS.c.digest,
                _SUBMISSIONS.c.submitted_at,
                _SUBMISSIONS.c.manifest,
                _ENTRIES.c.task,
                _ENTRIES.c.tier,
                _ENTRIES.c.reason,
                _RUNS.c.name,
                _RUNS.c.info,
                _RUNS.c.config,
                _RUNS.c.curve,
                _EPISODES.c.lines,
            )
            .join_from(_ENTRIES, _SUBMISSIONS)
            .join(_RUNS, _RUNS.c.entry == _ENTRIES.c.id)
            .join(_EPISODES, _EPISODES.c.run == _RUNS.c.id)
        )
        if task is not None:
            query = query.where(_ENTRIES.c.task == task)
        known = {known_task.id for known_task in (*known_tasks(), *registered_tasks())}
        runs: dict[tuple[str, str], list[StoredRun]] = {}
        heads: dict[tuple[str, str], tuple[Submitter, Verdict]] = {}
        with self._transaction(write=False) as connection:
            for row in connection.execute(query):
                if task is None and row.task not in known:
                    continue
                key = (row.task, row.digest)
                if key not in heads:
                    submitter = Submitter.read(row.digest, row.submitted_at, row.manifest)
                    heads[key] = (submitter, Verdict(Tier(row.tier), row.reason))
                runs.setdefault(key, []).append(
                    StoredRun(
                        row.name,
                        json.loads(row.info),
                        json.loads(row.config),
                        row.curve,
                        row.lines,
                    )
                )
        found = [
            Entry.of(submitter, key[0], verdict, runs[key])
            for key, (submitter, verdict) in heads.items()
        ]
        return tuple(sorted(found, key=lambda e: (e.task, e.submitter.name, e.submitter.digest)))

    def bundle(self, digest: str) -> bytes:
        """Return a submitted bundle, byte for byte.

        Raises:
            UnknownName: the board has no such submission.
        """
        with self._transaction(write=False) as connection:
            query = sql.select(_SUBMISSIONS.c.bundle).where(_SUBMISSIONS.c.digest == digest)
            data = connection.scalar(query)
            if data is None:
                raise UnknownName(
                    "submission", digest, connection.scalars(sql.select(_SUBMISSIONS.c.digest))
                )
            return bytes(data)

    def export_json(self) -> dict[str, Any]:
        """Return the whole board as one JSON document, without bundles and lines."""
        return {
            "schema": SCHEMA,
            "submissions": [submitter.to_json() for submitter in self.submissions()],
            "entries": [entry.to_json() for entry in self.entries()],
        }

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self, *, write: bool = True) -> Iterator[sql.Connection]:
        try:
            with (
                self._engine.connect().execution_options(pkubench_write=write) as connection,
                connection.begin(),
            ):
                yield connection
        except sql.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StorageError(f"the board {self._where} cannot be used: {cause}") from error


def _engine(where: str) -> sql.Engine:
    if "://" in where:
        url = sql.make_url(where)
    else:
        path = None if where == ":memory:" else Path(where)
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"cannot make {path.parent}: {error.strerror}") from error
        url = sql.URL.create("sqlite", database=None if path is None else str(path))
    if url.get_backend_name() != "sqlite":
        return sql.create_engine(url)
    in_memory = url.database in (None, "", ":memory:")
    # A database in memory lives as long as its one connection.
    engine = (
        sql.create_engine(url, poolclass=StaticPool)
        if in_memory
        else sql.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    )

    @sql.event.listens_for(engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        # Transactions are begun below, by us: the driver would begin them too late to be immediate.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if not in_memory:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: sql.Connection) -> None:
        # A write transaction takes its turn at the start; taking it at the first INSERT could
        # fail after a read of a state that another writer has changed meanwhile.
        write = connection.get_execution_options().get("pkubench_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _read(bundle: Bundle) -> bytes:
    """Return the file of a bundle, if it is still the one that was read."""
    try:
        data = bundle.path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {bundle.path}: {error.strerror or error}") from error
    if read_bundle(bundle.path).digest != bundle.digest:
        raise BundleError(f"{bundle.path} changed since it was read")
    return data


def _insert(connection: sql.Connection, table: sql.Table, **values: Any) -> int:
    key = connection.execute(table.insert().values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _find(connection: sql.Connection, digest: str) -> int | None:
    query = sql.select(_SUBMISSIONS.c.id).where(_SUBMISSIONS.c.digest == digest)
    return connection.scalar(query)


def _judge(connection: sql.Connection, submission: int, verification: Verification) -> None:
    for task, verdict in verification.verdicts.items():
        connection.execute(
            _ENTRIES.update()
            .where(_ENTRIES.c.submission == submission, _ENTRIES.c.task == task)
            .values(tier=verdict.tier.value, reason=verdict.reason)
        )
        entry = sql.select(_ENTRIES.c.id).where(
            _ENTRIES.c.submission == submission, _ENTRIES.c.task == task
        )
        for run, lines in verdict.played.items():
            key = sql.select(_RUNS.c.id).where(
                _RUNS.c.entry == entry.scalar_subquery(), _RUNS.c.name == run
            )
            connection.execute(
                _EPISODES.update()
                .where(_EPISODES.c.run == key.scalar_subquery())
                .values(lines=lines)
            )


def _without_copies(
    connection: sql.Connection, bundle: Bundle, verification: Verification
) -> Verification:
    """Return verdicts in which weights that another submission is ranked with are flagged."""
    verdicts = dict(verification.verdicts)
    for task in bundle.tasks:
        if verification.verdict(task.task.id).tier is not Tier.VERIFIED_WEIGHTS:
            continue  # on a board of one's own results, everything is one's own
        query = (
            sql.select(_SUBMISSIONS.c.name, _SUBMISSIONS.c.bundle)
            .join_from(_ENTRIES, _SUBMISSIONS)
            .where(
                _ENTRIES.c.task == task.task.id,
                _ENTRIES.c.tier == Tier.VERIFIED_WEIGHTS.value,
                _SUBMISSIONS.c.digest != bundle.digest,
            )
        )
        others = [(str(name), bytes(data)) for name, data in connection.execute(query)]
        found = known_weights(bundle, task, others)
        if found:
            verdicts[task.task.id] = Verdict(Tier.FLAGGED, found)
    return Verification(verdicts)


def _rows_of(bundle: Bundle, verification: Verification) -> list[tuple[dict[str, Any], Any]]:
    """Return the values of each entry with those of its runs: all reading before any writing."""
    rows = []
    for task in bundle.tasks:
        verdict = verification.verdict(task.task.id)
        runs = [
            (
                {
                    "name": run.name,
                    "info": json.dumps(run.info),
                    "config": json.dumps(run.config),
                    "curve": run.curve,
                },
                verdict.played.get(run.name, run.lines),
            )
            for run in task.runs
        ]
        values = {"task": task.task.id, "tier": verdict.tier.value, "reason": verdict.reason}
        rows.append((values, runs))
    return rows
