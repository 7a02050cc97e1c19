"""Many submissions while workers and the server are killed: one verdict each, on both engines."""

from __future__ import annotations

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

import pytest

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.errors import PkubenchError
from pkubench.evaluation.run.harness import evaluate
from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board.database import Database
from pkubench.leaderboard.service.client import Client
from pkubench.leaderboard.service.jobs import ACCEPTED, Queue
from pkubench.leaderboard.service.tokens import Tokens
from pkubench.tasks.registry import make_task

TASK = "KuhnPoker-v0"
SUBMISSIONS = int(os.environ.get("PKUBENCH_LOAD", "60"))
CLIENTS, WORKERS, KILLS = min(32, SUBMISSIONS), 2, 10

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
worker.Worker(Board.open(sys.argv[1]), processes=0, lease_s=5.0).run(threading.Event())
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
    try:
        deadline = time.monotonic() + 3600.0
        while queue.counts()[ACCEPTED] < SUBMISSIONS and time.monotonic() < deadline:
            time.sleep(rng.uniform(0.5, 2.0))
            ended = [name for name, process in processes.items() if process.poll() is not None]
            assert not ended, f"{ended} ended by itself: {log.read_text()[-2000:]}"
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
