"""The queue of submissions that wait for their verdict, in the board's own database.

A worker leases a job by compare-and-swap on its number of attempts, which is also the lease's proof
later: whoever lost the lease, because its heartbeat stopped, can neither finish the job nor report
on it. A job whose worker was lost is leased again; after ``attempts`` it is dead, with the reason,
until a maintainer retries it. The verdict is written in the transaction that stores the entries.

Tokens take turns: the first unfinished job of each, in the order in which they were sent, then the
second of each. So nobody waits for all that another one has sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sql

from pkubench.errors import PkubenchError, UnknownName
from pkubench.evaluation.run.failures import printable
from pkubench.leaderboard.board.database import Database, insert_if_new, now
from pkubench.leaderboard.board.tables import JOBS, SUBMISSIONS, TOKENS, UPLOADS
from pkubench.leaderboard.board.tiers import Verification

LEASE_S = 60.0
"""How long a lease holds without a heartbeat."""
ATTEMPTS = 3
"""Workers that may fail or be lost before a job is dead."""
RETRY_S = 30.0
"""Wait before the second attempt; doubled before each further one."""

QUEUED, RUNNING, ACCEPTED, REFUSED, DEAD = "queued", "running", "accepted", "refused", "dead"
OVER = (ACCEPTED, REFUSED, DEAD)
"""States in which nothing more happens by itself."""


class LeaseLost(PkubenchError):
    """The job was leased to another worker meanwhile; what this one found does not count."""


class Lease(NamedTuple):
    """A worker's hold on a job."""

    job: int
    digest: str
    attempt: int


class JobStatus(NamedTuple):
    """A job as the queue shows it."""

    digest: str
    name: str
    submitter: str | None
    state: str
    position: int | None
    """1 is leased next; None if it does not wait."""
    attempt: int
    created_at: float
    finished_at: float | None
    progress: str
    reason: str
    """Why it was refused, or is dead or waits for another attempt."""
    verdicts: Mapping[str, Mapping[str, str]]
    """Task -> ``tier`` and ``reason``."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in OVER


class Queue:
    """The jobs of a board."""

    def __init__(self, database: Database, *, lease_s: float = LEASE_S) -> None:
        """Keep the jobs in a board's database."""
        self._database, self.lease_s = database, lease_s

    def add(self, digest: str, name: str, bundle: bytes, token: int | None = None) -> bool:
        """Queue a bundle for its verdict; False if the same content is or was in the queue.

        One that was refused may come again, since another release may find otherwise.
        """
        with self._database.transaction() as connection:
            time = now(connection)
            is_new = insert_if_new(
                connection,
                JOBS,
                digest=digest,
                name=name,
                token=token,
                state=QUEUED,
                created_at=time,
                not_before=time,
                attempt=0,
                progress="",
                reason="",
                verdicts="{}",
            )
            if not is_new:
                was_refused = sql.and_(JOBS.c.digest == digest, JOBS.c.state == REFUSED)
                is_new = _queue_again(connection, was_refused, time)
            if is_new:
                job = sql.select(JOBS.c.id).where(JOBS.c.digest == digest).scalar_subquery()
                connection.execute(UPLOADS.insert().values(job=job, bundle=bundle))
        return is_new

    def lease(self, worker: str) -> Lease | None:
        """Lease the job whose turn it is; None if there is nothing to do now.

        Args:
            worker: names the worker in the queue.
        """
        with self._database.transaction() as connection:
            time = now(connection)
            waits = sql.and_(JOBS.c.state == QUEUED, JOBS.c.not_before <= time)
            is_lost = sql.and_(JOBS.c.state == RUNNING, JOBS.c.lease_until < time)
            free = sql.or_(waits, is_lost)
            query = sql.select(JOBS.c.id, JOBS.c.digest, JOBS.c.attempt, JOBS.c.state)
            turns = _turns()
            query = query.join_from(JOBS, turns, JOBS.c.id == turns.c.id).where(free)
            query = query.order_by(turns.c.turn, JOBS.c.id).limit(16)
            found = connection.execute(query).all()
            for row in found:
                # Another worker may have taken it since: then the attempt is another.
                own = JOBS.update().where(JOBS.c.id == row.id, JOBS.c.attempt == row.attempt, free)
                if row.state == RUNNING and _was_last(row.attempt):
                    reason = f"{row.attempt} attempts ended without a verdict, the last one lost"
                    connection.execute(own.values(state=DEAD, reason=reason, finished_at=time))
                    continue
                taken = own.values(
                    state=RUNNING,
                    attempt=row.attempt + 1,
                    worker=worker[:120],
                    lease_until=time + self.lease_s,
                    progress="",
                )
                if connection.execute(taken).rowcount == 1:
                    return Lease(row.id, row.digest, row.attempt + 1)
        return None

    def heartbeat(self, lease: Lease, progress: str | None = None) -> None:
        """Hold a lease for longer, and say what is being done.

        Raises:
            LeaseLost: another worker has the job.
        """
        with self._database.transaction() as connection:
            values: dict[str, Any] = {"lease_until": now(connection) + self.lease_s}
            if progress is not None:
                values["progress"] = progress[:500]
            _change(connection, lease, **values)

    def bundle(self, lease: Lease) -> bytes:
        """Return the bundle of a leased job, byte for byte.

        Raises:
            LeaseLost: the job has its verdict already.
        """
        with self._database.transaction("read") as connection:
            query = sql.select(UPLOADS.c.bundle).where(UPLOADS.c.job == lease.job)
            data = connection.scalar(query)
        if data is None:
            raise LeaseLost(f"submission {lease.digest[:12]} has its verdict already")
        return bytes(data)

    def accept(self, connection: sql.Connection, lease: Lease, verification: Verification) -> None:
        """Write the verdict of an accepted bundle, in the transaction that stores its entries.

        Raises:
            LeaseLost: another worker has the job.
        """
        verdicts = {
            task: {"tier": verdict.tier.value, "reason": verdict.reason}
            for task, verdict in verification.verdicts.items()
        }
        _finish(connection, lease, state=ACCEPTED, reason="", verdicts=json.dumps(verdicts))

    def refuse(self, lease: Lease, reason: str) -> None:
        """Write the verdict of a bundle that the board does not take.

        Raises:
            LeaseLost: another worker has the job.
        """
        with self._database.transaction() as connection:
            _finish(connection, lease, state=REFUSED, reason=printable(reason))

    def fail(self, lease: Lease, reason: str) -> None:
        """Report that an attempt ended without a verdict, by no fault of the bundle's.

        Raises:
            LeaseLost: another worker has the job.
        """
        with self._database.transaction() as connection:
            time, reason = now(connection), printable(reason)
            if _was_last(lease.attempt):
                _change(connection, lease, state=DEAD, reason=reason, finished_at=time)
                return
            wait = RETRY_S * 2 ** (lease.attempt % ATTEMPTS - 1)
            _change(connection, lease, state=QUEUED, reason=reason, not_before=time + wait)

    def retry(self, digest: str) -> None:
        """Queue a dead or an accepted job again, with as many further attempts.

        The entries of an accepted one stay as they are until its new verdict.

        Raises:
            UnknownName: there is no such job of this digest.
        """
        with self._database.transaction() as connection:
            time, own = now(connection), JOBS.c.digest == digest
            if _queue_again(connection, sql.and_(own, JOBS.c.state == DEAD), time):
                return
            if _queue_again(connection, sql.and_(own, JOBS.c.state == ACCEPTED), time):
                kept = sql.select(JOBS.c.id, SUBMISSIONS.c.bundle).join_from(
                    JOBS, SUBMISSIONS, JOBS.c.digest == SUBMISSIONS.c.digest
                )
                connection.execute(UPLOADS.insert().from_select(["job", "bundle"], kept.where(own)))
                return
            known = connection.scalars(
                sql.select(JOBS.c.digest).where(JOBS.c.state.in_((DEAD, ACCEPTED)))
            )
            raise UnknownName("dead or accepted job", digest, known)

    def status(self, digest: str) -> JobStatus:
        """Return the state of a submission.

        Raises:
            UnknownName: it was never in the queue.
        """
        found = self._select(JOBS.c.digest == digest, 1)
        if not found:
            raise UnknownName("submission", digest[:64], ())
        return found[0]

    def unfinished(self, limit: int = 200) -> tuple[JobStatus, ...]:
        """Return the jobs without a verdict: those that run, then by their position."""
        return self._select(JOBS.c.state.in_((QUEUED, RUNNING)), limit)

    def recent(self, limit: int = 50) -> tuple[JobStatus, ...]:
        """Return the jobs that are over, the latest first."""
        return self._select(JOBS.c.state.in_(OVER), limit, JOBS.c.finished_at.desc())

    def counts(self) -> dict[str, int]:
        """Return the number of jobs in each state."""
        query = sql.select(JOBS.c.state, sql.func.count()).group_by(JOBS.c.state)
        with self._database.transaction("read") as connection:
            found = {state: count for state, count in connection.execute(query)}
        return {state: found.get(state, 0) for state in (QUEUED, RUNNING, *OVER)}

    def oldest_s(self) -> float:
        """Return the seconds since the oldest job without a verdict was sent; 0 if none is."""
        query = sql.select(sql.func.min(JOBS.c.created_at)).where(
            JOBS.c.state.in_((QUEUED, RUNNING))
        )
        with self._database.transaction("read") as connection:
            first, time = connection.scalar(query), now(connection)
        return 0.0 if first is None else max(0.0, time - float(first))

    def _select(self, which: Any, limit: int, *order: Any) -> tuple[JobStatus, ...]:
        turns = _turns()
        waiting = (
            sql.select(
                turns.c.id,
                sql.func.row_number().over(order_by=(turns.c.turn, turns.c.id)).label("position"),
            )
            .where(turns.c.state == QUEUED)
            .subquery()
        )
        query = (
            sql.select(JOBS, TOKENS.c.name.label("submitter"), waiting.c.position)
            .join_from(JOBS, TOKENS, isouter=True)
            .join(waiting, waiting.c.id == JOBS.c.id, isouter=True)
            .where(which)
            .order_by(*order, sql.func.coalesce(waiting.c.position, 0), JOBS.c.id)
            .limit(limit)
        )
        with self._database.transaction("read") as connection:
            rows = connection.execute(query).all()
        return tuple(
            JobStatus(
                digest=row.digest,
                name=row.name,
                submitter=row.submitter,
                state=row.state,
                position=row.position,
                attempt=row.attempt,
                created_at=row.created_at,
                finished_at=row.finished_at,
                progress=row.progress,
                reason=row.reason,
                verdicts=json.loads(row.verdicts),
            )
            for row in rows
        )


def _turns() -> sql.Subquery:
    """Return the jobs without a verdict, each with its number among those of its token."""
    turn = sql.func.row_number().over(partition_by=JOBS.c.token, order_by=JOBS.c.id)
    query = sql.select(JOBS.c.id, JOBS.c.state, turn.label("turn"))
    return query.where(JOBS.c.state.in_((QUEUED, RUNNING))).subquery()


def _was_last(attempt: int) -> bool:
    # The number never starts again, so that a lease of long ago proves nothing after a retry.
    return attempt % ATTEMPTS == 0


def _queue_again(connection: sql.Connection, which: Any, time: float) -> bool:
    """Queue a job that is over again, with all attempts; return whether there was one."""
    rest = (ATTEMPTS - JOBS.c.attempt % ATTEMPTS) % ATTEMPTS
    again = JOBS.update().where(which)
    values = {
        "state": QUEUED,
        "not_before": time,
        "finished_at": None,
        # The number never starts again, so that an old lease stays worthless.
        "attempt": JOBS.c.attempt + rest,
        "progress": "",
        "reason": "",
        "verdicts": "{}",
    }
    return connection.execute(again.values(**values)).rowcount == 1


def _finish(connection: sql.Connection, lease: Lease, **values: Any) -> None:
    _change(connection, lease, **values, finished_at=now(connection))
    connection.execute(UPLOADS.delete().where(UPLOADS.c.job == lease.job))


def _change(connection: sql.Connection, lease: Lease, **values: Any) -> None:
    """Change a job if the lease still holds it.

    Raises:
        LeaseLost: it does not.
    """
    own = JOBS.update().where(
        JOBS.c.id == lease.job, JOBS.c.attempt == lease.attempt, JOBS.c.state == RUNNING
    )
    if connection.execute(own.values(**values)).rowcount != 1:
        raise LeaseLost(f"submission {lease.digest[:12]} was leased to another worker")
