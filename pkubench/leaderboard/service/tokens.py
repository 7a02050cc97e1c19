"""Tokens: who may submit, and who may maintain the board.

A token is 32 random bytes, so a plain SHA-256 of it, which is all that is stored, cannot be
inverted. It is shown once, when it is made.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal, NamedTuple, get_args

import sqlalchemy as sql

from pkubench.errors import ConfigError, PkubenchError, UnknownName
from pkubench.leaderboard.board.database import Database, now
from pkubench.leaderboard.board.tables import TOKENS
from pkubench.leaderboard.submissions.manifest import check_text

Role = Literal["submit", "maintain"]
"""``maintain`` includes ``submit``."""

PREFIX = "pku_"
"""How every token begins, so that scanners of leaked secrets can recognise it."""

DAY_S = 86_400.0


class TokenError(PkubenchError):
    """A token that gives no access, with the reason."""


class Holder(NamedTuple):
    """Who holds a token."""

    id: int
    name: str
    role: Role


class TokenRow(NamedTuple):
    """A token without its secret, as it is listed."""

    id: int
    name: str
    role: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class Tokens:
    """The tokens of a board."""

    def __init__(self, database: Database) -> None:
        """Read and write the tokens in a board's database."""
        self._database = database

    def add(self, name: str, role: Role = "submit", days: float | None = None) -> str:
        """Make a token and return it; it cannot be shown again.

        Args:
            name: whose it is, for the queue and the list.
            role: what it allows.
            days: until it expires; None is never.

        Raises:
            ConfigError: there is no such role, or it would have expired already.
            BundleError: the name is empty, too long, or has control characters.
        """
        if role not in get_args(Role):
            raise ConfigError(f"role must be one of {', '.join(get_args(Role))}, got {role!r}")
        if days is not None and not days > 0:
            raise ConfigError(f"days must be above 0, got {days:g}")
        token = PREFIX + secrets.token_urlsafe(32)
        with self._database.transaction() as connection:
            made = now(connection)
            connection.execute(
                TOKENS.insert().values(
                    name=check_text(name, "name", 80),
                    role=role,
                    sha256=_hash(token),
                    created_at=made,
                    expires_at=None if days is None else made + days * DAY_S,
                )
            )
        return token

    def holder(self, token: str | None, role: Role = "submit") -> Holder:
        """Return who holds a token.

        Raises:
            TokenError: it is missing, unknown, expired or revoked, or does not allow ``role``.
        """
        if not token:
            raise TokenError("this needs a token; ask the board's maintainers for one")
        with self._database.transaction("read") as connection:
            row = connection.execute(
                sql.select(TOKENS).where(TOKENS.c.sha256 == _hash(token))
            ).one_or_none()
            time = now(connection)
        if row is None:
            raise TokenError("the token is not known to this board")
        if row.revoked_at is not None:
            raise TokenError(f"the token of {row.name} was revoked")
        if row.expires_at is not None and row.expires_at <= time:
            raise TokenError(f"the token of {row.name} has expired")
        if role != row.role and row.role != "maintain":
            raise TokenError(f"the token of {row.name} has the role {row.role}, not {role}")
        return Holder(row.id, row.name, row.role)

    def revoke(self, id: int) -> None:
        """Make a token useless from now on.

        Raises:
            UnknownName: there is no such token.
        """
        with self._database.transaction() as connection:
            update = TOKENS.update().where(TOKENS.c.id == id)
            if connection.execute(update.values(revoked_at=now(connection))).rowcount != 1:
                known = connection.scalars(sql.select(TOKENS.c.id))
                raise UnknownName("token", str(id), map(str, known))

    def list(self) -> tuple[TokenRow, ...]:
        """Return all tokens, the oldest first."""
        columns = [TOKENS.c[name] for name in TokenRow._fields]
        with self._database.transaction("read") as connection:
            rows = connection.execute(sql.select(*columns).order_by(TOKENS.c.id))
            return tuple(TokenRow(*row) for row in rows)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
