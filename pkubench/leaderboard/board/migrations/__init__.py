"""Migrations of a board's tables: one module of ``versions`` for each step, up and down.

A step is never changed once a release has it; a change of the tables is a new step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sql

from pkubench.errors import StorageError

FIRST = "0001"
"""The tables of boards that were made before there were migrations."""
HEAD = "0003"
"""The revision that this release reads and writes."""
EMPTY = "base"
"""The revision without tables."""
_KNOWN = (EMPTY, FIRST, "0002", HEAD)

_VERSION_TABLE = "alembic_version"


def revision_of(connection: sql.Connection) -> str:
    """Return the revision of a database; ``base`` if it has no tables of a board.

    Raises:
        StorageError: it is of a newer release.
    """
    tables = sql.inspect(connection).get_table_names()
    if _VERSION_TABLE in tables:
        version = sql.table(_VERSION_TABLE, sql.column("version_num"))
        found = connection.scalar(sql.select(version.c.version_num)) or EMPTY
        if found not in _KNOWN:
            raise StorageError(
                f"the board has revision {found} of a newer release; this one reads {HEAD}"
            )
        return str(found)
    if "board" not in tables:
        return EMPTY
    board = sql.table("board", sql.column("key"), sql.column("value"))
    schema = connection.scalar(sql.select(board.c.value).where(board.c.key == "schema"))
    if schema != "1":
        raise StorageError(f"the board has schema {schema}; this release reads 1 and migrations")
    return FIRST


def migrate(connection: sql.Connection, revision: str = HEAD) -> None:
    """Bring the tables to a revision, up or down, in the transaction of ``connection``.

    A downgrade loses what the older tables cannot hold.

    Raises:
        StorageError: the database is of a newer release.
    """
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    now = revision_of(connection)
    if now == revision:  # another process was quicker
        return
    script = ScriptDirectory(str(Path(__file__).parent))
    is_up = revision != EMPTY and (now == EMPTY or now < revision)

    def steps(heads: Any, context: Any) -> Any:
        if now != EMPTY and not heads:  # made before there were migrations
            context.stamp(script, now)
            heads = (now,)
        if is_up:
            return script._upgrade_revs(revision, heads)
        return script._downgrade_revs(revision, heads)

    with EnvironmentContext(Config(), script, fn=steps, destination_rev=revision) as environment:
        environment.configure(connection=connection, version_table=_VERSION_TABLE)
        environment.run_migrations()
