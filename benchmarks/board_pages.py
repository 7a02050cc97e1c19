"""How quickly a server answers for a board with many entries.

``python -m benchmarks.board_pages --entries 10000`` fills a board, asks for every page of its
tasks and suites, the lists, and a sample of its agents, and prints the 95th percentile of the time:
when a page is filled for the first time after a verdict, and when it is kept in memory. Processor
time is compared with the bar, because other work on the machine is not the page's; it exits with 1
over it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import hashlib
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sql
from fastapi.testclient import TestClient

from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board.local import own_records
from pkubench.leaderboard.board.tables import ENTRIES, EPISODES, RUNS, SUBMISSIONS
from pkubench.leaderboard.service.app import create_app
from tests.leaderboard.writing import write_results

BAR_S = 0.2
GAMES = ("KuhnPoker-v0", "LeducPoker-v0", "LiarsDice4-v0", "Goofspiel4-v0", "Goofspiel5-v0")
SAMPLE = 60
"""Pages of agents that are asked for."""
_COPIED = (SUBMISSIONS, ENTRIES, RUNS, EPISODES)


@dataclass(frozen=True, slots=True)
class Figures:
    """95th percentiles in seconds, of the processor and by the clock."""

    pages: int
    asked: int
    filled: tuple[float, float]
    """The first time after a change of the board."""
    kept: tuple[float, float]
    """After that."""


def many_entries(folder: Path, entries: int) -> Board:
    """Return a board of so many entries: agents with five runs on each of five games."""
    for game in GAMES:
        results = write_results(folder, "agent", game, [[0.125 + k / 64] for k in range(5)])
    bundle = create_bundle(results, folder / "agent.zip", weights=folder / "weights")
    board = Board.open(folder / "large.sqlite")
    board.submit(bundle, own_records(bundle))
    rng = random.Random(0)
    with board.database.transaction("exclusive") as connection:
        first = {t: connection.execute(sql.select(t)).mappings().all() for t in _COPIED}
        for number in range(1, entries // len(GAMES)):
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


def measure(board: Board) -> Figures:
    """Ask a server for the pages of a board, twice."""
    web = TestClient(create_app(board))
    site = web.app.state.desk.pages._latest().site  # type: ignore[attr-defined]
    names = sorted(name for name in site.files if name.endswith(".html"))
    agents = [name for name in names if name.startswith("agents/")]
    chosen = [name for name in names if not name.startswith("agents/")]
    chosen += random.Random(0).sample(agents, min(SAMPLE, len(agents)))
    best = [row.entry.submitter.digest for row in site.pages[0].standings[:2]]
    chosen.append(f"compare.html?a={best[0]}&b={best[1]}")
    found = []
    for _ in range(2):
        seconds = []
        for name in chosen:
            begun = time.process_time(), time.perf_counter()
            answer = web.get(f"/{name}")
            ended = time.process_time(), time.perf_counter()
            if answer.status_code != 200:
                raise RuntimeError(f"{name}: {answer.status_code}")
            seconds.append(np.subtract(ended, begun))
        processor, clock = np.quantile(seconds, 0.95, axis=0).tolist()
        found.append((processor, clock))
    return Figures(len(names), len(chosen), *found)


def main() -> int:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=10_000)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="pkubench-pages-") as folder,
        many_entries(Path(folder), given.entries) as board,
    ):
        found = measure(board)
    print(f"{given.entries} entries, {found.pages} pages, {found.asked} of them asked for")
    for what, (processor, clock) in (("filled", found.filled), ("kept", found.kept)):
        print(
            f"95 % within {1e3 * processor:.1f} ms of the processor, {1e3 * clock:.1f} ms, {what}"
        )
    return int(max(found.filled[0], found.kept[0]) > BAR_S)


if __name__ == "__main__":
    sys.exit(main())
