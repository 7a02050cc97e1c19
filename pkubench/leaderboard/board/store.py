"""The board: submissions in a SQL database, from which every number is recomputed.

What is stored is what was submitted: the bundle, and for each run its episode lines. Means,
intervals and ranks are never stored; :meth:`Board.entries` computes them from the lines.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sql

from pkubench.errors import BundleError, StorageError, UnknownName
from pkubench.leaderboard.board.database import Database
from pkubench.leaderboard.board.entries import Entry, StoredRun, Submitter
from pkubench.leaderboard.board.known import without_copies
from pkubench.leaderboard.board.reading import Bundle, read_bundle
from pkubench.leaderboard.board.tables import (
    ENTRIES,
    EPISODES,
    FILMS,
    RUNS,
    SECRET_EPISODES,
    SETTINGS,
    SUBMISSIONS,
)
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.tasks.outside import registered_tasks
from pkubench.tasks.registry import tasks as known_tasks

SCHEMA = 1
"""Version of the exported document."""


class SubmissionId(NamedTuple):
    """The id of a submission: the SHA-256 of its manifest."""

    digest: str
    is_new: bool
    """False where the board had this bundle already."""


class Board:
    """A leaderboard's store. Safe to use from several processes simultaneously."""

    def __init__(self, database: Database) -> None:
        """Keep the board in a database; see also :meth:`open`."""
        self.database = database

    @classmethod
    def open(cls, where: str | os.PathLike[str] = ":memory:") -> Board:
        """Open a board, making it where there is none.

        Args:
            where: a SQLite file, ``:memory:``, or a URL such as ``postgresql://user@host/board``.

        Raises:
            StorageError: it cannot be made or reached, is not a board, or is of a newer release.
        """
        return cls(Database.open(where))

    def submit(
        self,
        bundle: Bundle,
        verification: Verification | None = None,
        *,
        submitted_at: datetime.datetime | None = None,
        also: Callable[[sql.Connection, Verification], None] | None = None,
    ) -> SubmissionId:
        """Store a bundle, whole or not at all.

        A bundle that is there already is not stored twice; a new verification replaces the old.
        Weights that another submission is ranked with on the same task are flagged.

        Args:
            bundle: what :func:`~pkubench.leaderboard.submissions.bundle.read_bundle` returned.
            verification: what :func:`~pkubench.leaderboard.submissions.verify.verify_bundle`
                found; None stores the entries as self-reported.
            submitted_at: shown on the site; None shows no date.
            also: called with the verdicts that are stored, in the same transaction; if it raises,
                nothing is stored.

        Raises:
            BundleError: the agent, run again, produced different episodes.
            StorageError: the board cannot be written. Nothing is left behind.
        """
        if verification is not None and verification.is_contradicted:
            reasons = [v.reason for v in verification.verdicts.values() if v.is_contradicted]
            raise BundleError(f"not submitted: {reasons[0]}")
        data = _read(bundle)
        compared: set[tuple[str, str]] = set()
        if verification is not None:  # takes long on a large board, so while others may write
            with self.database.transaction("read") as connection:
                verification = without_copies(connection, bundle, verification, compared)
        with self.database.transaction("exclusive") as connection:
            if verification is not None:
                verification = without_copies(connection, bundle, verification, compared)
            if also is not None:
                also(connection, verification or Verification({}))
            count_change(connection)
            known = _find(connection, bundle.digest)
            if known is not None:
                if verification is not None:
                    _judge(connection, known, _with_lines(bundle, verification))
                return SubmissionId(bundle.digest, False)
            rows = _rows_of(bundle, verification or Verification({}))
            submission = _insert(
                connection,
                SUBMISSIONS,
                digest=bundle.digest,
                name=bundle.manifest.name,
                submitted_at=None
                if submitted_at is None
                else submitted_at.isoformat("T", "seconds"),
                manifest=json.dumps(bundle.manifest.to_json()),
                bundle=data,
            )
            for entry_values, runs in rows:
                entry = _insert(connection, ENTRIES, submission=submission, **entry_values)
                for run_values, lines, secret in runs:
                    run = _insert(connection, RUNS, entry=entry, **run_values)
                    connection.execute(EPISODES.insert().values(run=run, lines=lines))
                    if secret is not None:
                        connection.execute(SECRET_EPISODES.insert().values(run=run, lines=secret))
        return SubmissionId(bundle.digest, True)

    def verdicts(self, digest: str) -> dict[str, Verdict]:
        """Return the verdicts on a submission by task; empty if the board does not have it."""
        query = (
            sql.select(ENTRIES.c.task, ENTRIES.c.tier, ENTRIES.c.reason)
            .join(SUBMISSIONS)
            .where(SUBMISSIONS.c.digest == digest)
        )
        with self.database.transaction("read") as connection:
            return {
                task: Verdict(Tier(tier), reason)
                for task, tier, reason in connection.execute(query)
            }

    def version(self) -> int:
        """Return a number that grows with each change of the board."""
        with self.database.transaction("read") as connection:
            return _version(connection)

    def tasks(self) -> tuple[str, ...]:
        """Return the ids of the tasks with an entry, sorted."""
        with self.database.transaction("read") as connection:
            query = sql.select(ENTRIES.c.task).distinct().order_by(ENTRIES.c.task)
            return tuple(connection.scalars(query))

    def submissions(self) -> tuple[Submitter, ...]:
        """Return the submissions on the board, sorted by name, then by hash."""
        with self.database.transaction("read") as connection:
            query = sql.select(
                SUBMISSIONS.c.digest, SUBMISSIONS.c.submitted_at, SUBMISSIONS.c.manifest
            )
            found = [Submitter.read(*row) for row in connection.execute(query)]
        return tuple(sorted(found, key=lambda submitter: (submitter.name, submitter.digest)))

    def entries(self, task: str | None = None) -> tuple[Entry, ...]:
        """Return the entries of a task (None: of all), numbers recomputed from the lines.

        Of all tasks, those that this release does not know are left out.

        They are sorted by task, name and hash, independently of the order of submission.
        """
        query = (
            sql.select(
                SUBMISSIONS.c.digest,
                SUBMISSIONS.c.submitted_at,
                SUBMISSIONS.c.manifest,
                ENTRIES.c.task,
                ENTRIES.c.tier,
                ENTRIES.c.reason,
                RUNS.c.name,
                RUNS.c.info,
                RUNS.c.config,
                RUNS.c.curve,
                EPISODES.c.lines,
                SECRET_EPISODES.c.lines.label("secret"),
            )
            .join_from(ENTRIES, SUBMISSIONS)
            .join(RUNS, RUNS.c.entry == ENTRIES.c.id)
            .join(EPISODES, EPISODES.c.run == RUNS.c.id)
            .join(SECRET_EPISODES, SECRET_EPISODES.c.run == RUNS.c.id, isouter=True)
        )
        if task is not None:
            query = query.where(ENTRIES.c.task == task)
        known = {known_task.id for known_task in (*known_tasks(), *registered_tasks())}
        runs: dict[tuple[str, str], list[StoredRun]] = {}
        heads: dict[tuple[str, str], tuple[Submitter, Verdict]] = {}
        with self.database.transaction("read") as connection:
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
                        row.secret,
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
        with self.database.transaction("read") as connection:
            query = sql.select(SUBMISSIONS.c.bundle).where(SUBMISSIONS.c.digest == digest)
            data = connection.scalar(query)
            if data is None:
                raise UnknownName(
                    "submission", digest, connection.scalars(sql.select(SUBMISSIONS.c.digest))
                )
            return bytes(data)

    def bundle_size(self, digest: str) -> int:
        """Return the bytes of a submitted bundle without reading it; 0 if there is none."""
        query = sql.select(sql.func.length(SUBMISSIONS.c.bundle))
        with self.database.transaction("read") as connection:
            return int(connection.scalar(query.where(SUBMISSIONS.c.digest == digest)) or 0)

    def export_json(self) -> dict[str, Any]:
        """Return the whole board as one JSON document, without bundles and lines."""
        return {
            "schema": SCHEMA,
            "submissions": [submitter.to_json() for submitter in self.submissions()],
            "entries": [entry.to_json() for entry in self.entries()],
        }

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


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


def _version(connection: sql.Connection) -> int:
    query = sql.select(SETTINGS.c.value).where(SETTINGS.c.key == "version")
    return int(connection.scalar(query) or 0)


def count_change(connection: sql.Connection) -> None:
    """Raise the board's version; the transaction is exclusive."""
    version = _version(connection)
    if version == 0:
        connection.execute(SETTINGS.insert().values(key="version", value="1"))
    else:
        change = SETTINGS.update().where(SETTINGS.c.key == "version")
        connection.execute(change.values(value=str(version + 1)))


def _find(connection: sql.Connection, digest: str) -> int | None:
    query = sql.select(SUBMISSIONS.c.id).where(SUBMISSIONS.c.digest == digest)
    return connection.scalar(query)


def _with_lines(bundle: Bundle, verification: Verification) -> Verification:
    """Return verdicts with the lines to show of each run: those played here, or the bundle's."""
    return Verification(
        {
            task.task.id: replace(
                verdict, played={run.name: run.lines for run in task.runs} | {**verdict.played}
            )
            for task in bundle.tasks
            for verdict in [verification.verdict(task.task.id)]
        }
    )


def _judge(connection: sql.Connection, submission: int, verification: Verification) -> None:
    for task, verdict in verification.verdicts.items():
        connection.execute(
            ENTRIES.update()
            .where(ENTRIES.c.submission == submission, ENTRIES.c.task == task)
            .values(tier=verdict.tier.value, reason=verdict.reason)
        )
        entry = sql.select(ENTRIES.c.id).where(
            ENTRIES.c.submission == submission, ENTRIES.c.task == task
        )
        # What an earlier verdict rested on must not outlive it.
        own_runs = sql.select(RUNS.c.id).where(RUNS.c.entry == entry.scalar_subquery())
        connection.execute(SECRET_EPISODES.delete().where(SECRET_EPISODES.c.run.in_(own_runs)))
        connection.execute(FILMS.delete().where(FILMS.c.entry == entry.scalar_subquery()))
        for run, lines in verdict.played.items():
            key = sql.select(RUNS.c.id).where(
                RUNS.c.entry == entry.scalar_subquery(), RUNS.c.name == run
            )
            connection.execute(
                EPISODES.update().where(EPISODES.c.run == key.scalar_subquery()).values(lines=lines)
            )
        for run, lines in verdict.secret.items():
            own = sql.select(RUNS.c.id).where(
                RUNS.c.entry == entry.scalar_subquery(), RUNS.c.name == run
            )
            number = connection.scalar(own)
            connection.execute(SECRET_EPISODES.insert().values(run=number, lines=lines))


def _rows_of(bundle: Bundle, verification: Verification) -> list[tuple[dict[str, Any], Any]]:
    """Return the values of each entry and of its runs, so that all reading precedes any writing."""
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
                verdict.secret.get(run.name),
            )
            for run in task.runs
        ]
        values = {"task": task.task.id, "tier": verdict.tier.value, "reason": verdict.reason}
        rows.append((values, runs))
    return rows
