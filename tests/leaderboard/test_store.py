"""The board: nothing half, nothing twice, nothing lost."""

from __future__ import annotations

import datetime
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pkubench.errors import BundleError, StorageError, UnknownName
from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board import store
from pkubench.leaderboard.board.local import board_of_results, own_records
from pkubench.leaderboard.board.reading import Bundle
from pkubench.leaderboard.board.tables import METADATA
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.submissions.manifest import STORED_SCHEMAS, parse_manifest
from tests.leaderboard.writing import Writer, spread_scores

TASK = "SimpleSpread-v0"
ID = f"pkubench/{TASK}"
NOW = datetime.datetime(2031, 5, 4, 12, 0, tzinfo=datetime.UTC)

SUBMIT = """
import sys
from pkubench.leaderboard import Board, read_bundle
bundles = [read_bundle(path) for path in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
with Board.open(sys.argv[1]) as board:
    for bundle in bundles:
        print(int(board.submit(bundle).is_new), flush=True)
"""


@pytest.fixture
def bundles(tmp_path: Path, results: Writer) -> list[Bundle]:
    made = []
    for k, agent in enumerate(("alpha", "beta", "gamma")):
        folder = results(agent, TASK, spread_scores(-38.0 - k, runs=2, episodes=20, seed=k))
        made.append(create_bundle(folder, tmp_path / f"{agent}.zip", weights=tmp_path / "weights"))
    return made


def start(board: Path, *bundles: Bundle) -> subprocess.Popen[str]:
    """Start a submitter and wait until it is about to open the board."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUBMIT, str(board), *(str(bundle.path) for bundle in bundles)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_is_submitted_comes_back_byte_for_byte(tmp_path: Path, bundles: list[Bundle]) -> None:
    path = tmp_path / "deep" / "board.sqlite"
    with Board.open(path) as board:
        submission = board.submit(bundles[0], own_records(bundles[0]), submitted_at=NOW)
        assert submission.is_new
    with Board.open(path) as board:
        (entry,) = board.entries(ID)
        assert board.tasks() == (ID,)
        assert board.bundle(submission.digest) == bundles[0].path.read_bytes()
        assert entry.submitter.submitted_at == "2031-05-04T12:00:00+00:00"
        assert entry.verdict.tier is Tier.OWN_RECORDS
        run, original = entry.runs[1], bundles[0].tasks[0].runs[1]
        assert run.lines == original.lines
        assert run.records == original.records
        assert (run.seed, run.steps) == (1, 1000)
        assert [line["steps"] for line in run.curve] == [100, 300, 1000]
        mean = bundles[0].tasks[0].report["metrics"]["return"]["mean"]
        assert entry.report.metrics["return"].mean == mean


def test_a_board_of_the_first_format_works_on(tmp_path: Path, bundles: list[Bundle]) -> None:
    """Manifests of schema 1, as an earlier release stored them, have no ``binding``."""
    path = tmp_path / "b.sqlite"
    with Board.open(path) as board:
        board.submit(bundles[0], own_records(bundles[0]))
        present = board.export_json()
    with sqlite3.connect(path) as connection:
        (text,) = connection.execute("select manifest from submissions").fetchone()
        document = {**json.loads(text), "schema": 1}
        del document["binding"]
        connection.execute("update submissions set manifest = ?", [json.dumps(document)])
    with Board.open(path) as board:
        assert board.export_json() == present
        board.submit(bundles[1], own_records(bundles[1]))
        assert len(board.entries()) == 2
    with pytest.raises(BundleError, match="has schema 1; this release reads 2"):
        parse_manifest(document)
    document["schema"] = 2
    with pytest.raises(BundleError, match="has no 'binding'"):
        parse_manifest(document, schemas=STORED_SCHEMAS)


def test_no_aggregate_is_stored(tmp_path: Path, bundles: list[Bundle]) -> None:
    with Board.open(tmp_path / "b.sqlite") as board:
        board.submit(bundles[0])
    with sqlite3.connect(tmp_path / "b.sqlite") as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master")]
        columns = {
            row[1] for table in tables for row in connection.execute(f"pragma table_info({table})")
        }
    assert not columns & {"mean", "score", "low", "high", "rank", "metrics", "report"}


def test_the_same_bundle_twice_is_one_submission(tmp_path: Path, bundles: list[Bundle]) -> None:
    with Board.open(tmp_path / "b.sqlite") as board:
        first, second = board.submit(bundles[0]), board.submit(bundles[0])
        assert (first.is_new, second.is_new) == (True, False)
        assert first.digest == second.digest
        assert len(board.entries()) == 1


def test_a_later_verification_lifts_the_tier(bundles: list[Bundle]) -> None:
    board = Board.open()
    board.submit(bundles[0])
    assert board.entries()[0].verdict.tier is Tier.SELF_REPORTED
    board.submit(bundles[0], own_records(bundles[0]))
    assert board.entries()[0].verdict.tier is Tier.OWN_RECORDS
    board.submit(bundles[0])
    assert board.entries()[0].verdict.tier is Tier.OWN_RECORDS


def test_records_that_the_weights_contradict_are_not_taken(bundles: list[Bundle]) -> None:
    board = Board.open()
    verdict = Verdict(Tier.SELF_REPORTED, "produced different episodes", is_contradicted=True)
    with pytest.raises(BundleError, match="produced different episodes"):
        board.submit(bundles[0], Verification({ID: verdict}))
    assert board.entries() == ()


def test_a_bundle_that_changed_after_it_was_read_is_not_taken(bundles: list[Bundle]) -> None:
    board = Board.open()
    bundles[0].path.write_bytes(bundles[1].path.read_bytes())
    with pytest.raises(BundleError, match="changed"):
        board.submit(bundles[0])
    assert board.submissions() == ()


def test_the_order_of_submission_does_not_show(bundles: list[Bundle]) -> None:
    documents = []
    for order in (bundles, bundles[::-1]):
        board = Board.open()
        for bundle in order:
            board.submit(bundle)
        documents.append(board.export_json())
    assert documents[0] == documents[1]


def test_two_processes_submit_at_once_and_nothing_is_lost_or_doubled(
    tmp_path: Path, bundles: list[Bundle]
) -> None:
    path = tmp_path / "b.sqlite"
    processes = [start(path, *bundles[:2]), start(path, *bundles[2:], bundles[0])]
    answers = [process.communicate("go\n", timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [len(answer) for answer in answers] == [2, 2]
    assert sum(int(is_new) for answer in answers for is_new in answer) == 3
    with Board.open(path) as board:
        assert [entry.submitter.name for entry in board.entries()] == ["alpha", "beta", "gamma"]


def test_a_submitter_waits_for_another_one(tmp_path: Path, bundles: list[Bundle]) -> None:
    path = tmp_path / "b.sqlite"
    Board.open(path).close()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    process = start(path, bundles[0])
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    time.sleep(0.5)
    assert process.poll() is None
    blocker.execute("COMMIT")
    blocker.close()
    assert process.communicate(timeout=60)[0].split() == ["1"]


def test_nobody_else_writes_between_looking_and_storing(
    tmp_path: Path, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, find = tmp_path / "b.sqlite", store._find

    def find_and_interfere(*arguments: Any) -> int | None:
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
        return find(*arguments)

    with Board.open(path) as board:
        monkeypatch.setattr(store, "_find", find_and_interfere)
        assert board.submit(bundles[0]).is_new


def test_kill_in_the_middle_of_a_submit_leaves_the_old_board(
    tmp_path: Path, bundles: list[Bundle]
) -> None:
    path = tmp_path / "b.sqlite"
    with Board.open(path) as board:
        board.submit(bundles[0])
    script = SUBMIT.replace(
        "with Board",
        "from pkubench.leaderboard.board import store\n"
        "insert, count = store._insert, 0\n"
        "def dying(connection, table, **values):\n"
        "    global count\n"
        "    count += 1\n"
        "    if count == 4:\n"  # submission, entry and first run are written
        "        import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return insert(connection, table, **values)\n"
        "store._insert = dying\n"
        "with Board",
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(bundles[1].path)],
        input="go\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    with Board.open(path) as board:
        assert [entry.submitter.name for entry in board.entries()] == ["alpha"]
        assert len(board.submissions()) == 1
        assert board.submit(bundles[1]).is_new
        assert len(board.entries()) == 2


def test_an_unknown_submission_is_named(bundles: list[Bundle]) -> None:
    board = Board.open()
    board.submit(bundles[0])
    with pytest.raises(UnknownName, match="no submission"):
        board.bundle("0" * 64)


def test_what_is_no_board_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("this is not a database, only words and more words" * 50)
    with pytest.raises(StorageError, match="cannot be used"):
        Board.open(tmp_path / "text.sqlite")
    with pytest.raises(StorageError, match="cannot open"):
        Board.open("nosuchdatabase://host/name")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make"):
        Board.open(tmp_path / "file" / "b.sqlite")


def test_a_new_board_can_be_read_by_its_owner_only(tmp_path: Path, bundles: list[Bundle]) -> None:
    place = tmp_path / "board.sqlite"
    with Board.open(place) as board:
        board.submit(bundles[0])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("board*")}
    assert set(modes.values()) == {0o600} and "board.sqlite-wal" in modes
    place.chmod(0o640)  # as an operator may want it
    Board.open(place).close()
    assert stat.S_IMODE(place.stat().st_mode) == 0o640


def test_a_board_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    Board.open(tmp_path / "b.sqlite").close()
    with sqlite3.connect(tmp_path / "b.sqlite") as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(StorageError, match="revision 9999 of a newer release"):
        Board.open(tmp_path / "b.sqlite")


def test_a_task_that_this_release_does_not_know_hides_its_entries_only(
    tmp_path: Path, bundles: list[Bundle]
) -> None:
    with Board.open(tmp_path / "b.sqlite") as board:
        board.submit(bundles[0])
        board.submit(bundles[1])
    with sqlite3.connect(tmp_path / "b.sqlite") as connection:
        connection.execute("update entries set task = 'pkubench/Gone-v0' where id = 1")
    with Board.open(tmp_path / "b.sqlite") as board:
        assert board.tasks() == ("pkubench/Gone-v0", ID)
        assert [entry.submitter.name for entry in board.entries()] == ["beta"]


def test_a_board_of_own_results_ranks_what_has_weights(tmp_path: Path, results: Writer) -> None:
    results("tuned", TASK, spread_scores(-38.0))
    results("lost", TASK, spread_scores(-37.0, seed=1), curves=False)
    results("mine:make", TASK, spread_scores(-36.0, seed=2), label="code")
    for path in (tmp_path / "weights" / "lost").rglob("*.safetensors"):
        path.unlink()
    with board_of_results(tmp_path / "results", weights=[tmp_path / "weights"]) as board:
        tiers = {entry.submitter.name: entry.verdict.tier for entry in board.entries()}
    assert tiers == {
        "tuned": Tier.OWN_RECORDS,  # nothing was run again, so no weights were verified
        "lost": Tier.SELF_REPORTED,
        "mine:make": Tier.SELF_REPORTED,
    }


def test_own_results_on_a_board_that_is_kept_are_self_reported(
    tmp_path: Path, results: Writer
) -> None:
    results("tuned", TASK, spread_scores(-38.0))
    place, weights = tmp_path / "board.sqlite", [tmp_path / "weights"]
    with board_of_results(tmp_path / "results", place, weights=weights) as board:
        (entry,) = board.entries()
        assert entry.verdict.tier is Tier.SELF_REPORTED


def test_the_tables_are_portable_to_postgresql() -> None:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    for table in METADATA.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))
