"""Rate limits, kept in the database so that several server processes share them.

The generic cell rate algorithm (ITU-T I.371): a key has one number, the time at which it would be
back at rest, and each request moves it by ``period / requests``. One UPDATE decides and counts, so
requests that race are counted one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sql

from pkubench.leaderboard.board.database import Database, insert_if_new, now
from pkubench.leaderboard.board.tables import RATES

FORGOTTEN_S = 86_400.0
"""Keys that have been at rest for so long are removed: a new one is the same."""


class Rate(NamedTuple):
    """At most ``requests`` at once, and as many in each ``period_s`` seconds after that."""

    requests: int
    period_s: float


class Rates:
    """The rate limits of a board."""

    def __init__(self, database: Database) -> None:
        """Count in a board's database."""
        self._database = database

    def wait(self, key: str, rate: Rate, time: float | None = None) -> float:
        """Count a request; return 0, or the seconds after which it would be let through.

        Args:
            key: who asks, and for what.
            rate: how often that is allowed.
            time: seconds since 1970; None is now.
        """
        interval = rate.period_s / rate.requests
        with self._database.transaction() as connection:
            time = now(connection) if time is None else time
            latest = time + rate.period_s - interval
            if insert_if_new(connection, RATES, key=key, arrival=time):
                old = RATES.c.arrival < time - FORGOTTEN_S
                connection.execute(RATES.delete().where(old))
            own = RATES.c.key == key
            start = sql.case((RATES.c.arrival > time, RATES.c.arrival), else_=time)
            update = RATES.update().where(own, RATES.c.arrival <= latest)
            if connection.execute(update.values(arrival=start + interval)).rowcount == 1:
                return 0.0
            arrival = connection.scalar(sql.select(RATES.c.arrival).where(own)) or latest
            return float(max(arrival - latest, 1e-3))
