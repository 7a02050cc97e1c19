"""The web server of a board: the site's pages, submissions, and a JSON API described by OpenAPI."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response

from pkubench import __version__
from pkubench.leaderboard.board.store import Board
from pkubench.leaderboard.service.api import API
from pkubench.leaderboard.service.desk import STATUS, Desk, client_of, desk_of, error_response
from pkubench.leaderboard.service.logs import FIELDS
from pkubench.leaderboard.service.uploads import Service
from pkubench.leaderboard.service.web import PAGES

_LOG = logging.getLogger("pkubench.leaderboard.server")
_HEADERS = {
    # Names and texts of submissions are escaped; this is the second wall.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "media-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


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
    app.state.desk = Desk(board, service or Service())
    app.include_router(API)
    app.include_router(PAGES)
    app.middleware("http")(_answer)
    for error in STATUS:
        app.add_exception_handler(error, error_response)
    return app


async def _answer(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    started = time.monotonic()
    response = await call(request)
    response.headers.update(_HEADERS)
    seconds = time.monotonic() - started
    desk_of(request).meters.count(response.status_code, seconds)
    details = {
        "method": request.method,
        "path": request.url.path,
        "status": response.status_code,
        "client": client_of(request),
        "seconds": round(seconds, 4),
    }
    _LOG.info("request", extra={FIELDS: details})
    return response
