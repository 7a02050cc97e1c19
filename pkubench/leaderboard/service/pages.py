"""The site's pages as a server shows them: as of the latest verdict, filled once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pkubench.errors import UnknownName
from pkubench.leaderboard.board.comparing import (
    Overall,
    Pairing,
    compare_entries,
    compare_overall,
)
from pkubench.leaderboard.board.entries import Submitter
from pkubench.leaderboard.board.store import Board
from pkubench.leaderboard.site.builder import Site
from pkubench.leaderboard.site.comparison_pages import entries_of

RETRY_S = 60.0
"""How long the earlier pages are served after a failure before the board is read again."""
_LOG = logging.getLogger("pkubench.leaderboard.server")
_UNKEPT = ("downloads/", "films/")
"""Files that are made on each request: they are large, or rarely asked for."""


class Comparison(NamedTuple):
    """Two submissions on the tasks of both."""

    first: Submitter
    second: Submitter
    pairs: Sequence[Pairing]
    overall: Overall | None


class _Edition(NamedTuple):
    """The pages of one version of the board."""

    version: int
    site: Site
    filled: dict[str, bytes]
    """Pages that somebody asked for, by their addresses."""


class LivePages:
    """Pages of a board that changes.

    While the board is read again after a change, the pages from before it are served, so that no
    reader waits for the ranking of a large board.
    """

    def __init__(self, board: Board, address: str = "") -> None:
        """Read the board for the first time; ``address`` is the server's."""
        self._address, self._board = address, board
        self._lock, self._next_try = threading.Lock(), 0.0
        self._edition = self._read()

    def refresh(self) -> None:
        """Read the board now, if it has changed."""
        with self._lock:
            if self._board.version() == self._edition.version:
                return
            try:
                self._edition = self._read()
            except Exception:
                # The pages there are stay; to try at each request would read the board each time.
                self._next_try = time.monotonic() + RETRY_S
                _LOG.exception("the board's pages cannot be made")

    def file(self, name: str) -> bytes | None:
        """Return a file of the site; None if there is none of this name."""
        _, site, filled = self._latest()
        make = site.files.get(name)
        if make is None:
            return None
        if name.startswith(_UNKEPT):
            return make()
        if name not in filled:
            filled[name] = make()
        return filled[name]

    def page(self, name: str, template: str, **values: Any) -> bytes:
        """Fill a page that only a server has."""
        return self._latest().site.page(name, template, **values)

    def standings(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return the standings of each task, as JSON values."""
        pages = self._latest().site.pages
        return {page.task.id: [one.to_json() for one in page.standings] for page in pages}

    def comparison(self, first: str, second: str, task: str | None = None) -> Comparison:
        """Compare two submissions on the tasks of both, or on one of them.

        Raises:
            UnknownName: the board has no entries of one.
        """
        site = self._latest().site
        names = {s.digest: s for s in site.submitters}
        for digest in (first, second):
            if digest not in site.pages_of:
                raise UnknownName("submission with an entry", digest[:64], ())
        own = [entries_of(site.pages_of[digest], digest) for digest in (first, second)]
        tasks = {page.task.id: page.task for page in site.pages}
        pairs = [
            compare_entries(tasks[name], own[0][name], own[1][name])
            for name in tasks
            if name in own[0] and name in own[1] and task in (None, name)
        ]
        overall = None if task is not None else compare_overall(tasks, *own)
        return Comparison(names[first], names[second], pairs, overall)

    def _read(self) -> _Edition:
        version = self._board.version()  # before the entries: a change in between is seen later
        return _Edition(version, Site(self._board, is_live=True, address=self._address), {})

    def _latest(self) -> _Edition:
        """Return the pages there are, and start to read the board again if it has changed."""
        is_idle = not self._lock.locked() and time.monotonic() >= self._next_try
        if is_idle and self._board.version() != self._edition.version:
            threading.Thread(target=self.refresh, daemon=True).start()
        return self._edition
