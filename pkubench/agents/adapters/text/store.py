"""Answers that were paid for once, and the ledger of what they cost: one SQLite file for all.

Worker processes share the file. An answer is stored when it arrives, so an evaluation that is
killed and resumed asks nothing again that was answered. A request is entered in the ledger before
it is sent, at the most that it can cost, so that a cap holds whatever the number of workers; a
request that was under way when its process was killed stays entered so, because the server may
have charged it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pkubench.errors import AgentUnavailable

FILE = "answers.sqlite"
_WAIT_S = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, reply TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ledger (
    id INTEGER PRIMARY KEY, agent TEXT NOT NULL, tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL, is_settled INTEGER NOT NULL);
"""


class Tokens(NamedTuple):
    """Tokens of requests: what was sent, and what came back."""

    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class Caps:
    """How much all requests in the ledger may take together. None: as much as they need."""

    tokens: int | None = None
    cost: float | None = None
    """In the currency of the prices."""
    price_sent: float = 0.0
    """Of a million tokens that are sent."""
    price_received: float = 0.0

    def cost_of(self, tokens: Tokens) -> float:
        """Return what tokens cost."""
        return (tokens.sent * self.price_sent + tokens.received * self.price_received) / 1e6

    def exceeded(self, tokens: Tokens) -> str:
        """Return which cap tokens are over, with the variable that sets it; "" if none."""
        if self.tokens is not None and sum(tokens) > self.tokens:
            return f"PKUBENCH_LLM_MAX_TOKENS={self.tokens}"
        if self.cost is not None and self.cost_of(tokens) > self.cost:
            return f"PKUBENCH_LLM_MAX_COST={self.cost:g}"
        return ""


def key_of(**parts: Any) -> str:
    """Return the key of a request: SHA-256 of what the answer may depend on."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class AnswerStore:
    """The file of answers and its ledger. Every method is one transaction."""

    def __init__(self, folder: Path) -> None:
        """Use the file in ``folder``, which is made when it is first needed."""
        self.path = folder / FILE
        self._connection: sqlite3.Connection | None = None

    def __getstate__(self) -> Mapping[str, Any]:
        """Return what another process needs; it opens the file itself."""
        return {"path": self.path, "_connection": None}

    def find(self, key: str) -> str | None:
        """Return the stored answer to a request.

        Raises:
            AgentUnavailable: the file cannot be read.
        """
        with self._transaction() as sql:
            row = sql.execute("SELECT reply FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def keep(self, key: str, reply: str) -> None:
        """Store an answer.

        Raises:
            AgentUnavailable: the file cannot be written; answers stored before are kept.
        """
        with self._transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, reply))

    def reserve(self, agent: str, most: Tokens, caps: Caps) -> int:
        """Enter a request at the most it can take; return its number in the ledger.

        Raises:
            AgentUnavailable: with it the ledger could exceed a cap, or the file cannot be written.
        """
        with self._transaction() as sql:
            spent = _spent(sql)
            after = Tokens(spent.sent + most.sent, spent.received + most.received)
            if over := caps.exceeded(after):
                raise AgentUnavailable(
                    f"the budget is spent: {sum(spent):,} tokens ({caps.cost_of(spent):.4g}) are "
                    f"in the ledger {self.path}, and the next request may exceed {over}; raise "
                    "it, and the same command resumes"
                )
            cursor = sql.execute(
                "INSERT INTO ledger (agent, tokens_in, tokens_out, is_settled) VALUES (?, ?, ?, 0)",
                (agent, *most),
            )
            return int(cursor.lastrowid or 0)

    def settle(self, number: int, used: Tokens) -> None:
        """Enter what a request took instead of what was reserved.

        Raises:
            AgentUnavailable: the file cannot be written.
        """
        with self._transaction() as sql:
            sql.execute(
                "UPDATE ledger SET tokens_in = ?, tokens_out = ?, is_settled = 1 WHERE id = ?",
                (*used, number),
            )

    def spent(self) -> Tokens:
        """Return what all requests in the ledger took, or may have taken.

        Raises:
            AgentUnavailable: the file cannot be read.
        """
        with self._transaction() as sql:
            return _spent(sql)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._connection is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.executescript(_TABLES)
            sql = self._connection
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                    sql.execute("ROLLBACK")
                raise
            sql.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise AgentUnavailable(
                f"cannot use the answers in {self.path}: {error}; those stored are kept, so the "
                "same command resumes once it can be written"
            ) from error


def _spent(sql: sqlite3.Connection) -> Tokens:
    row = sql.execute("SELECT total(tokens_in), total(tokens_out) FROM ledger").fetchone()
    return Tokens(int(row[0]), int(row[1]))
