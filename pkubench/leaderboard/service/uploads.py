"""What is taken from submitters: limits of uploads, and the errors beyond them."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.types import Message

from pkubench.errors import PkubenchError
from pkubench.leaderboard.service.rates import Rate

SUBMISSIONS, WRONG_TOKENS = Rate(20, 24 * 3600.0), Rate(20, 60.0)
_FORM_TEXTS = 1 << 16
"""Bytes of a form besides its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The settings of a server."""

    max_upload: int = 256 << 20
    """Largest bundle, in bytes."""
    submissions: Rate = SUBMISSIONS
    """Submissions of each token."""
    wrong_tokens: Rate = WRONG_TOKENS
    """Requests with a wrong token from each address."""
    takes_code: bool = True
    """Whether bundles with code are taken."""
    address: str = ""
    """Where readers find it, for the commands on its pages; "" is what a request names."""


class TooLarge(PkubenchError):
    """An upload over the limit."""


class NoLength(PkubenchError):
    """An upload of unknown length."""


class TooMany(PkubenchError):
    """More requests than a rate limit lets through."""

    def __init__(self, what: str, wait_s: float) -> None:
        """Say after how many seconds the next one is let through."""
        super().__init__(f"too many {what}; the next one is taken in {wait_s:.0f} s")
        self.wait_s = wait_s


def check_size(length: str | None, service: Service) -> None:
    """Check a number of bytes, where there is one.

    Raises:
        TooLarge: it is over the limit.
    """
    if length is not None and length.isdecimal() and int(length) > service.max_upload:
        raise TooLarge(f"the bundle is larger than {megabytes(service)}, which this board takes")


def counted(request: Request, service: Service) -> Request:
    """Return a request whose body is read up to the limit only, since a form is read as a whole.

    Raises:
        NoLength: it does not say how long its body is.
        TooLarge: it is larger than the limit.
    """
    length = request.headers.get("content-length")
    if length is None or not length.isdecimal() or "transfer-encoding" in request.headers:
        raise NoLength("the form must be sent with a content-length")
    limit = service.max_upload + _FORM_TEXTS
    if int(length) > limit:
        check_size(length, service)
    size = 0

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > limit:
            check_size(str(size), service)
        return message

    return Request(request.scope, receive)


def megabytes(service: Service) -> str:
    """Return the limit in words."""
    return f"{service.max_upload >> 20} MB"
