"""Films of a board's agents: an episode of each entry that was played again without its code.

They are made after the verdict, by workers that have nothing else to do, so no verdict waits for a
film or fails with it.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sql

from pkubench.leaderboard.board.database import Database
from pkubench.leaderboard.board.store import count_change
from pkubench.leaderboard.board.tables import ENTRIES, FILMS, SUBMISSIONS
from pkubench.leaderboard.board.tiers import Tier

FILMED = (Tier.VERIFIED_WEIGHTS, Tier.EVALUATED_HERE)


class Unfilmed(NamedTuple):
    """An entry without a film."""

    entry: int
    task: str
    digest: str
    """Of its submission."""


class Films:
    """The films of a board."""

    def __init__(self, database: Database) -> None:
        """Keep them in the database of a board."""
        self._database = database

    def missing(self) -> Unfilmed | None:
        """Return the oldest entry that could be filmed and has no film; None if all have."""
        query = (
            sql.select(ENTRIES.c.id, ENTRIES.c.task, SUBMISSIONS.c.digest)
            .join_from(ENTRIES, SUBMISSIONS)
            .join(FILMS, FILMS.c.entry == ENTRIES.c.id, isouter=True)
            .where(ENTRIES.c.tier.in_([tier.value for tier in FILMED]), FILMS.c.entry.is_(None))
            .order_by(ENTRIES.c.id)
            .limit(1)
        )
        with self._database.transaction("read") as connection:
            row = connection.execute(query).first()
        return None if row is None else Unfilmed(*row)

    def add(self, entry: int, mp4: bytes) -> None:
        """Store the film of an entry; empty says that it cannot be filmed.

        The first one stays, if two workers filmed the same.

        Raises:
            StorageError: the board cannot be written.
        """
        with self._database.transaction("exclusive") as connection:
            if connection.scalar(sql.select(FILMS.c.entry).where(FILMS.c.entry == entry)) is None:
                connection.execute(FILMS.insert().values(entry=entry, mp4=mp4))
                count_change(connection)

    def known(self) -> frozenset[tuple[str, str]]:
        """Return the digests and tasks of the entries that have a film."""
        query = (
            sql.select(SUBMISSIONS.c.digest, ENTRIES.c.task)
            .join_from(FILMS, ENTRIES)
            .join(SUBMISSIONS)
            .where(sql.func.length(FILMS.c.mp4) > 0)
        )
        with self._database.transaction("read") as connection:
            return frozenset((digest, task) for digest, task in connection.execute(query))

    def film(self, digest: str, task: str) -> bytes:
        """Return the film of an entry, an MP4; empty if it has none."""
        query = (
            sql.select(FILMS.c.mp4)
            .join_from(FILMS, ENTRIES)
            .join(SUBMISSIONS)
            .where(SUBMISSIONS.c.digest == digest, ENTRIES.c.task == task)
        )
        with self._database.transaction("read") as connection:
            return bytes(connection.scalar(query) or b"")
