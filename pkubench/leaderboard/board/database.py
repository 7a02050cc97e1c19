"""A board's database: connecting, transactions, and bringing its tables up to date.

SQLite files run in write-ahead mode with immediate write transactions, so that readers never wait
and writers take turns. On PostgreSQL only ``exclusive`` transactions take turns.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy.pool import StaticPool

from pkubench.errors import StorageError
from pkubench.leaderboard.board.migrations import HEAD, migrate, revision_of

BUSY_TIMEOUT_S = 15
"""How long one writer waits for another: well below a worker's lease."""

Mode = Literal["read", "write", "exclusive"]
"""``exclusive`` transactions of one database run one after another, on any engine."""

_MODE = "pkubench_mode"
_LOCK = 0x706B75626F617264
"""Key of PostgreSQL's advisory lock: the letters ``pkuboard``."""


class Database:
    """An engine with transactions. Safe to use from several threads and processes."""

    def __init__(self, engine: sql.Engine) -> None:
        """Use :meth:`open`."""
        self._engine = engine
        self.where = engine.url.render_as_string(hide_password=True)

    @classmethod
    def open(cls, where: str | os.PathLike[str] = ":memory:") -> Database:
        """Connect to a database, and make or migrate its tables.

        Args:
            where: a SQLite file, ``:memory:``, or a URL such as ``postgresql://user@host/board``.

        Raises:
            StorageError: it cannot be made or reached, is not a board's, or is of a newer release.
        """
        text = os.fspath(where)
        try:
            engine = _connect(text)
        except (sql.exc.ArgumentError, ImportError) as error:
            raise StorageError(
                f"cannot open the board {without_password(text)}: {error}"
            ) from error
        database = cls(engine)
        try:
            with database.transaction("read") as connection:
                is_current = revision_of(connection) == HEAD
            if not is_current:
                with database.transaction("exclusive") as connection:
                    migrate(connection, HEAD)
        except StorageError:
            database.close()
            raise
        return database

    @contextmanager
    def transaction(self, mode: Mode = "write") -> Iterator[sql.Connection]:
        """Yield a connection in a transaction, which is rolled back if the block raises.

        Raises:
            StorageError: the database cannot be used.
        """
        try:
            with (
                self._engine.connect().execution_options(**{_MODE: mode}) as connection,
                connection.begin(),
            ):
                yield connection
        except sql.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StorageError(f"the board {self.where} cannot be used: {cause}") from error

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def without_password(where: str) -> str:
    """Return where a board is, as it may be shown: a URL without its password."""
    if "://" not in where:
        return where
    try:
        return sql.make_url(where).render_as_string(hide_password=True)
    except sql.exc.ArgumentError:
        return f"{where.partition('://')[0]}://..."


def now(connection: sql.Connection) -> float:
    """Return the time in seconds since 1970 by the clock that all users of the database share."""
    if connection.dialect.name == "postgresql":
        clock = sql.func.extract("epoch", sql.func.clock_timestamp())
        return float(connection.scalar(sql.select(clock)) or 0.0)
    return time.time()


def insert_if_new(connection: sql.Connection, table: sql.Table, **values: Any) -> bool:
    """Insert a row unless its key is there already; return whether it was inserted."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(table).values(**values).on_conflict_do_nothing()
    # psycopg reports no number of rows for such a statement.
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def _connect(where: str) -> sql.Engine:
    """Return the engine of a file of SQLite, ``:memory:``, or a database by its URL.

    Raises:
        StorageError: the file or its folder cannot be made.
    """
    if "://" in where:
        url = sql.make_url(where)
    else:
        path = None if where == ":memory:" else Path(where)
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                # It holds the key of the secret episodes; SQLite's other files get the same mode.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            except OSError as error:
                raise StorageError(f"cannot make {path}: {error.strerror}") from error
        url = sql.URL.create("sqlite", database=None if path is None else str(path))
    if url.get_backend_name() == "postgresql":
        return _postgresql(url)
    if url.get_backend_name() != "sqlite":
        raise sql.exc.ArgumentError(f"{url.get_backend_name()} is not SQLite or PostgreSQL")
    in_memory = url.database in (None, "", ":memory:")
    # A database in memory lives as long as its one connection.
    engine = (
        sql.create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
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
            _write_ahead(cursor)
            cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: sql.Connection) -> None:
        # A write transaction takes the lock at the start; taking it at the first INSERT could fail
        # after a read of a state that another writer has changed meanwhile.
        mode = connection.get_execution_options().get(_MODE, "read")
        connection.exec_driver_sql("BEGIN" if mode == "read" else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(cursor: Any) -> None:
    """Set write-ahead mode; SQLite does not wait for other connections there, so this does."""
    end = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _postgresql(url: sql.URL) -> sql.Engine:
    engine = sql.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: sql.Connection) -> None:
        if connection.get_execution_options().get(_MODE) == "exclusive":
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_LOCK)))

    return engine
