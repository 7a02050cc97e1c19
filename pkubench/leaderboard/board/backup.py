"""Backup and restore: a whole board as one file, whatever engine keeps it.

The file is a zip: ``backup.json`` says what it is, ``tables/NAME.jsonl`` has a table's rows, and
what is binary lies in ``data/NAME/ROW/COLUMN``. It holds everything, the key of the secret episodes
and the hashes of tokens included, so only its owner may read it. A backup of SQLite can be restored
to PostgreSQL and the other way round.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from pkubench.errors import StorageError
from pkubench.leaderboard.board.database import Database
from pkubench.leaderboard.board.migrations import HEAD
from pkubench.leaderboard.board.tables import METADATA, SETTINGS

SCHEMA = 1
"""Version of the file's format."""
_ABOUT = "backup.json"
_CHUNK = 500
"""Rows that are inserted together."""


def back_up(database: Database, path: Path) -> int:
    """Write a board to a new file, as it is at one moment, while others use it.

    Returns:
        The number of rows.

    Raises:
        StorageError: the file is there already or cannot be written, or the board cannot be read.
    """
    try:
        # Of nobody else: it holds the key of the secret episodes.
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise StorageError(f"{path} is there already; name another file") from None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    rows: dict[str, int] = {}
    try:
        with file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            with database.transaction("read") as connection:
                if connection.dialect.name == "postgresql":  # one snapshot for all tables
                    connection.execute(sql.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                for table in METADATA.sorted_tables:
                    rows[table.name] = _write_table(archive, connection, table)
            about = {"schema": SCHEMA, "revision": HEAD, "rows": rows}
            archive.writestr(_ABOUT, json.dumps(about, indent=1))
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
        raise
    return sum(rows.values())


def restore(database: Database, path: Path) -> int:
    """Fill an empty board from a backup, whole or not at all.

    Returns:
        The number of rows.

    Raises:
        StorageError: the file cannot be read, is not a backup or is of another release, or the
            board is not empty.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read(_ABOUT))
            if (about["schema"], about["revision"]) != (SCHEMA, HEAD):
                raise StorageError(
                    f"{path} is of another release (tables {about['revision']}, here {HEAD}); "
                    "restore it with that release, and open the board with this one"
                )
            with database.transaction("exclusive") as connection:
                _check_empty(connection, database.where)
                connection.execute(SETTINGS.delete())
                rows = sum(_read_table(archive, connection, t) for t in METADATA.sorted_tables)
            if rows != sum(about["rows"].values()):
                raise StorageError(f"{path} has {rows} rows, not those that it says")
            return rows
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path} is not a backup of a board: {error}") from error


def _check_empty(connection: sql.Connection, where: str) -> None:
    for table in METADATA.sorted_tables:
        if table is not SETTINGS and connection.execute(sql.select(table).limit(1)).first():
            raise StorageError(f"{where} is not empty; restore a backup to a new board")


def _binary(table: sql.Table) -> list[str]:
    return [column.name for column in table.columns if isinstance(column.type, sql.LargeBinary)]


def _write_table(archive: zipfile.ZipFile, connection: sql.Connection, table: sql.Table) -> int:
    """Write a table; binary columns row by row, since together they may not fit into memory."""
    binary = _binary(table)
    plain = [column for column in table.columns if column.name not in binary]
    key = list(table.primary_key.columns)
    found = connection.execute(sql.select(*plain).order_by(*key)).mappings().all()
    lines = "".join(json.dumps(dict(row)) + "\n" for row in found)
    archive.writestr(f"tables/{table.name}.jsonl", lines)
    if binary:
        (identity,) = key
        for number, row in enumerate(found):
            query = sql.select(*(table.c[name] for name in binary))
            data = connection.execute(query.where(identity == row[identity.name])).one()
            for name, content in zip(binary, data, strict=True):
                archive.writestr(f"data/{table.name}/{number}/{name}", bytes(content))
    return len(found)


def _read_table(archive: zipfile.ZipFile, connection: sql.Connection, table: sql.Table) -> int:
    count, waiting = 0, []
    for row in _rows(archive, table):
        waiting.append(row)
        count += 1
        if len(waiting) == _CHUNK or any(isinstance(value, bytes) for value in row.values()):
            connection.execute(table.insert(), waiting)
            waiting = []
    if waiting:
        connection.execute(table.insert(), waiting)
    (key, *more) = table.primary_key.columns
    if count and not more and isinstance(key.type, sql.Integer) and not key.foreign_keys:
        _continue_numbers(connection, table, key)
    return count


def _rows(archive: zipfile.ZipFile, table: sql.Table) -> Iterator[dict[str, Any]]:
    lines = archive.read(f"tables/{table.name}.jsonl").splitlines()
    for number, line in enumerate(lines):
        row = json.loads(line)
        for name in _binary(table):
            row[name] = archive.read(f"data/{table.name}/{number}/{name}")
        yield row


def _continue_numbers(connection: sql.Connection, table: sql.Table, key: sql.Column[Any]) -> None:
    """Let PostgreSQL number the next row after the last one; SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        last = connection.scalar(sql.select(sql.func.max(key)))
        place = sql.func.pg_get_serial_sequence(table.name, key.name)
        connection.execute(sql.select(sql.func.setval(place, last)))
