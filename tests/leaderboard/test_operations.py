"""Operating a board: backup and restore on both engines, moving bundles, logs and figures."""

from __future__ import annotations

import io
import json
import logging
import re
import stat
import zipfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pkubench.cli.main import main
from pkubench.errors import StorageError
from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board.backup import back_up, restore
from pkubench.leaderboard.board.local import own_records
from pkubench.leaderboard.board.secret import SecretSeeds
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.service.app import create_app
from pkubench.leaderboard.service.jobs import Queue
from pkubench.leaderboard.service.logs import FIELDS, JsonLines, TextLines
from pkubench.leaderboard.service.meters import Meters
from pkubench.leaderboard.service.tokens import Tokens
from pkubench.leaderboard.submissions.bundle import Bundle
from tests.leaderboard.writing import Writer, spread_scores

TASK = "SimpleSpread-v0"


@pytest.fixture
def bundles(tmp_path: Path, results: Writer) -> list[Bundle]:
    return [
        create_bundle(
            results(name, TASK, spread_scores(-30.0, runs=2, episodes=4, seed=k)),
            tmp_path / f"{name}.zip",
            weights=tmp_path / "weights",
        )
        for k, name in enumerate(("one", "two"))
    ]


def filled(where: str | Path, bundles: list[Bundle]) -> Board:
    board = Board.open(where)
    first, second = bundles
    secret = {run.name: run.lines for run in first.tasks[0].runs}
    verdict = Verdict(Tier.EVALUATED_HERE, "played again", secret=secret)
    board.submit(first, Verification({first.tasks[0].task.id: verdict}))
    Tokens(board.database).add("alice")
    Queue(board.database).add(second.digest, "two", second.path.read_bytes())
    SecretSeeds.of(board.database)
    return board


def test_a_restored_board_is_the_same_and_goes_on(
    where: str, tmp_path: Path, bundles: list[Bundle]
) -> None:
    with filled(where, bundles) as board:
        path = tmp_path / "board.backup"
        assert back_up(board.database, path) > 10
        assert stat.S_IMODE(path.stat().st_mode) == 0o600  # it holds the secret key
        with pytest.raises(StorageError, match="there already"):
            back_up(board.database, path)
        key, document = SecretSeeds.of(board.database), board.export_json()
        with pytest.raises(StorageError, match="not empty"):
            restore(board.database, path)
        assert board.export_json() == document
    with Board.open(tmp_path / "other.sqlite") as other:  # from PostgreSQL as well
        restore(other.database, path)
        assert other.export_json() == document
        assert SecretSeeds.of(other.database) == key
        assert other.bundle(bundles[0].digest) == bundles[0].path.read_bytes()
        (entry,) = other.entries()
        assert entry.is_secret
        queue = Queue(other.database)
        assert queue.status(bundles[1].digest).state == "queued"
        lease = queue.lease("w")
        assert lease is not None and queue.bundle(lease) == bundles[1].path.read_bytes()
        assert other.submit(bundles[1], own_records(bundles[1])).is_new


def test_a_backup_moves_to_postgresql_and_numbers_go_on(
    where: str, tmp_path: Path, bundles: list[Bundle]
) -> None:
    with filled(":memory:", bundles) as board:
        back_up(board.database, tmp_path / "b")
    with Board.open(where) as other:
        restore(other.database, tmp_path / "b")
        # A number that is taken would be an error here.
        assert Tokens(other.database).list()[0].name == "alice"
        Tokens(other.database).add("bob")
        assert [row.id for row in Tokens(other.database).list()] == [1, 2]
        assert other.submit(bundles[1]).is_new and len(other.entries()) == 2


def test_what_is_not_a_backup_changes_nothing(tmp_path: Path, bundles: list[Bundle]) -> None:
    with filled(":memory:", bundles) as board:
        back_up(board.database, tmp_path / "good")
    data = {}
    with zipfile.ZipFile(tmp_path / "good") as archive:
        data = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(data["backup.json"])

    def written(**changes: bytes) -> Path:
        path = tmp_path / "bad"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (data | changes).items():
                archive.writestr(name, content)
        return path

    lines = data["tables/entries.jsonl"]
    cases = [
        (bundles[0].path, "not a backup"),
        (tmp_path / "missing", "not a backup"),
        (written(**{"backup.json": json.dumps(about | {"revision": "9"}).encode()}), "release"),
    ]
    with Board.open() as other:
        for path, reason in cases:
            with pytest.raises(StorageError, match=reason):
                restore(other.database, path)
        with pytest.raises(StorageError):
            restore(other.database, written(**{"tables/entries.jsonl": lines + b"{}\n"}))
        assert other.submissions() == () and Tokens(other.database).list() == ()


def test_all_bundles_move_to_another_board_through_its_queue(
    tmp_path: Path, bundles: list[Bundle], capsys: pytest.CaptureFixture[str]
) -> None:
    with Board.open(tmp_path / "a.sqlite") as board:
        for bundle in bundles:
            board.submit(bundle)
    a, b, folder = (str(tmp_path / name) for name in ("a.sqlite", "b.sqlite", "all"))
    assert main(["leaderboard", "bundles", folder, "--board", a]) == 0
    (tmp_path / "all" / "bad.zip").write_bytes(b"bad")
    assert main(["leaderboard", "import", folder, "--board", b]) == 0
    err = capsys.readouterr().err
    assert "queued 2 bundles; 0 there already, 1 left out" in err and "left out bad.zip" in err
    with Board.open(b) as board:
        waiting = {job.digest for job in Queue(board.database).unfinished()}
    assert waiting == {bundle.digest for bundle in bundles}
    assert main(["leaderboard", "backup", str(tmp_path / "x"), "--board", b]) == 0
    assert main(["leaderboard", "restore", str(tmp_path / "x"), "--board", f"{b}2"]) == 0
    assert main(["leaderboard", "restore", str(tmp_path / "x"), "--board", b]) != 0


def test_figures_are_those_of_the_requests_in_prometheus_format() -> None:
    with Board.open() as board:
        meters = Meters()
        for status, seconds in ((200, 0.004), (200, 0.1), (404, 0.3), (503, 9.0)):
            meters.count(status, seconds)
        text = meters.text(Queue(board.database), 7)
        web = TestClient(create_app(board))
        assert web.get("/health").json() == {"status": "ok"}
        assert web.get("/nothing").status_code == 404
        served = web.get("/metrics").text
    assert 'pkubench_requests_total{status="2xx"} 2' in text
    buckets = re.findall(r'bucket\{le="([^"]+)"\} (\d+)', text)
    assert dict(buckets) == {"0.01": "1", "0.05": "1", "0.2": "2", "1": "3", "5": "3", "+Inf": "4"}
    assert "pkubench_request_seconds_sum 9.404" in text and "pkubench_board_version 7" in text
    assert 'pkubench_requests_total{status="4xx"} 1' in served
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [-+.e\d]+", line), line


def test_logs_are_lines_or_objects_with_the_same_details() -> None:
    record = logging.LogRecord("a.b", logging.INFO, "f", 1, "request", None, None)
    setattr(record, FIELDS, {"path": "/x\n", "status": 200})
    entry = json.loads(JsonLines().format(record))
    assert entry | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "a.b",
        "message": "request",
        "path": "/x\n",
        "status": 200,
    }
    line = TextLines().format(record)
    assert line.endswith('INFO a.b request {"path": "/x\\n", "status": 200}') and "\n" not in line
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("x")
    logger.addHandler(handler)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    assert (
        out.getvalue().count("\n") == 1 and "ValueError" in json.loads(out.getvalue())["exception"]
    )


def test_a_wrong_format_of_logs_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", "serve", "--board", ":memory:", "--log", "xml"]) == 2
    assert "--log must be text or json" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["pkubench-board.service", "pkubench-worker@.service"])
def test_the_commands_of_the_units_exist(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "tools" / "board" / file).read_text()
    (words,) = re.findall(r"^ExecStart=/opt/pkubench/bin/pkubench (.+)$", text, re.M)
    assert main([*words.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in words.split() if word.startswith("--"))
