"""A board under load while its processes are killed: is every submission judged exactly once?

``python -m benchmarks.board_load --submissions 1000 --clients 32`` sends as many bundles to a
server from as many concurrent clients, while the server and its workers are killed with SIGKILL at
random ``--kills`` times and started again. It prints what it found, and exits with 1 if a bundle
that the server took was lost, judged twice, or not judged. ``--database`` is an empty board: a file
of SQLite (the default, in a temporary folder) or a URL of PostgreSQL.

Clients send a bundle again until the server has answered; a job whose three workers were killed is
queued again, as a maintainer does. The bundles are records of a scripted agent in a small game, so
what is measured is queue, store and pages.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sql

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.errors import PkubenchError
from pkubench.evaluation.run.harness import evaluate
from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board.database import Database
from pkubench.leaderboard.board.tables import UPLOADS
from pkubench.leaderboard.service.client import Client
from pkubench.leaderboard.service.jobs import ACCEPTED, DEAD, Queue
from pkubench.leaderboard.service.tokens import Tokens
from pkubench.leaderboard.submissions.bundle import Bundle
from pkubench.tasks.registry import make_task

TASK = "KuhnPoker-v0"
WORKERS = 2
LEASE_S = 10.0
TOKENS = 4
"""Tokens that the clients share."""

SERVE = """
import sys, uvicorn
from pkubench.leaderboard import Board
from pkubench.leaderboard.service.app import create_app
from pkubench.leaderboard.service.rates import Rate
from pkubench.leaderboard.service.uploads import Service
rate = Rate(10**6, 1.0)
app = create_app(Board.open(sys.argv[1]), Service(submissions=rate, wrong_tokens=rate))
uvicorn.run(app, port=int(sys.argv[2]), log_config=None)
"""
WORK = f"""
import sys, threading
from pkubench.leaderboard import Board
from pkubench.leaderboard.service import worker
worker.POLL_S = 0.2
board = Board.open(sys.argv[1])
judge = worker.Worker(board, processes=0, lease_s={LEASE_S}, films=False)
judge.run(threading.Event())
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a load."""

    taken: int
    """Bundles that the server took."""
    judged: int
    killed: int
    revived: int
    """Jobs that a maintainer queued again, three workers of each having been killed."""
    seconds: float
    problems: tuple[str, ...]
    """What was lost or counted twice; empty if nothing was."""


class Processes:
    """A server and workers, which are started again when they are killed."""

    def __init__(self, where: str, log: Path) -> None:
        self._where, self._log = where, log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        names = ["server", *(f"worker {n}" for n in range(WORKERS))]
        self._running = {name: self._start(name) for name in names}

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        program = [SERVE, self._where, self.port] if name == "server" else [WORK, self._where]
        with self._log.open("ab") as file:
            return subprocess.Popen([sys.executable, "-c", *program], stderr=file)

    def check(self) -> None:
        """Check that nothing has ended by itself.

        Raises:
            RuntimeError: something has, with the end of the log.
        """
        ended = [name for name, process in self._running.items() if process.poll() is not None]
        if ended:
            raise RuntimeError(f"{ended} ended by itself: {self._log.read_text()[-2000:]}")

    def kill(self, name: str) -> None:
        """Kill a process, and start another one in its place."""
        os.kill(self._running[name].pid, signal.SIGKILL)
        self._running[name].wait()
        self._running[name] = self._start(name)

    @property
    def names(self) -> list[str]:
        """The processes."""
        return sorted(self._running)

    def close(self) -> None:
        """End all of them."""
        for process in self._running.values():
            process.kill()
            process.wait()


def make_bundles(folder: Path, number: int) -> list[Bundle]:
    """Return bundles of the same small evaluation under different names."""
    task = make_task(TASK)
    evaluate(resolve_agent("random", task), task, workers=0, out=folder / "results")
    records = folder / "results" / "random"
    return [create_bundle(records, folder / f"{n}.zip", name=f"agent {n}") for n in range(number)]


def run_load(
    where: str,
    bundles: list[Bundle],
    log: Path,
    *,
    clients: int,
    kills: int,
    limit_s: float,
    report: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Send bundles to a board while its processes are killed, until each has its verdict.

    Args:
        where: an empty board.
        bundles: to send, each with another hash.
        log: takes what the processes print.
        clients: threads that send.
        kills: processes that are killed, evenly over the progress.
        limit_s: after so many seconds what has no verdict is a problem.
        report: called with a line on the progress, every few seconds.
    """
    database = Database.open(where)
    tokens = [Tokens(database).add(f"load {n}") for n in range(TOKENS)]
    processes = Processes(where, log)
    waiting, taken, stop = list(bundles), set[str](), threading.Event()

    def submit(token: str) -> None:
        client = Client(f"http://127.0.0.1:{processes.port}", token)
        while waiting and not stop.is_set():
            try:
                bundle = waiting.pop()
            except IndexError:  # another thread took the last one
                return
            while bundle.digest not in taken and not stop.is_set():
                try:
                    client.submit(bundle.path)
                    taken.add(bundle.digest)
                except PkubenchError:  # the server is down
                    time.sleep(0.2)

    threads = [
        threading.Thread(target=submit, args=(tokens[n % TOKENS],), daemon=True)
        for n in range(clients)
    ]
    for thread in threads:
        thread.start()
    queue, rng, killed, revived, told = Queue(database), random.Random(0), 0, 0, 0.0
    started = time.monotonic()
    try:
        while True:
            judged, spent = queue.counts()[ACCEPTED], time.monotonic() - started
            if judged >= len(bundles) or spent > limit_s:
                break
            if spent - told > 10.0:
                told = spent
                report(f"{spent:5.0f} s: {len(taken)} taken, {judged} judged, {killed} killed")
            time.sleep(rng.uniform(0.5, 2.0))
            processes.check()
            for job in queue.recent():
                if job.state == DEAD:
                    queue.retry(job.digest)
                    revived += 1
            # Progress first: each process needs seconds to start.
            if killed < kills and judged * kills >= killed * len(bundles):
                processes.kill(rng.choice(processes.names))
                killed += 1
        for thread in threads:
            thread.join(60.0)
    finally:
        stop.set()
        processes.close()
    seconds = time.monotonic() - started
    problems = _problems(database, {bundle.digest for bundle in bundles}, taken)
    return Outcome(len(taken), judged, killed, revived, seconds, tuple(problems))


def _problems(database: Database, sent: set[str], taken: set[str]) -> list[str]:
    """Return what the board's tables have too much or too little of."""
    found = [f"{len(sent - taken)} bundles were not taken"] if taken != sent else []
    counts = Queue(database).counts()
    if counts != {**dict.fromkeys(counts, 0), ACCEPTED: len(sent)}:
        found.append(f"of {len(sent)} jobs, {counts}")
    with Board(database) as board:
        stored = [one.digest for one in board.submissions()]
        entries = [entry.submitter.digest for entry in board.entries()]
        for what, digests in (("submissions", stored), ("entries", entries)):
            if sorted(digests) != sorted(sent):
                found.append(f"{len(digests)} {what}, {len(set(digests))} of them different")
        with database.transaction("read") as connection:
            left = connection.scalar(sql.select(sql.func.count()).select_from(UPLOADS))
        if left:
            found.append(f"{left} bundles still wait")
    return found


def main() -> int:
    """Run the load that the command line asks for, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--submissions", type=int, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--database", help="an empty board; a temporary file of SQLite by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkubench-load-") as temporary:
        folder = Path(temporary)
        bundles = make_bundles(folder, given.submissions)
        found = run_load(
            given.database or str(folder / "board.sqlite"),
            bundles,
            folder / "log",
            clients=given.clients,
            kills=given.kills,
            limit_s=600.0 + 10.0 * given.submissions,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )
    print(
        f"{given.submissions} submissions from {given.clients} clients: {found.taken} taken, "
        f"{found.judged} judged, {found.killed} processes killed, {found.revived} jobs queued "
        f"again by hand, {found.seconds:.0f} s ({found.judged / found.seconds:.1f} a second)"
    )
    for problem in found.problems:
        print(f"problem: {problem}")
    if not found.problems:
        print("every submission has exactly one verdict; nothing is lost, nothing twice")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
