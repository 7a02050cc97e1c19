"""Load: many submissions while everything is killed, on both engines; many entries on the pages.

With other sizes they are ``python -m benchmarks.board_load`` and ``benchmarks.board_pages``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.board_load import make_bundles, run_load
from benchmarks.board_pages import BAR_S, many_entries, measure

SUBMISSIONS, CLIENTS, KILLS = 60, 32, 10
LIMIT_S = 900.0
"""Processes take seconds to start, and a job whose worker was killed waits a lease."""
ENTRIES = 10_000


@pytest.mark.slow
def test_every_submission_has_one_verdict_whatever_is_killed(where: str, tmp_path: Path) -> None:
    pytest.importorskip("pyspiel")
    bundles = make_bundles(tmp_path, SUBMISSIONS)
    found = run_load(
        where, bundles, tmp_path / "log", clients=CLIENTS, kills=KILLS, limit_s=LIMIT_S
    )
    assert found.problems == ()
    assert (found.taken, found.judged, found.killed) == (SUBMISSIONS, SUBMISSIONS, KILLS)


@pytest.mark.slow
def test_pages_are_quick_with_many_entries(tmp_path: Path) -> None:
    with many_entries(tmp_path, ENTRIES) as board:
        found = measure(board)
    print(found)
    assert found.pages > ENTRIES / 5
    assert found.filled[0] < BAR_S and found.kept[0] < BAR_S
