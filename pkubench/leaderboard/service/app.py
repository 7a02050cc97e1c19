"""The web server of a board: the site's pages, submissions, and a JSON API described by OpenAPI."""

from __future__ import annotations

import asyncio
import json
import logging
import mimetypes
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from pkubench import __version__
from pkubench.errors import (
    BundleError,
    MissingExtra,
    PkubenchError,
    StorageError,
    UnknownName,
)
from pkubench.leaderboard.board.store import Board
from pkubench.leaderboard.service.jobs import JobStatus, Queue
from pkubench.leaderboard.service.pages import LivePages
from pkubench.leaderboard.service.rates import Rates
from pkubench.leaderboard.service.tokens import Holder, Role, TokenError, Tokens
from pkubench.leaderboard.service.uploads import (
    NoLength,
    Service,
    TooLarge,
    TooMany,
    check_size,
    counted,
    megabytes,
)
from pkubench.leaderboard.submissions.bundle import read_bundle

EVENTS_S = 0.5
"""How often the state of a submission that somebody watches is looked up."""
READERS = 2
"""Bundles that are read at the same time; one may unpack to a gigabyte."""
FORMS, FORM_S = 4, 600.0
"""Forms that are read at the same time, and how long reading one may take."""
KEEP_ALIVE_S = 15.0
"""Proxies end streams in which nothing is sent for long."""

_LOG = logging.getLogger("pkubench.leaderboard.server")
_HEADERS = {
    # Names and texts of submissions are escaped; this is the second wall.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
Digest = Annotated[str, InPath(pattern="^[0-9a-f]{64}$")]


_STATUS: dict[type[PkubenchError], int] = {
    TokenError: 401,
    UnknownName: 404,
    NoLength: 411,
    TooLarge: 413,
    BundleError: 422,
    TooMany: 429,
    StorageError: 503,
    MissingExtra: 503,
    PkubenchError: 422,
}
"""Class of errors -> status; the first that fits."""


def create_app(board: Board, service: Service | None = None) -> FastAPI:
    """Return the server of a board, as an ASGI application."""
    app = FastAPI(
        title="pkubench leaderboard",
        version=__version__,
        summary="Submissions, verdicts and rankings.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.desk = _Desk(board, service or Service())
    app.include_router(_API)
    app.include_router(_PAGES)
    app.middleware("http")(_answer)
    for error in _STATUS:
        app.add_exception_handler(error, _error_response)
    return app


class _Desk:
    """What the routes share."""

    def __init__(self, board: Board, service: Service) -> None:
        self.service, self.board, self._forms = service, board, 0
        self._reading = threading.BoundedSemaphore(READERS)
        self.queue, self.pages = Queue(board.database), LivePages(board)
        self.tokens, self.rates = Tokens(board.database), Rates(board.database)

    def holder(self, token: str | None, client: str, role: Role = "submit") -> Holder:
        """Return who holds a token; a client that guesses tokens has to wait.

        Raises:
            TokenError: the token gives no access.
            TooMany: the client sent too many wrong ones.
        """
        try:
            return self.tokens.holder(token, role)
        except TokenError:
            wait = self.rates.wait(f"wrong token:{client}"[:120], self.service.wrong_tokens)
            if wait:
                raise TooMany("wrong tokens", wait) from None
            raise

    def count(self, holder: Holder) -> None:
        """Count a submission.

        Raises:
            TooMany: it is one too many.
        """
        wait = self.rates.wait(f"submit:{holder.id}", self.service.submissions)
        if wait:
            raise TooMany(f"submissions of {holder.name}", wait)

    @asynccontextmanager
    async def form_place(self) -> AsyncIterator[None]:
        """Hold one of the places for forms, whose bodies are read before their tokens.

        Raises:
            TooMany: all are taken.
        """
        if self._forms >= FORMS:
            raise TooMany("uploads by the form at once", FORM_S)
        self._forms += 1
        try:
            async with asyncio.timeout(FORM_S):
                yield
        except TimeoutError:
            raise TooLarge("the upload took too long; use `pkubench submit`") from None
        finally:
            self._forms -= 1

    def take(self, path: Path, holder: Holder) -> JobStatus:
        """Check a bundle and queue it.

        Raises:
            BundleError: it is not acceptable, with the reason.
        """
        with self._reading:
            bundle = read_bundle(path)
        self.queue.add(bundle.digest, bundle.manifest.name, path.read_bytes(), holder.id)
        return self.queue.status(bundle.digest)


async def _answer(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    started = time.monotonic()
    response = await call(request)
    response.headers.update(_HEADERS)
    _LOG.info(
        json.dumps(
            {
                "method": request.method,
                "path": request.url.path,
                "status": response.status_code,
                "client": _client(request),
                "seconds": round(time.monotonic() - started, 4),
            }
        )
    )
    return response


async def _error_response(request: Request, error: Exception) -> Response:
    status = _status_of(error)
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    if isinstance(error, TooMany):
        headers["retry-after"] = str(int(error.wait_s) + 1)
    return JSONResponse({"error": _public(error)}, status, headers)


def _public(error: Exception) -> str:
    """Return an error's text for everyone: not the place, user or driver of the database."""
    if isinstance(error, StorageError):
        _LOG.error("%s", error)
        return "the board is not available; try again later"
    return str(error)


def _status_of(error: Exception) -> int:
    return next(code for kind, code in _STATUS.items() if isinstance(error, kind))


def _desk(request: Request) -> _Desk:
    desk: _Desk = request.app.state.desk
    return desk


def _client(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _bearer(request: Request) -> str | None:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def status_json(status: JobStatus) -> dict[str, Any]:
    """Return the state of a submission as the API reports it."""
    return {**status._asdict(), "is_over": status.is_over}


_API = APIRouter(prefix="/api/v1", tags=["board"])


@_API.get("/board")
def read_board(request: Request) -> Response:
    """Return every submission and entry with its report."""
    data = _desk(request).pages.file("board.json")
    return Response(data, media_type="application/json")


@_API.get("/standings")
def read_standings(request: Request) -> dict[str, Any]:
    """Return the ranking of every task that has an entry."""
    return {"tasks": _desk(request).pages.standings()}


@_API.get("/queue")
def read_queue(request: Request) -> dict[str, Any]:
    """Return the jobs without a verdict, and how many there are in each state."""
    queue = _desk(request).queue
    return {"counts": queue.counts(), "jobs": [status_json(job) for job in queue.unfinished()]}


@_API.post("/submissions", status_code=202)
async def submit(request: Request) -> dict[str, Any]:
    """Queue a bundle: the zip file is the body. Needs a token with the role ``submit``."""
    desk = _desk(request)
    holder = await run_in_threadpool(desk.holder, _bearer(request), _client(request))
    check_size(request.headers.get("content-length"), desk.service)
    await run_in_threadpool(desk.count, holder)
    with tempfile.TemporaryDirectory(prefix="pkubench-upload-") as folder:
        path, size = Path(folder) / "bundle.zip", 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                check_size(str(size), desk.service)
                file.write(chunk)
        return status_json(await run_in_threadpool(desk.take, path, holder))


@_API.get("/submissions/{digest}")
def read_submission(request: Request, digest: Digest) -> dict[str, Any]:
    """Return the state of a submission, and its verdicts by task once it has them."""
    return status_json(_desk(request).queue.status(digest))


@_API.get("/submissions/{digest}/events", response_class=StreamingResponse)
async def watch_submission(request: Request, digest: Digest) -> StreamingResponse:
    """Send the state of a submission whenever it changes, as server-sent events."""
    queue = _desk(request).queue
    first = await run_in_threadpool(queue.status, digest)

    async def events() -> AsyncIterator[str]:
        status, sent, at = first, "", time.monotonic()
        while True:
            text = json.dumps(status_json(status))
            if text != sent:
                yield f"data: {text}\n\n"
                sent, at = text, time.monotonic()
            elif time.monotonic() - at > KEEP_ALIVE_S:
                yield ":\n\n"
                at = time.monotonic()
            if status.is_over:
                return
            await asyncio.sleep(EVENTS_S)
            status = await run_in_threadpool(queue.status, digest)

    return StreamingResponse(events(), media_type="text/event-stream")


@_API.post("/submissions/{digest}/retry", status_code=202)
def retry_submission(request: Request, digest: Digest) -> dict[str, Any]:
    """Queue a dead submission again. Needs a token with the role ``maintain``."""
    desk = _desk(request)
    desk.holder(_bearer(request), _client(request), "maintain")
    desk.queue.retry(digest)
    return status_json(desk.queue.status(digest))


_PAGES = APIRouter(include_in_schema=False)


@_PAGES.get("/healthz")
def health(request: Request) -> dict[str, str]:
    """Return 200 while the database answers; 503 otherwise."""
    _desk(request).board.version()
    return {"status": "ok"}


@_PAGES.get("/metrics")
def metrics(request: Request) -> Response:
    """Return figures in the text format of Prometheus."""
    desk = _desk(request)
    lines = [
        "# HELP pkubench_jobs Submissions by state.",
        "# TYPE pkubench_jobs gauge",
        *(f'pkubench_jobs{{state="{k}"}} {n}' for k, n in desk.queue.counts().items()),
        "# HELP pkubench_board_version Changes of the board.",
        "# TYPE pkubench_board_version counter",
        f"pkubench_board_version {desk.board.version()}",
    ]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


@_PAGES.get("/queue.html")
def queue_page(request: Request) -> Response:
    """Show what waits, and the latest verdicts."""
    desk = _desk(request)
    waiting, recent = desk.queue.unfinished(), desk.queue.recent()
    return _html(desk.pages.page("queue.html", "queue.html", waiting=waiting, recent=recent))


@_PAGES.get("/submissions/{digest}.html")
def submission_page(request: Request, digest: Digest) -> Response:
    """Show the state of one submission."""
    desk = _desk(request)
    name, job = f"submissions/{digest}.html", desk.queue.status(digest)
    return _html(desk.pages.page(name, "submission.html", job=job))


@_PAGES.get("/submit.html")
def submit_page(request: Request) -> Response:
    """Show how to submit, and a form."""
    return _form(request, "", 200)


@_PAGES.post("/submit")
async def submit_form(request: Request) -> Response:
    """Queue the bundle of the form, and go to its page."""
    desk = _desk(request)
    try:
        async with (
            desk.form_place(),
            counted(request, desk.service).form(max_files=1, max_fields=4) as form,
        ):
            token, upload = form.get("token"), form.get("bundle")
            token = token if isinstance(token, str) else None
            holder = await run_in_threadpool(desk.holder, token, _client(request))
            await run_in_threadpool(desk.count, holder)
            if upload is None or isinstance(upload, str):
                raise BundleError("the form has no file")
            with tempfile.TemporaryDirectory(prefix="pkubench-upload-") as folder:
                path, size = Path(folder) / "bundle.zip", 0
                with path.open("wb") as file:
                    while chunk := await upload.read(1 << 20):
                        size += len(chunk)
                        check_size(str(size), desk.service)
                        file.write(chunk)
                status = await run_in_threadpool(desk.take, path, holder)
    except PkubenchError as error:
        return _form(request, _public(error), _status_of(error))
    return RedirectResponse(f"submissions/{status.digest}.html", 303)


@_PAGES.get("/{name:path}")
def site_file(request: Request, name: str) -> Response:
    """Return a file of the site."""
    name = name or "index.html"
    data = _desk(request).pages.file(name)
    if data is None:
        raise HTTPException(404, "there is no such page")
    kind = "text/plain" if name.endswith(".jsonl") else mimetypes.guess_type(name)[0]
    headers = {"content-disposition": "attachment"} if name.startswith("downloads/") else {}
    return Response(data, media_type=kind or "application/octet-stream", headers=headers)


def _form(request: Request, problem: str, code: int) -> Response:
    desk = _desk(request)
    values = {
        "problem": problem,
        "limit": megabytes(desk.service),
        "address": str(request.base_url).rstrip("/"),
    }
    return _html(desk.pages.page("submit.html", "submit.html", **values), code)


def _html(data: bytes, code: int = 200) -> Response:
    return Response(data, code, media_type="text/html; charset=utf-8")
