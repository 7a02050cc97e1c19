"""The JSON API, described by OpenAPI."""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from pkubench.leaderboard.service.desk import (
    LOOK_S,
    Digest,
    DigestQuery,
    bearer_of,
    client_of,
    desk_of,
)
from pkubench.leaderboard.service.jobs import JobStatus
from pkubench.leaderboard.service.uploads import check_size

KEEP_ALIVE_S = 15.0
"""Proxies end streams in which nothing is sent for long."""


def status_json(status: JobStatus) -> dict[str, Any]:
    """Return the state of a submission as the API reports it."""
    return {**status._asdict(), "is_over": status.is_over}


API = APIRouter(prefix="/api/v1", tags=["board"])


@API.get("/board")
def read_board(request: Request) -> Response:
    """Return every submission and entry with its report."""
    data = desk_of(request).pages.file("board.json")
    return Response(data, media_type="application/json")


@API.get("/standings")
def read_standings(request: Request) -> dict[str, Any]:
    """Return the ranking of every task that has an entry."""
    return {"tasks": desk_of(request).pages.standings()}


@API.get("/compare")
def compare(request: Request, a: DigestQuery, b: DigestQuery) -> dict[str, Any]:
    """Compare two submissions on each task of both, and over these together."""
    found = desk_of(request).pages.comparison(a, b)
    overall = None
    if found.overall is not None:
        chance = found.overall.chance._asdict()
        bounds = {k: None if math.isnan(v) else v for k, v in chance.items()}
        overall = {
            "tasks": list(found.overall.tasks),
            "chance": bounds,
            "p_value": found.overall.p_value,
        }
    return {"tasks": [pair.to_json() for pair in found.pairs], "overall": overall}


@API.get("/queue")
def read_queue(request: Request) -> dict[str, Any]:
    """Return the jobs without a verdict, and how many there are in each state."""
    queue = desk_of(request).queue
    return {"counts": queue.counts(), "jobs": [status_json(job) for job in queue.unfinished()]}


@API.post("/submissions", status_code=202)
async def submit(request: Request) -> dict[str, Any]:
    """Queue a bundle: the zip file is the body. Needs a token with the role ``submit``."""
    desk = desk_of(request)
    holder = await run_in_threadpool(desk.holder, bearer_of(request), client_of(request))
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


@API.get("/submissions/{digest}")
def read_submission(request: Request, digest: Digest) -> dict[str, Any]:
    """Return the state of a submission, and its verdicts by task once it has them."""
    return status_json(desk_of(request).queue.status(digest))


@API.get("/submissions/{digest}/events", response_class=StreamingResponse)
async def watch_submission(request: Request, digest: Digest) -> StreamingResponse:
    """Send the state of a submission whenever it changes, as server-sent events."""
    desk = desk_of(request)
    desk.check_watchers()
    first = await run_in_threadpool(desk.glance, digest)

    async def events(status: JobStatus) -> AsyncIterator[str]:
        sent, at = "", time.monotonic()
        with desk.watching():
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
                await asyncio.sleep(LOOK_S)
                status = await run_in_threadpool(desk.glance, digest)

    return StreamingResponse(events(first), media_type="text/event-stream")


@API.post("/submissions/{digest}/retry", status_code=202)
def retry_submission(request: Request, digest: Digest) -> dict[str, Any]:
    """Queue a dead submission again. Needs a token with the role ``maintain``."""
    desk = desk_of(request)
    desk.holder(bearer_of(request), client_of(request), "maintain")
    desk.queue.retry(digest)
    return status_json(desk.queue.status(digest))
