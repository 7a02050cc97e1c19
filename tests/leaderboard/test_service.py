"""The served board: pages, submissions, tokens, and workers that give verdicts."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sql
import uvicorn
from fastapi import Request
from fastapi.testclient import TestClient

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.cli.main import main
from pkubench.errors import BundleError, ConfigError, MissingExtra, PkubenchError, StorageError
from pkubench.evaluation.run.harness import evaluate
from pkubench.evaluation.run.workers import WorkerError
from pkubench.leaderboard import Board, create_bundle, verify_bundle
from pkubench.leaderboard.board.entries import Entry
from pkubench.leaderboard.board.reading import Bundle
from pkubench.leaderboard.board.tables import RATES
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.sandbox import bubblewrap
from pkubench.leaderboard.service import client as client_module
from pkubench.leaderboard.service import desk
from pkubench.leaderboard.service import worker as worker_module
from pkubench.leaderboard.service.app import create_app
from pkubench.leaderboard.service.client import Client
from pkubench.leaderboard.service.desk import FORMS, network_of
from pkubench.leaderboard.service.jobs import LeaseLost, Queue
from pkubench.leaderboard.service.pages import LivePages
from pkubench.leaderboard.service.rates import Rate
from pkubench.leaderboard.service.tokens import Tokens
from pkubench.leaderboard.service.uploads import Service, TooLarge, counted
from pkubench.leaderboard.service.worker import Worker
from pkubench.leaderboard.site import export
from pkubench.tasks.registry import make_task
from tests.leaderboard.writing import Writer, spread_scores

TASK = "SimpleSpread-v0"
ID = f"pkubench/{TASK}"
EVIL = "<script>alert(1)</script>'; DROP TABLE jobs; --"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle of the random agent, which plays what its records say."""
    folder, task = tmp_path_factory.mktemp("honest"), make_task(TASK)
    evaluate(resolve_agent("random", task), task, episodes=4, workers=0, out=folder)
    return create_bundle(folder / "random", folder / "random.zip", name=EVIL)


@pytest.fixture
def forged(tmp_path: Path, results: Writer) -> Bundle:
    """Return a bundle of records that the random agent does not play."""
    agent = results("random", TASK, spread_scores(-1.0, runs=1, episodes=4), label="builtin")
    return create_bundle(agent, tmp_path / "forged.zip", name="forged")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board.open(tmp_path / "board.sqlite") as opened:
        yield opened


@pytest.fixture
def web(board: Board) -> Iterator[TestClient]:
    service = Service(max_upload=1 << 20, submissions=Rate(3, 3600.0), wrong_tokens=Rate(3, 60.0))
    with TestClient(create_app(board, service)) as client:
        yield client


def bearer(board: Board, **settings: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {Tokens(board.database).add('alice', **settings)}"}


def test_a_submission_from_the_upload_to_its_verdict(
    board: Board, web: TestClient, honest: Bundle
) -> None:
    data, headers = honest.path.read_bytes(), bearer(board)
    answer = web.post("/api/v1/submissions", content=data, headers=headers)
    assert answer.status_code == 202
    status = answer.json()
    assert (status["state"], status["position"]) == ("queued", 1)
    assert status["digest"] == honest.digest
    again = web.post("/api/v1/submissions", content=data, headers=headers)
    assert again.json()["position"] == 1  # the same submission, not a second one
    page = web.get(f"/submissions/{honest.digest}.html").text
    assert "number 1 in the queue" in page and 'http-equiv="refresh"' in page

    worker = Worker(board, processes=0)
    assert worker.work() and not worker.work()
    with web.stream("GET", f"/api/v1/submissions/{honest.digest}/events") as events:
        states = [json.loads(line[6:]) for line in events.iter_lines() if line]
    assert [state["state"] for state in states] == ["accepted"]
    assert states[0]["verdicts"][ID]["tier"] == "evaluated-here"
    (entry,) = board.entries()
    assert entry.is_secret and entry.gap == ""
    assert entry.public.episodes == 4 and entry.report.episodes == 200
    page = web.get(f"/submissions/{honest.digest}.html").text
    assert "evaluated-here" in page and "refresh" not in page
    queue = web.get("/api/v1/queue").json()
    assert queue["counts"]["accepted"] == 1 and queue["jobs"] == []
    assert 'pkubench_jobs{state="accepted"} 1' in web.get("/metrics").text
    web.app.state.desk.pages.refresh()  # type: ignore[attr-defined]
    standing = web.get("/api/v1/standings").json()["tasks"][ID][0]
    assert standing["is_secret"] and standing["unranked"] == "a baseline that is not trained"

    for path in ("/", "/queue.html", f"/submissions/{honest.digest}.html", f"/tasks/{TASK}.html"):
        found = web.get(path)
        assert found.status_code == 200
        assert "<script>alert" not in found.text and "&lt;script&gt;alert" in found.text
        assert "script-src 'self'" in found.headers["content-security-policy"]


def test_the_served_pages_are_those_of_the_export(
    board: Board, tmp_path: Path, results: Writer
) -> None:
    folder = results("tuned", TASK, spread_scores(-38.0, runs=2, episodes=20))
    board.submit(create_bundle(folder, tmp_path / "a.zip", weights=tmp_path / "weights"))
    export(board, tmp_path / "site")
    web = TestClient(create_app(board))
    exported = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert len(exported) > 8
    for path in exported:
        name = path.relative_to(tmp_path / "site").as_posix()
        if name in ("site.json", "submit.html"):  # the export's own list; a server has a form
            continue
        served = web.get(f"/{name}")
        assert served.status_code == 200, name
        if path.suffix == ".html":  # a server's navigation has more links
            inner = re.compile("<main.*</main>", re.S)
            static, live = inner.findall(path.read_text()), inner.findall(served.text)
            for only in (" --to URL", "export PKUBENCH_TOKEN=...\n"):
                live = [text.replace(only, "") for text in live]
            assert live == static, name
        else:
            assert served.content == path.read_bytes(), name


def test_what_is_not_taken_is_refused_with_a_reason(
    board: Board, web: TestClient, honest: Bundle
) -> None:
    data, good = honest.path.read_bytes(), bearer(board)
    expired, stolen = bearer(board, days=1e-9), bearer(board)
    Tokens(board.database).revoke(3)

    def post(content: bytes, headers: dict[str, str]) -> tuple[int, str]:
        answer = web.post("/api/v1/submissions", content=content, headers=headers)
        return answer.status_code, answer.json()["error"]

    assert post(data, {}) == (401, "this needs a token; ask the board's maintainers for one")
    assert post(data, expired) == (401, "the token of alice has expired")
    assert post(data, stolen) == (401, "the token of alice was revoked")
    code, reason = post(data, {"authorization": "Bearer pku_guess"})
    assert (code, reason[:22]) == (429, "too many wrong tokens;")  # the fourth of three
    code, reason = post(b"not a zip", good)
    assert code == 422 and "not a zip file" in reason
    code, reason = post(bytes(2 << 20), good)
    assert (code, reason) == (413, "the bundle is larger than 1 MB, which this board takes")

    def chunks() -> Iterator[bytes]:  # without a content-length
        for _ in range(3):
            yield bytes(1 << 19)

    answer = web.post("/api/v1/submissions", content=chunks(), headers=good)
    assert answer.status_code == 413
    assert post(data[: len(data) // 2], good)[0] == 422
    answer = web.post("/api/v1/submissions", content=data, headers=good)
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 1000
    assert web.post(f"/api/v1/submissions/{'0' * 64}/retry", headers=good).status_code in (401, 429)
    assert Queue(board.database).unfinished() == () and board.submissions() == ()


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/downloads/../../board.sqlite",
        "/agents/%00.html",
        "/submissions/../board.html",
        f"/submissions/{'0' * 64}.html",
        "/api/v1/submissions/1%20OR%201=1",
        f"/api/v1/submissions/{'0' * 63}%27",
        "/templates/base.html",
    ],
)
def test_tricks_in_paths_find_nothing(web: TestClient, path: str) -> None:
    answer = web.get(path)
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text and "SQLite" not in answer.text


def test_the_form_takes_a_bundle_and_says_why_not(
    board: Board, web: TestClient, honest: Bundle
) -> None:
    token = bearer(board)["authorization"].partition(" ")[2]
    page = web.get("/submit.html").text
    assert "pkubench submit mine.zip --to http://testserver" in page
    files = {"bundle": ("x.zip", honest.path.read_bytes(), "application/zip")}
    wrong = web.post("/submit", data={"token": "pku_x"}, files=files)
    assert wrong.status_code == 401 and "the token is not known" in wrong.text
    assert web.post("/submit", data={"token": token}).status_code == 422
    taken = web.post("/submit", data={"token": token}, files=files, follow_redirects=False)
    assert taken.status_code == 303
    assert taken.headers["location"] == f"submissions/{honest.digest}.html"
    assert Queue(board.database).status(honest.digest).submitter == "alice"


def test_the_form_reads_no_more_than_the_limit(
    board: Board, web: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    head = b'--x\r\nContent-Disposition: form-data; name="bundle"; filename="a"\r\n\r\n'

    def chunks() -> Iterator[bytes]:
        nonlocal read
        yield head
        for _ in range(48):
            read += 1
            yield bytes(1 << 18)

    assert web.post("/submit", content=chunks(), headers=boundary).status_code == 411
    large = {**boundary, "content-length": str(12 << 20)}
    assert web.post("/submit", content=chunks(), headers=large).status_code == 413
    # Were a server to pass on more than it was told, it would not be read either.
    untrue = Request(
        {"type": "http", "headers": [(b"content-length", b"10")]},
        lambda: asyncio.sleep(0, {"type": "http.request", "body": bytes(1 << 21)}),  # type: ignore[arg-type]
    )
    with pytest.raises(TooLarge, match="larger than 1 MB"):
        asyncio.run(counted(untrue, Service(max_upload=1 << 20)).body())
    desk = web.app.state.desk  # type: ignore[attr-defined]
    monkeypatch.setattr(desk, "_forms", FORMS)
    files = {"bundle": ("x.zip", b"x", "application/zip")}
    assert web.post("/submit", data={"token": "x"}, files=files).status_code == 429


def test_faults_of_the_database_are_not_shown_to_everyone(
    board: Board, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StorageError("the board postgresql://alice@db.internal/x cannot be used: down")

    monkeypatch.setattr(Queue, "counts", fail)
    answer = web.get("/api/v1/queue")
    assert (answer.status_code, answer.json()) == (
        503,
        {"error": "the board is not available; try again later"},
    )
    with pytest.raises(StorageError) as error:
        Board.open("mysql://alice:hunter2@db/x")
    assert "hunter2" not in str(error.value) and "mysql://alice:***@db/x" in str(error.value)


def test_a_token_does_not_follow_a_redirect(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unencrypted"):
        Client("http://board.example.org", "pku_x")
    asked: list[str] = []

    class Redirect(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(302)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Redirect)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "a.zip").write_bytes(b"x")
    try:
        with pytest.raises(PkubenchError, match="it answered 302"):
            Client(f"http://127.0.0.1:{server.server_port}", "pku_x").submit(tmp_path / "a.zip")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == ["/api/v1/submissions"]


def test_wrong_tokens_of_a_network_are_counted_together(web: TestClient) -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:1:2:3::7") == network_of("2001:db8:1:2::ffff")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert (
        network_of("::ffff:192.0.2.7") == "192.0.2.7" and network_of("testclient") == "testclient"
    )
    for number in range(4):  # the fixture lets three through
        client = TestClient(web.app, client=(f"2001:db8::{number}", 1))
        answer = client.post("/api/v1/submissions", headers={"authorization": "Bearer pku_x"})
        assert answer.status_code == (401 if number < 3 else 429)


def test_a_client_behind_a_proxy_cannot_choose_the_address_it_is_counted_by(board: Board) -> None:
    """uvicorn takes the last address that no trusted proxy has; the first is the client's word."""
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    app = ProxyHeadersMiddleware(create_app(board), trusted_hosts="127.0.0.1")  # uvicorn's default
    seen = []
    for claimed in ("198.51.100.1", "198.51.100.2"):
        client = TestClient(app, client=("127.0.0.1", 1))
        headers = {"authorization": "Bearer x", "x-forwarded-for": f"{claimed}, 203.0.113.9"}
        client.post("/api/v1/submissions", headers=headers)
        with board.database.transaction("read") as connection:
            seen.append(list(connection.scalars(sql.select(RATES.c.key))))
    assert seen == [["wrong token:203.0.113.9"]] * 2


def test_watchers_share_what_is_looked_up_and_their_number_is_limited(
    board: Board, web: TestClient, honest: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.post("/api/v1/submissions", content=honest.path.read_bytes(), headers=bearer(board))
    service_desk, looked = web.app.state.desk, []  # type: ignore[attr-defined]
    status = service_desk.queue.status
    monkeypatch.setattr(service_desk.queue, "status", lambda d: looked.append(d) or status(d))
    for _ in range(5):
        assert service_desk.glance(honest.digest).position == 1
    assert looked == [honest.digest]
    monkeypatch.setattr(desk, "WATCHERS", 1)
    with service_desk.watching():
        answer = web.get(f"/api/v1/submissions/{honest.digest}/events")
        assert answer.status_code == 429 and "watchers" in answer.json()["error"]
    assert Worker(board, processes=0).work()
    time.sleep(desk.LOOK_S)
    assert web.get(f"/api/v1/submissions/{honest.digest}/events").status_code == 200


def test_the_api_describes_itself(web: TestClient) -> None:
    document = web.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert set(document["paths"]) == {
        "/api/v1/board",
        "/api/v1/compare",
        "/api/v1/standings",
        "/api/v1/queue",
        "/api/v1/submissions",
        "/api/v1/submissions/{digest}",
        "/api/v1/submissions/{digest}/events",
        "/api/v1/submissions/{digest}/retry",
    }
    assert web.get("/healthz").json() == {"status": "ok"}


def test_forged_records_are_refused_and_leave_no_entry(board: Board, forged: Bundle) -> None:
    queue = Queue(board.database)
    queue.add(forged.digest, "forged", forged.path.read_bytes())
    assert Worker(board, processes=0).work()
    status = queue.status(forged.digest)
    assert status.state == "refused"
    assert status.reason.startswith("played again, the agent produced different episodes")
    assert board.submissions() == ()


def test_pages_that_cannot_be_made_refuse_a_submission_and_leave_the_others(
    board: Board, honest: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = TestClient(create_app(board))
    queue = Queue(board.database)
    queue.add(honest.digest, "x", honest.path.read_bytes())

    def fail(*_: Any) -> None:
        raise OverflowError("int too large to convert to float")

    with monkeypatch.context() as patched:
        patched.setattr(Entry, "of", fail)
        assert Worker(board, processes=0).work()
        status = queue.status(honest.digest)
        assert (status.state, board.submissions()) == ("refused", ())
        assert status.reason == "its pages cannot be made: OverflowError"
        # Were there one all the same, the earlier pages are served, and not made at each request.
        board.submit(honest)
        pages = web.app.state.desk.pages  # type: ignore[attr-defined]
        pages.refresh()
        reads: list[int] = []
        patched.setattr(LivePages, "refresh", lambda self: reads.append(1))
        assert [web.get("/index.html").status_code for _ in range(3)] == [200] * 3
        assert reads == []


def test_a_fault_of_the_worker_is_no_verdict(
    board: Board, honest: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(board.database)
    queue.add(honest.digest, "x", honest.path.read_bytes())

    def fail(*_: Any, **__: Any) -> None:
        raise MissingExtra("mujoco", "this task")

    monkeypatch.setattr(worker_module, "verify_bundle", fail)
    assert Worker(board, processes=0).work()
    status = queue.status(honest.digest)
    assert (status.state, status.attempt) == ("queued", 1)
    assert "pip install 'pkubench[mujoco]'" in status.reason


def test_a_traceback_with_a_secret_seed_stays_in_the_log(
    board: Board, honest: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(board.database)
    queue.add(honest.digest, "x", honest.path.read_bytes())

    def fail(*_: Any, **__: Any) -> None:
        raise WorkerError("Traceback: reward that is not finite (seed 4242)")

    monkeypatch.setattr(worker_module, "verify_bundle", fail)
    assert Worker(board, processes=0).work()
    assert queue.status(honest.digest).reason == "the worker failed; its log says why"


def test_a_short_outage_of_the_database_costs_no_work(
    board: Board, honest: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, submit = Queue(board.database), Board.submit
    queue.add(honest.digest, "x", honest.path.read_bytes())
    failures = [StorageError("away"), StorageError("away")]

    def submit_later(self: Board, *arguments: Any, **settings: Any) -> Any:
        if self.database is board.database and failures:
            raise failures.pop()
        return submit(self, *arguments, **settings)

    def beat_never(self: Queue, lease: Any, progress: str | None = None) -> None:
        raise StorageError("away")

    monkeypatch.setattr(Board, "submit", submit_later)
    monkeypatch.setattr(Queue, "heartbeat", beat_never)
    monkeypatch.setattr(worker_module, "SUBMIT_WAITS_S", (0.0, 0.0))
    assert Worker(board, processes=0).work()
    assert (queue.status(honest.digest).state, failures) == ("accepted", [])


def test_an_accepted_submission_can_be_verified_anew(board: Board, honest: Bundle) -> None:
    queue = Queue(board.database)
    queue.add(honest.digest, "x", honest.path.read_bytes())
    board.submit(honest, Verification({ID: Verdict(Tier.SELF_REPORTED, "a slow machine")}))
    lease = queue.lease("slow")
    assert lease is not None
    with board.database.transaction() as connection:
        queue.accept(connection, lease, Verification({}))
    queue.retry(honest.digest)
    assert Worker(board, processes=0).work()
    assert queue.status(honest.digest).state == "accepted"
    (entry,) = board.entries()
    assert entry.verdict.tier is Tier.EVALUATED_HERE and entry.is_secret


def test_a_board_may_take_no_code(board: Board, tmp_path: Path, results: Writer) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "mine.py").write_text("def agent(task): ...\n")
    records = results("mine:agent", TASK, spread_scores(-1.0, runs=1), label="code")
    bundle = create_bundle(records, tmp_path / "code.zip", code=code)
    statuses = []
    for takes in (False, True):
        client = TestClient(create_app(board, Service(takes_code=takes)))
        data = bundle.path.read_bytes()
        answer = client.post("/api/v1/submissions", content=data, headers=bearer(board))
        statuses.append(answer.status_code)
        if not takes:
            assert answer.json()["error"].startswith("this board takes no code; send weights")
            assert Queue(board.database).unfinished() == ()
    assert statuses == [422, 202]


def test_without_a_sandbox_a_worker_gives_no_verdict_and_does_not_start(
    board: Board, tmp_path: Path, results: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "mine.py").write_text("def agent(task): ...\n")
    records = results("mine:agent", TASK, spread_scores(-1.0, runs=1), label="code")
    bundle = create_bundle(records, tmp_path / "code.zip", code=code)
    queue = Queue(board.database)
    queue.add(bundle.digest, "x", bundle.path.read_bytes())
    monkeypatch.setattr(bubblewrap, "_problem", cache(lambda: "bubblewrap is not installed"))
    assert Worker(board, processes=0).work()
    status = queue.status(bundle.digest)
    assert (status.state, board.submissions()) == ("queued", ())
    assert "bubblewrap is not installed" in status.reason
    assert main(["leaderboard", "worker", "--board", str(tmp_path / "b.sqlite"), "--once"]) != 0
    # On a board of one's own it is shown as what nobody ran again.
    verdict = verify_bundle(bundle, workers=0).verdict(ID)
    assert verdict.tier is Tier.SELF_REPORTED and not verdict.is_contradicted


def test_a_worker_does_not_start_with_a_board_that_submitted_code_could_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(bubblewrap, "check_bubblewrap", lambda: None)
    monkeypatch.setattr(bubblewrap, "_prefixes", lambda: [tmp_path / "venv"])
    (tmp_path / "link").symlink_to(tmp_path / "venv")
    for place in (tmp_path / "venv" / "board.sqlite", tmp_path / "link" / "board.sqlite"):
        assert main(["leaderboard", "worker", "--once", "--board", str(place)]) == 2
        assert "submitted code can read; move it elsewhere" in capsys.readouterr().err
    assert main(["leaderboard", "worker", "--once", "--board", str(tmp_path / "b.sqlite")]) == 0


def test_a_worker_that_is_lost_loses_nothing_and_counts_nothing_twice(
    board: Board, honest: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, late = Queue(board.database), []
    queue.add(honest.digest, "x", honest.path.read_bytes())
    first, second = Worker(board, processes=0, lease_s=0.0, name="a"), Worker(board, processes=0)
    submit = Board.submit

    def submit_late(self: Board, *arguments: Any, **settings: Any) -> Any:
        if self.database is not board.database:  # the one in memory on which pages are tried
            return submit(self, *arguments, **settings)
        monkeypatch.setattr(Board, "submit", submit)
        assert second.work()  # the lease of the first one is over: another one does it all
        try:
            return submit(self, *arguments, **settings)
        except LeaseLost as error:
            late.append(str(error))
            raise

    monkeypatch.setattr(Board, "submit", submit_late)
    monkeypatch.setattr(Worker, "_beat", lambda *_: nullcontext())
    assert first.work()
    assert len(late) == 1 and "another worker" in late[0]
    status = queue.status(honest.digest)
    assert (status.state, status.attempt) == ("accepted", 2)
    assert len(board.submissions()) == 1 and len(board.entries()) == 1


@pytest.fixture
def address(board: Board) -> Iterator[str]:
    """Serve a board on a free port, with a worker."""
    config = uvicorn.Config(create_app(board), port=0, log_config=None)
    server, stop = uvicorn.Server(config), threading.Event()
    threads = [
        threading.Thread(target=server.run),
        threading.Thread(target=Worker(board, processes=0).run, args=(stop,)),
    ]
    for thread in threads:
        thread.start()
    while not server.started:
        threading.Event().wait(0.02)
    (socket,) = server.servers[0].sockets
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    stop.set()
    server.should_exit = True
    for thread in threads:
        thread.join()


def test_submit_to_shows_the_queue_and_the_verdict(
    board: Board,
    address: str,
    honest: Bundle,
    forged: Bundle,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PKUBENCH_TOKEN", Tokens(board.database).add("alice"))
    assert main(["submit", str(honest.path), "--to", address, "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["state"] == "accepted" and document["board"] == address
    assert f"{address}/submissions/{honest.digest}.html" in err and "verdict: accepted" in err
    assert main(["submit", str(forged.path), "--to", address]) == 1
    assert "is refused: played again, the agent produced different" in capsys.readouterr().err
    monkeypatch.setenv("PKUBENCH_TOKEN", "pku_wrong")
    assert main(["submit", str(honest.path), "--to", address]) == 2
    assert "the token is not known to this board" in capsys.readouterr().err
    with pytest.raises(BundleError, match="not a zip"):
        bad = forged.path.with_name("bad.zip")
        bad.write_bytes(b"bad")
        Client(address, Tokens(board.database).add("bob")).submit(bad)
    assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}


def test_check_gives_the_verdict_without_a_board(
    honest: Bundle,
    forged: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["submit", str(honest.path), "--check", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tasks"][ID]["tier"] == "evaluated-here"
    assert main(["submit", str(forged.path), "--check"]) == 1
    assert not (tmp_path / "board.sqlite").exists()
    assert main(["submit", str(honest.path), "--to", "http://localhost:1", "--check"]) == 2
    assert main(["submit", str(honest.path), "--to", "ftp://x"]) == 2
    assert main(["submit", str(honest.path), "--token", "x"]) == 2
    assert main(["submit", str(honest.path), "--to", "http://127.0.0.1:1"]) == 1


def test_tokens_are_made_listed_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--board", str(tmp_path / "b.sqlite")]
    assert main(["leaderboard", "token", "add", "alice", "--days", "30", *place]) == 0
    assert capsys.readouterr().out.startswith("pku_")
    assert main(["leaderboard", "token", "revoke", "1", *place]) == 0
    assert main(["leaderboard", "token", "list", "--json", *place]) == 0
    (row,) = json.loads(capsys.readouterr().out)["tokens"]
    assert (row["name"], row["role"]) == ("alice", "submit") and row["revoked_at"]
    assert main(["leaderboard", "token", "add", "x", "--role", "admin", *place]) == 2


def test_a_watcher_connects_again_when_the_server_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[list[dict[str, Any]]] = [
        [{"state": "queued", "is_over": False}],
        [],
        [{"state": "accepted", "is_over": True}],
    ]

    def events(self: Client, digest: str) -> Iterator[dict[str, Any]]:
        if not parts:
            raise client_module.Unreachable("gone")
        yield from parts.pop(0)
        raise client_module.Unreachable("broke")

    monkeypatch.setattr(Client, "_events", events)
    monkeypatch.setattr(client_module, "RETRY_S", 0.0)
    client = Client("http://localhost:1")
    assert [status["state"] for status in client.watch("d")] == ["queued", "accepted"]
    with pytest.raises(client_module.Unreachable, match="gone"):
        next(client.watch("d"))
