"""Load: many submissions while everything is killed, on both engines; many entries on the pages.

``PKUBENCH_LOAD`` and ``PKUBENCH_ENTRIES`` set how many; the tests are bounded in time.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql
from fastapi.testclient import TestClient

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.errors import PkubenchError
from pkubench.evaluation.run.harness import evaluate
from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board.database import Database
from pkubench.leaderboard.board.local import own_records
from pkubench.leaderboard.board.tables import ENTRIES as ENTRIES_TABLE
from pkubench.leaderboard.board.tables import EPISODES, RUNS
from pkubench.leaderboard.board.tables import SUBMISSIONS as SUBMISSIONS_TABLE
from pkubench.leaderboard.service.app import create_app
from pkubench.leaderboard.service.client import Client
from pkubench.leaderboard.service.jobs import ACCEPTED, DEAD, Queue
from pkubench.leaderboard.service.tokens import Tokens
from pkubench.tasks.registry import make_task
from tests.leaderboard.writing import write_results

TASK = "KuhnPoker-v0"
SUBMISSIONS = int(os.environ.get("PKUBENCH_LOAD", "60"))
CLIENTS, WORKERS, KILLS = min(32, SUBMISSIONS), 2, 10
LIMIT_S = 300.0 + 10.0 * SUBMISSIONS
"""Of the test: processes take seconds to start, and a job whose worker was killed waits a lease."""
ENTRIES = int(os.environ.get("PKUBENCH_ENTRIES", "10000"))
P95_S = 0.2
COPIED = (SUBMISSIONS_TABLE, ENTRIES_TABLE, RUNS, EPISODES)

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
WORK = """
import sys, threading
from pkubench.leaderboard import Board
from pkubench.leaderboard.service import worker
worker.POLL_S = 0.2
worker.Worker(Board.open(sys.argv[1]), processes=0, lease_s=10.0).run(threading.Event())
"""


def start(log: Path, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=file)


@pytest.mark.slow
def test_every_submission_has_one_verdict_whatever_is_killed(where: str, tmp_path: Path) -> None:
    pytest.importorskip("pyspiel")
    task = make_task(TASK)
    evaluate(resolve_agent("random", task), task, workers=0, out=tmp_path / "results")
    bundles = [
        create_bundle(tmp_path / "results" / "random", tmp_path / f"{n}.zip", name=f"agent {n}")
        for n in range(SUBMISSIONS)
    ]
    database = Database.open(where)
    token = Tokens(database).add("load")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    client = Client(f"http://127.0.0.1:{port}", token)
    waiting, taken, log = list(bundles), set[str](), tmp_path / "log"
    stop = threading.Event()

    def submit() -> None:
        while waiting and not stop.is_set():
            bundle = waiting.pop()
            while bundle.digest not in taken and not stop.is_set():
                try:
                    client.submit(bundle.path)
                    taken.add(bundle.digest)
                except PkubenchError:  # the server is down
                    time.sleep(0.2)

    processes = {"server": start(log, SERVE, where, port)}
    processes |= {f"worker {n}": start(log, WORK, where) for n in range(WORKERS)}
    threads = [threading.Thread(target=submit, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    queue, rng, killed = Queue(database), random.Random(0), 0
    started = time.monotonic()
    try:
        while queue.counts()[ACCEPTED] < SUBMISSIONS and time.monotonic() < started + LIMIT_S:
            time.sleep(rng.uniform(0.5, 2.0))
            ended = [name for name, process in processes.items() if process.poll() is not None]
            assert not ended, f"{ended} ended by itself: {log.read_text()[-2000:]}"
            for job in queue.recent():
                if job.state == DEAD:  # three workers of one job were killed
                    queue.retry(job.digest)  # as a maintainer does
            # Progress first: each process needs seconds to start.
            if killed < KILLS and queue.counts()[ACCEPTED] * KILLS >= killed * SUBMISSIONS:
                name = rng.choice(sorted(processes))
                os.kill(processes[name].pid, signal.SIGKILL)
                processes[name].wait()
                processes[name] = (
                    start(log, SERVE, where, port) if name == "server" else start(log, WORK, where)
                )
                killed += 1
        for thread in threads:
            thread.join(60.0)
    finally:
        stop.set()
        for process in processes.values():
            process.kill()
            process.wait()
    assert killed >= min(KILLS, SUBMISSIONS // 2)
    counts = queue.counts()
    assert counts == {"queued": 0, "running": 0, "accepted": SUBMISSIONS, "refused": 0, "dead": 0}
    with Board(database) as board:
        assert {one.digest for one in board.submissions()} == {b.digest for b in bundles}
        assert len(board.submissions()) == len(board.entries()) == SUBMISSIONS
    shutil.rmtree(tmp_path, ignore_errors=True)


def many_entries(tmp_path: Path) -> Board:
    """Return a board of ``ENTRIES`` entries: agents with five runs on each of five games."""
    games = ("KuhnPoker-v0", "LeducPoker-v0", "LiarsDice4-v0", "Goofspiel4-v0", "Goofspiel5-v0")
    for game in games:
        folder = write_results(tmp_path, "agent", game, [[0.125 + k / 64] for k in range(5)])
    bundle = create_bundle(folder, tmp_path / "agent.zip", weights=tmp_path / "weights")
    board = Board.open(tmp_path / "large.sqlite")
    board.submit(bundle, own_records(bundle))
    rng = random.Random(0)
    with board.database.transaction("exclusive") as connection:
        first = {t: connection.execute(sql.select(t)).mappings().all() for t in COPIED}
        for number in range(1, ENTRIES // len(games)):
            # The same rows again, with other keys, another hash and other scores.
            shift, digest = number * 100, hashlib.sha256(str(number).encode()).hexdigest()
            score = f"{rng.random():.6f}".encode()
            for table, rows in first.items():
                copies = []
                for row in map(dict, rows):
                    for key in ("id", "submission", "entry", "run"):
                        if key in row:
                            row[key] += shift
                    if "digest" in row:
                        row |= {"digest": digest, "bundle": b"", "submitted_at": "2026-11-30"}
                    if "lines" in row:
                        row["lines"] = row["lines"].replace(b":0.1", b":" + score[:3])
                    copies.append(row)
                connection.execute(table.insert(), copies)
    return board


@pytest.mark.slow
def test_pages_are_quick_with_many_entries(tmp_path: Path) -> None:
    with many_entries(tmp_path) as board:
        web = TestClient(create_app(board))
        names = sorted(
            name
            for name in web.app.state.desk.pages._latest().site.files  # type: ignore[attr-defined]
            if name.endswith(".html")
        )
        assert len(names) > ENTRIES / 5
        agents = [name for name in names if name.startswith("agents/")]
        chosen = [name for name in names if not name.startswith("agents/")]
        chosen += random.Random(0).sample(agents, min(60, len(agents)))
        seconds = []
        for name in chosen + chosen:  # filled the first time, kept the second
            begun = time.process_time()  # of the processor: other work on it is not the page's
            assert web.get(f"/{name}").status_code == 200
            seconds.append(time.process_time() - begun)
    first, again = seconds[: len(chosen)], seconds[len(chosen) :]
    p95 = [float(np.quantile(each, 0.95)) for each in (first, again)]
    print(f"{len(names)} pages, p95 {p95[0]:.4f} s when filled and {p95[1]:.4f} s when kept")
    assert p95[0] < P95_S and p95[1] < P95_S, p95
