"""Jobs, tokens and rate limits, on both engines: nothing lost, nothing twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sql

from pkubench.errors import ConfigError, UnknownName
from pkubench.leaderboard.board.database import Database
from pkubench.leaderboard.board.tables import JOBS, RATES, TOKENS, UPLOADS
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.service import jobs
from pkubench.leaderboard.service.jobs import Lease, LeaseLost, Queue
from pkubench.leaderboard.service.rates import Rate, Rates
from pkubench.leaderboard.service.tokens import TokenError, Tokens

VERIFIED = Verification({"a/b": Verdict(Tier.VERIFIED_WEIGHTS, "same bytes")})


@pytest.fixture
def database(where: str) -> Iterator[Database]:
    opened = Database.open(where)
    yield opened
    opened.close()


def accept(queue: Queue, database: Database, lease: Lease) -> None:
    with database.transaction("exclusive") as connection:
        queue.accept(connection, lease, VERIFIED)


def leased(queue: Queue, worker: str = "w") -> Lease:
    lease = queue.lease(worker)
    assert lease is not None
    return lease


def make_due(database: Database) -> None:
    """Let the waits of all jobs and leases be over."""
    with database.transaction() as connection:
        connection.execute(JOBS.update().values(not_before=0.0, lease_until=0.0))


def test_tokens_take_turns_so_that_nobody_waits_for_all_of_another(database: Database) -> None:
    queue, tokens = Queue(database), Tokens(database)
    one, two, three = (tokens.holder(tokens.add(name)).id for name in ("one", "two", "three"))
    for name, token in (("a1", one), ("a2", one), ("a3", one), ("b1", two), ("b2", two)):
        queue.add(name, name, b"", token)
    expected = ["a1", "b1", "a2", "b2", "a3"]
    assert [job.digest for job in queue.unfinished()] == expected
    assert [queue.status(name).position for name in expected] == [1, 2, 3, 4, 5]
    assert leased(queue).digest == "a1"  # it runs, and is the first of its token
    queue.add("c1", "c1", b"", three)
    assert [job.digest for job in queue.unfinished()] == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert [leased(queue).digest for _ in range(5)] == ["b1", "c1", "a2", "b2", "a3"]
    assert queue.lease("w") is None


def test_a_job_goes_from_the_queue_to_its_verdict(database: Database) -> None:
    queue = Queue(database)
    token = Tokens(database).holder(Tokens(database).add("alice")).id
    assert queue.add("d1", "first", b"one", token)
    assert queue.add("d2", "second", b"two", token)
    assert not queue.add("d1", "again", b"one", token)  # the same content is one submission
    assert [(j.name, j.position, j.submitter) for j in queue.unfinished()] == [
        ("first", 1, "alice"),
        ("second", 2, "alice"),
    ]
    lease = leased(queue)
    assert (lease.digest, queue.bundle(lease)) == ("d1", b"one")
    queue.heartbeat(lease, "16 episodes")
    status = queue.status("d1")
    assert (status.state, status.position, status.progress) == ("running", None, "16 episodes")
    assert queue.status("d2").position == 1
    accept(queue, database, lease)
    done = queue.status("d1")
    assert done.is_over and done.verdicts == {
        "a/b": {"tier": "verified-weights", "reason": "same bytes"}
    }
    second = leased(queue)
    queue.refuse(second, "played again, it differs")
    assert queue.status("d2").reason == "played again, it differs"
    assert queue.lease("w") is None
    assert queue.counts() == {"queued": 0, "running": 0, "accepted": 1, "refused": 1, "dead": 0}
    with database.transaction("read") as connection:  # bundles are kept no longer than needed
        assert connection.scalar(sql.select(sql.func.count()).select_from(UPLOADS)) == 0


def test_a_lost_lease_proves_nothing(database: Database) -> None:
    queue = Queue(database)
    queue.add("d", "agent", b"x")
    first = leased(queue)
    assert queue.lease("other") is None  # while it holds
    make_due(database)
    second = leased(queue, "other")
    assert (first.attempt, second.attempt) == (1, 2)
    for act in (
        lambda: queue.heartbeat(first),
        lambda: queue.refuse(first, "no"),
        lambda: queue.fail(first, "no"),
        lambda: accept(queue, database, first),
    ):
        with pytest.raises(LeaseLost, match="another worker"):
            act()
    accept(queue, database, second)
    assert queue.status("d").state == "accepted"
    with pytest.raises(LeaseLost):
        accept(queue, database, second)  # one verdict each
    with pytest.raises(LeaseLost, match="verdict already"):
        queue.bundle(first)


def test_failures_are_retried_later_and_then_dead_with_the_reason(database: Database) -> None:
    queue = Queue(database)
    queue.add("d", "agent", b"x")
    for attempt in range(1, jobs.ATTEMPTS):
        queue.fail(leased(queue), f"out of memory {attempt}")
        assert queue.status("d").state == "queued"
        assert queue.lease("w") is None  # it waits before the next attempt
        make_due(database)
    queue.fail(leased(queue), "out of memory, the last time")
    dead = queue.status("d")
    assert (dead.state, dead.reason) == ("dead", "out of memory, the last time")
    make_due(database)
    assert queue.lease("w") is None
    queue.retry("d")
    lease = leased(queue)
    assert lease.attempt == jobs.ATTEMPTS + 1  # an old lease stays worthless
    assert queue.bundle(lease) == b"x"
    with pytest.raises(UnknownName, match="dead or accepted job"):
        queue.retry("d")


def test_what_was_refused_may_come_again_with_all_attempts(database: Database) -> None:
    queue = Queue(database)
    assert queue.add("d", "agent", b"x")
    old = leased(queue)
    queue.refuse(old, "it differs")
    assert queue.add("d", "agent", b"x") and not queue.add("d", "agent", b"x")
    assert queue.status("d").state == "queued" and queue.status("d").reason == ""
    for _ in range(jobs.ATTEMPTS - 1):
        queue.fail(leased(queue), "out of memory")
        make_due(database)
    lease = leased(queue)  # the attempts of before do not count
    assert queue.bundle(lease) == b"x"
    with pytest.raises(LeaseLost):
        queue.heartbeat(old)


def test_a_bundle_that_kills_its_workers_is_dead_after_some(database: Database) -> None:
    queue = Queue(database)
    queue.add("d", "agent", b"x")
    for _ in range(jobs.ATTEMPTS):
        leased(queue)
        make_due(database)
    assert queue.lease("w") is None
    assert queue.status("d").reason == "3 attempts ended without a verdict, the last one lost"


def test_workers_that_race_get_each_job_once(where: str) -> None:
    setup = Database.open(where)
    for number in range(12):
        Queue(setup).add(f"d{number}", "agent", b"x")
    setup.close()
    taken: list[str] = []

    def work() -> None:
        database = Database.open(where)
        while (lease := Queue(database).lease("w")) is not None:
            taken.append(lease.digest)
        database.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"d{number}" for number in range(12))


def test_two_submissions_that_race_are_one(where: str) -> None:
    Database.open(where).close()
    new: list[bool] = []

    def submit() -> None:
        database = Database.open(where)
        new.append(Queue(database).add("same", "agent", b"x"))
        database.close()

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [False, False, False, True]


def test_a_token_is_stored_as_its_hash_only(database: Database) -> None:
    tokens = Tokens(database)
    token = tokens.add("alice")
    assert token.startswith("pku_") and len(token) > 40
    with database.transaction("read") as connection:
        (row,) = connection.execute(sql.select(TOKENS)).all()
    assert token not in map(str, row) and token[4:] not in str(row)
    assert tokens.holder(token).name == "alice"


def test_tokens_that_give_no_access_say_why(database: Database) -> None:
    tokens = Tokens(database)
    alice, maintainer = tokens.add("alice", days=1.0), tokens.add("mia", "maintain")
    tokens.holder(maintainer, "submit")
    tokens.holder(maintainer, "maintain")
    wrong: list[tuple[str | None, str]] = [(None, "needs a token"), ("", "needs a token")]
    wrong += [("pku_" + "x" * 43, "not known"), (alice + " ", "not known")]
    for token, reason in wrong:
        with pytest.raises(TokenError, match=reason):
            tokens.holder(token)
    with pytest.raises(TokenError, match="role submit, not maintain"):
        tokens.holder(alice, "maintain")
    with database.transaction() as connection:
        connection.execute(TOKENS.update().where(TOKENS.c.name == "alice").values(expires_at=1.0))
    with pytest.raises(TokenError, match="expired"):
        tokens.holder(alice)
    tokens.revoke(2)  # as one that was stolen
    with pytest.raises(TokenError, match="revoked"):
        tokens.holder(maintainer)
    with pytest.raises(UnknownName, match="no token"):
        tokens.revoke(99)
    with pytest.raises(ConfigError, match="role must be"):
        tokens.add("x", "admin")  # type: ignore[arg-type]


def test_a_rate_lets_through_so_many_at_once_and_then_so_often(database: Database) -> None:
    rates, rate = Rates(database), Rate(3, 60.0)
    assert [rates.wait("a", rate, 1000.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert rates.wait("a", rate, 1000.0) == pytest.approx(20.0)  # 60 s / 3
    assert rates.wait("a", rate, 1019.0) == pytest.approx(1.0)
    assert rates.wait("b", rate, 1000.0) == 0.0  # each key has its own
    assert rates.wait("a", rate, 1020.0) == 0.0
    assert rates.wait("a", rate, 1020.0) == pytest.approx(20.0)
    assert [rates.wait("a", rate, 9000.0) for _ in range(4)][:3] == [0.0, 0.0, 0.0]


def test_rates_at_rest_are_forgotten_and_others_are_not(database: Database) -> None:
    rates, rate = Rates(database), Rate(1, 60.0)
    for key, time in (("old", 1000.0), ("young", 80_000.0)):
        assert rates.wait(key, rate, time) == 0.0
    assert rates.wait("new", rate, 1000.0 + 86_400.0 + 61.0) == 0.0
    with database.transaction("read") as connection:
        assert sorted(connection.scalars(sql.select(RATES.c.key))) == ["new", "young"]
