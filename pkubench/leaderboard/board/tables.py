"""The tables of a board, and how a database is connected to.

The types are portable. SQLite files run in write-ahead mode with immediate write transactions, so
that readers never wait and submitters take turns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.pool import StaticPool

from pkubench.errors import StorageError

SCHEMA = 1
"""Version of the tables."""

BUSY_TIMEOUT_S = 60
"""How long one submitter waits for another."""

METADATA = sql.MetaData()
BOARD = sql.Table(
    "board",
    METADATA,
    sql.Column("key", sql.String(40), primary_key=True),
    sql.Column("value", sql.Text, nullable=False),
)
SUBMISSIONS = sql.Table(
    "submissions",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("digest", sql.String(64), nullable=False, unique=True),
    sql.Column("name", sql.String(80), nullable=False),
    sql.Column("submitted_at", sql.String(32)),
    sql.Column("manifest", sql.Text, nullable=False),
    sql.Column("bundle", sql.LargeBinary, nullable=False),
)
ENTRIES = sql.Table(
    "entries",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("submission", sql.ForeignKey("submissions.id"), nullable=False, index=True),
    sql.Column("task", sql.String(200), nullable=False, index=True),
    sql.Column("tier", sql.String(40), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.UniqueConstraint("submission", "task"),
)
RUNS = sql.Table(
    "runs",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("entry", sql.ForeignKey("entries.id"), nullable=False, index=True),
    sql.Column("name", sql.String(120), nullable=False),
    sql.Column("info", sql.Text, nullable=False),
    sql.Column("config", sql.Text, nullable=False),
    sql.Column("curve", sql.LargeBinary, nullable=False),
    sql.UniqueConstraint("entry", "name"),
)
EPISODES = sql.Table(
    "episodes",
    METADATA,
    sql.Column("run", sql.ForeignKey("runs.id"), primary_key=True),
    sql.Column("lines", sql.LargeBinary, nullable=False),
)


def connect(where: str) -> sql.Engine:
    """Return the engine of a board: a file of SQLite, ``:memory:``, or a database by its URL.

    Raises:
        StorageError: the file's folder cannot be made.
    """
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
        # Transactions are begun below: the driver would begin them too late to be immediate.
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
        # A write transaction takes the lock at the start; taking it at the first INSERT could fail
        # after a read of a state that another writer has changed meanwhile.
        write = connection.get_execution_options().get("pkubench_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
