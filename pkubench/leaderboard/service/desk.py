"""What the routes of a server share: the board, its queue, tokens and rates, and their errors."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Path as InPath
from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response

from pkubench.errors import (
    BundleError,
    MissingExtra,
    PkubenchError,
    StorageError,
    UnknownName,
)
from pkubench.leaderboard.board.store import Board
from pkubench.leaderboard.service.jobs import JobStatus, Queue
from pkubench.leaderboard.service.meters import Meters
from pkubench.leaderboard.service.pages import LivePages
from pkubench.leaderboard.service.rates import Rates
from pkubench.leaderboard.service.tokens import Holder, Role, TokenError, Tokens
from pkubench.leaderboard.service.uploads import (
    NoLength,
    Service,
    TooLarge,
    TooMany,
)
from pkubench.leaderboard.submissions.bundle import read_bundle

READERS = 2
"""Bundles that are read at the same time; one may unpack to a gigabyte."""
WATCHERS, LOOK_S = 200, 0.5
"""Submissions that are watched at the same time, and how often the state of each is looked up,
whoever watches it."""
KEEP_AWAY_S = 30.0
"""After how long one who finds no place may ask again."""
FORMS, FORM_S = 4, 600.0
"""Forms that are read at the same time, and how long reading one may take."""

Digest = Annotated[str, InPath(pattern="^[0-9a-f]{64}$")]
DigestQuery = Annotated[str, Query(pattern="^[0-9a-f]{64}$")]
_LOG = logging.getLogger("pkubench.leaderboard.server")

STATUS: dict[type[PkubenchError], int] = {
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


class Desk:
    """What the routes share."""

    def __init__(self, board: Board, service: Service) -> None:
        """Read the board's pages for the first time."""
        self.service, self.board, self._forms = service, board, 0
        self._reading = threading.BoundedSemaphore(READERS)
        self.queue, self.pages = Queue(board.database), LivePages(board, service.address)
        self.meters = Meters()
        self.tokens, self.rates = Tokens(board.database), Rates(board.database)
        self._seen, self._watchers = dict[str, tuple[float, JobStatus]](), 0

    def holder(self, token: str | None, client: str, role: Role = "submit") -> Holder:
        """Return who holds a token; a client that guesses tokens has to wait.

        Raises:
            TokenError: the token gives no access.
            TooMany: the client sent too many wrong ones.
        """
        try:
            return self.tokens.holder(token, role)
        except TokenError:
            key = f"wrong token:{network_of(client)}"[:120]
            wait = self.rates.wait(key, self.service.wrong_tokens)
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

    def check_watchers(self) -> None:
        """Check that one more may watch a submission.

        Raises:
            TooMany: the places are taken.
        """
        if self._watchers >= WATCHERS:
            raise TooMany("watchers of submissions", KEEP_AWAY_S)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count who watches a submission, for as long as it is watched."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    def glance(self, digest: str) -> JobStatus:
        """Return the state of a submission, of up to half a second ago.

        Raises:
            UnknownName: it was never in the queue.
        """
        at, status = self._seen.get(digest, (0.0, None))
        now = time.monotonic()
        if status is None or now - at >= LOOK_S:
            status = self.queue.status(digest)
            if len(self._seen) > 2 * WATCHERS:  # those that are over, and not watched any more
                self._seen.clear()
            self._seen[digest] = (now, status)
        return status

    def take(self, path: Path, holder: Holder) -> JobStatus:
        """Check a bundle and queue it.

        Raises:
            BundleError: it is not acceptable, with the reason.
        """
        with self._reading:
            bundle = read_bundle(path)
        if bundle.manifest.kind == "code" and not self.service.takes_code:
            raise BundleError(
                "this board takes no code; send weights, or a policy as ONNX (`pkubench export`)"
            )
        self.queue.add(bundle.digest, bundle.manifest.name, path.read_bytes(), holder.id)
        return self.queue.status(bundle.digest)


async def error_response(request: Request, error: Exception) -> Response:
    """Answer with an error as JSON."""
    status = status_of(error)
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    if isinstance(error, TooMany):
        headers["retry-after"] = str(int(error.wait_s) + 1)
    return JSONResponse({"error": public_text(error)}, status, headers)


def public_text(error: Exception) -> str:
    """Return an error's text for everyone: not the place, user or driver of the database."""
    if isinstance(error, StorageError):
        _LOG.error("%s", error)
        return "the board is not available; try again later"
    return str(error)


def status_of(error: Exception) -> int:
    """Return the status that an error is answered with."""
    return next(code for kind, code in STATUS.items() if isinstance(error, kind))


def desk_of(request: Request) -> Desk:
    """Return what the routes of a request's server share."""
    desk: Desk = request.app.state.desk
    return desk


def client_of(request: Request) -> str:
    """Return the address that a request comes from, as the server sees it."""
    return request.client.host if request.client else "unknown"


def network_of(client: str) -> str:
    """Return what wrong tokens are counted by: an IPv6 client has all of a network of 64 bits."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    mapped = address.ipv4_mapped
    return str(mapped or ipaddress.ip_network((address, 64), strict=False))


def bearer_of(request: Request) -> str | None:
    """Return the token in a request's header; None without one."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None
