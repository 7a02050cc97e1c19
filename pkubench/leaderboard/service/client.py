"""Submitting to a served board over HTTP, with the standard library alone."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pkubench.errors import BundleError, ConfigError, PkubenchError, RefusedError

TIMEOUT_S = 60.0
"""How long the server may say nothing; it sends a comment every 15 s while somebody watches."""
_LONGEST = 1 << 20
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
RETRIES, RETRY_S = 5, 2.0
"""How often, and after how many seconds, a lost connection is made again while watching."""


class ServerError(PkubenchError):
    """The board's server answers with an error of its own, or with something else."""

    exit_code = 1


class Unreachable(ServerError):
    """The board's server cannot be reached, or the connection broke."""


class Client:
    """One board's server."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Talk to the board at an address.

        Raises:
            ConfigError: it is not an http or https address, or a token would be sent to another
                machine unencrypted.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--to {url!r} is not the address of a board, such as https://HOST")
        if token and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(f"--to {url!r} would send the token unencrypted; use https://")
        self._api, self._token = url.rstrip("/") + "/api/v1", token

    def submit(self, path: Path) -> dict[str, Any]:
        """Send a bundle and return its state in the queue.

        Raises:
            BundleError: the board does not take it, with the reason.
            RefusedError: the token gives no access.
            Unreachable: the board cannot be reached, or its database cannot.
            ServerError: it has a problem of its own, such as a rate limit.
        """
        with path.open("rb") as file:
            headers = {
                "content-type": "application/zip",
                "content-length": str(path.stat().st_size),
                **({"authorization": f"Bearer {self._token}"} if self._token else {}),
            }
            request = urllib.request.Request(
                f"{self._api}/submissions", data=file, headers=headers, method="POST"
            )
            with self._open(request) as answer:
                return _document(answer.read(_LONGEST))

    def watch(self, digest: str) -> Iterator[dict[str, Any]]:
        """Yield the state of a submission whenever it changes, until it has a verdict.

        A connection that breaks, as when the server is restarted, is made again.

        Raises:
            ServerError: the board cannot be reached for long, or does not know the submission.
        """
        failures = 0
        while True:
            try:
                for status in self._events(digest):
                    failures = 0
                    yield status
                    if status.get("is_over"):
                        return
            except Unreachable:
                failures += 1
                if failures > RETRIES:
                    raise
                time.sleep(RETRY_S)

    def _events(self, digest: str) -> Iterator[dict[str, Any]]:
        """Yield the states that one connection reports.

        Raises:
            Unreachable: it cannot be made, or ended.
        """
        request = urllib.request.Request(f"{self._api}/submissions/{digest}/events")
        try:
            with self._open(request) as answer:
                for line in answer:
                    if line.startswith(b"data: "):
                        yield _document(line[6:])
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the connection to {self._api} broke: {error}") from error
        raise Unreachable(f"{self._api} ended the stream without a verdict; ask again later")

    def _open(self, request: urllib.request.Request) -> Any:
        try:
            return _OPENER.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            try:
                reason = str(json.loads(error.read(_LONGEST))["error"])
            except (ValueError, KeyError, TypeError, OSError):
                reason = f"it answered {error.code} {error.reason}"
            kind = {401: RefusedError, 413: BundleError, 422: BundleError}.get(error.code)
            other = Unreachable if error.code >= 500 else ServerError
            raise (kind or other)(reason) from error
        except (OSError, http.client.HTTPException) as error:  # URLError too
            raise Unreachable(f"cannot reach {self._api}: {error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would send the token on to wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        """Return no further request."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _document(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ServerError("the answer is not one of a pkubench leaderboard")
    return found
