"""The pages of a server: the site's, the queue, the form, and what operators read."""

from __future__ import annotations

import mimetypes
import re
import tempfile
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from pkubench.errors import BundleError, PkubenchError
from pkubench.leaderboard.service.desk import (
    Digest,
    DigestQuery,
    client_of,
    desk_of,
    public_text,
    status_of,
)
from pkubench.leaderboard.service.uploads import check_size, counted, megabytes

PAGES = APIRouter(include_in_schema=False)


@PAGES.get("/health")
@PAGES.get("/healthz")
def health(request: Request) -> dict[str, str]:
    """Return 200 while the database answers; 503 otherwise."""
    desk_of(request).board.version()
    return {"status": "ok"}


@PAGES.get("/metrics")
def metrics(request: Request) -> Response:
    """Return figures in the text format of Prometheus."""
    desk = desk_of(request)
    text = desk.meters.text(desk.queue, desk.board.version())
    return Response(text, media_type="text/plain; version=0.0.4")


@PAGES.get("/compare.html")
def comparison_page(
    request: Request, a: DigestQuery, b: DigestQuery, task: str | None = None
) -> Response:
    """Compare two submissions on the tasks of both, or on one."""
    desk = desk_of(request)
    found = desk.pages.comparison(a, b, task)
    return _html(desk.pages.page("compare.html", "compare_two.html", **found._asdict()))


@PAGES.get("/queue.html")
def queue_page(request: Request) -> Response:
    """Show what waits, and the latest verdicts."""
    desk = desk_of(request)
    waiting, recent = desk.queue.unfinished(), desk.queue.recent()
    return _html(desk.pages.page("queue.html", "queue.html", waiting=waiting, recent=recent))


@PAGES.get("/submissions/{digest}.html")
def submission_page(request: Request, digest: Digest) -> Response:
    """Show the state of one submission."""
    desk = desk_of(request)
    name, job = f"submissions/{digest}.html", desk.queue.status(digest)
    return _html(desk.pages.page(name, "submission.html", job=job))


@PAGES.get("/submit.html")
def submit_page(request: Request) -> Response:
    """Show how to submit, and a form."""
    return _form(request, "", 200)


@PAGES.post("/submit")
async def submit_form(request: Request) -> Response:
    """Queue the bundle of the form, and go to its page."""
    desk = desk_of(request)
    try:
        async with (
            desk.form_place(),
            counted(request, desk.service).form(max_files=1, max_fields=4) as form,
        ):
            token, upload = form.get("token"), form.get("bundle")
            token = token if isinstance(token, str) else None
            holder = await run_in_threadpool(desk.holder, token, client_of(request))
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
        return _form(request, public_text(error), status_of(error))
    return RedirectResponse(f"submissions/{status.digest}.html", 303)


@PAGES.get("/{name:path}")
def site_file(request: Request, name: str) -> Response:
    """Return a file of the site."""
    name = name or "index.html"
    data = desk_of(request).pages.file(name)
    if data is None:
        raise HTTPException(404, "there is no such page")
    kind = "text/plain" if name.endswith(".jsonl") else mimetypes.guess_type(name)[0]
    if name.startswith("films/"):
        return _part(data, request.headers.get("range", ""))
    headers = {"content-disposition": "attachment"} if name.startswith("downloads/") else {}
    return Response(data, media_type=kind or "application/octet-stream", headers=headers)


def _part(film: bytes, asked: str) -> Response:
    """Return a film or the part of it that is asked for, without which some browsers play nothing.

    That is a range request of RFC 9110; one that is malformed or asks for several parts gets all.
    """
    kind, headers = "video/mp4", {"accept-ranges": "bytes"}
    found = re.fullmatch(r"bytes=(\d{0,12})-(\d{0,12})", asked)
    if found is None or found[0] == "bytes=-":
        return Response(film, media_type=kind, headers=headers)
    first, last = found.groups()
    start = int(first) if first else max(0, len(film) - int(last))
    end = min(int(last), len(film) - 1) if first and last else len(film) - 1
    if start > end:
        return Response(status_code=416, headers={"content-range": f"bytes */{len(film)}"})
    headers["content-range"] = f"bytes {start}-{end}/{len(film)}"
    return Response(film[start : end + 1], 206, media_type=kind, headers=headers)


def _form(request: Request, problem: str, code: int) -> Response:
    desk = desk_of(request)
    values = {
        "problem": problem,
        "limit": megabytes(desk.service),
        "address": desk.service.address or str(request.base_url).rstrip("/"),
    }
    return _html(desk.pages.page("submit.html", "submit.html", **values), code)


def _html(data: bytes, code: int = 200) -> Response:
    return Response(data, code, media_type="text/html; charset=utf-8")
