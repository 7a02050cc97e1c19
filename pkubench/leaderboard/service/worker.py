"""A worker: leases submissions, runs them again, and writes their verdicts; then it films.

Any number of workers may run, on any machines that reach the database. A worker that is killed
loses its lease after a while, and another one starts the submission from the beginning; entries and
verdict are written in one transaction, so nothing is counted twice.
"""

from __future__ import annotations

import datetime
import importlib.util
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pkubench.errors import BundleError, MissingExtra, StorageError
from pkubench.evaluation.run.execution import Limits
from pkubench.evaluation.run.workers import AgentKilled
from pkubench.leaderboard.board.films import Films
from pkubench.leaderboard.board.reading import Bundle
from pkubench.leaderboard.board.secret import SecretSeeds
from pkubench.leaderboard.board.store import Board
from pkubench.leaderboard.board.tiers import Verification
from pkubench.leaderboard.sandbox.bubblewrap import NoSandbox
from pkubench.leaderboard.service.filming import filmed
from pkubench.leaderboard.service.jobs import LEASE_S, Lease, LeaseLost, Queue
from pkubench.leaderboard.service.logs import FIELDS
from pkubench.leaderboard.site.builder import Site
from pkubench.leaderboard.submissions.bundle import read_bundle
from pkubench.leaderboard.submissions.verify import TOTAL_S, verify_bundle

POLL_S = 2.0
"""How often an idle worker looks for a job."""
SUBMIT_WAITS_S = (1.0, 5.0, 15.0)
"""Waits between attempts to store a verdict."""
_LOG = logging.getLogger("pkubench.leaderboard.worker")


class Worker:
    """Works on one submission at a time."""

    def __init__(
        self,
        board: Board,
        *,
        processes: int = 1,
        limits: Limits | None = None,
        lease_s: float = LEASE_S,
        name: str | None = None,
        films: bool = True,
    ) -> None:
        """Work for a board.

        Args:
            board: where jobs are leased, and entries and verdicts are written.
            processes: how many play episodes; 0 plays them in this one.
            limits: how long a submission may take.
            lease_s: after how long without a heartbeat another worker takes a job over.
            name: in the queue; None is the machine's and the process's.
            films: whether ``film`` films entries.
        """
        self.board, self.queue = board, Queue(board.database, lease_s=lease_s)
        self.processes, self.limits = processes, limits or Limits(total=TOTAL_S)
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._films = Films(board.database) if films else None
        if films and importlib.util.find_spec("imageio_ffmpeg") is None:
            self._films = None  # others may film; nothing is stored that says it cannot be
            _LOG.warning("no films: %s", MissingExtra("plots", "writing a film"))

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; then finish the submission under way."""
        while not stop.is_set():
            try:
                if not self.work() and not self.film():
                    stop.wait(POLL_S)
            except StorageError as error:  # the database restarts, or is full
                _LOG.warning("%s", error)
                stop.wait(POLL_S)

    def work(self) -> bool:
        """Lease one job and give its verdict; False if there is none.

        Raises:
            StorageError: the board cannot be used; the job is leased again later.
        """
        lease = self.queue.lease(self.name)
        if lease is None:
            return False
        details = {"submission": lease.digest, "attempt": lease.attempt, "worker": self.name}
        started = time.monotonic()
        _LOG.info("submission leased", extra={FIELDS: details})
        try:
            self._judge(lease)
        except LeaseLost as error:
            _LOG.warning("%s", error)
        except StorageError:
            raise
        except Exception as error:
            # A fault of this machine or of pkubench, such as a missing extra: never a verdict.
            _LOG.exception("submission %s", lease.digest)
            # Other texts could hold paths, values, or the seed of a secret episode.
            is_public = isinstance(error, MissingExtra | NoSandbox | AgentKilled)
            self._report(lease, str(error) if is_public else "the worker failed; its log says why")
        state = self.queue.status(lease.digest).state
        seconds = round(time.monotonic() - started, 3)
        _LOG.info(
            "submission left", extra={FIELDS: {**details, "state": state, "seconds": seconds}}
        )
        return True

    def film(self) -> bool:
        """Film one entry of the board; False if none lacks a film.

        Raises:
            StorageError: the board cannot be used.
        """
        wanted = None if self._films is None else self._films.missing()
        if self._films is None or wanted is None:
            return False
        self._films.add(wanted.entry, filmed(self.board, wanted))
        return True

    def _report(self, lease: Lease, reason: str) -> None:
        try:
            self.queue.fail(lease, reason)
        except LeaseLost as error:
            _LOG.warning("%s", error)

    def _judge(self, lease: Lease) -> None:
        with tempfile.TemporaryDirectory(prefix="pkubench-worker-") as folder, self._beat(lease):
            path = Path(folder) / "bundle.zip"
            path.write_bytes(self.queue.bundle(lease))
            try:
                bundle = read_bundle(path)
                verification = verify_bundle(
                    bundle,
                    workers=self.processes,
                    limits=self.limits,
                    on_block=lambda text: self._tell(lease, text),
                    secret=SecretSeeds.of(self.board.database),
                    sandbox_graphs=True,
                )
                _check_pages(bundle, verification)
                self._accept(lease, bundle, verification)
            except BundleError as error:
                self.queue.refuse(lease, str(error).removeprefix("not submitted: "))

    def _tell(self, lease: Lease, progress: str) -> None:
        """Report progress; a database that is away for a while costs no work."""
        try:
            self.queue.heartbeat(lease, progress)
        except StorageError as error:
            _LOG.warning("%s", error)

    def _accept(self, lease: Lease, bundle: Bundle, verification: Verification) -> None:
        """Store what took long to find, even if the database is away for a while."""
        for wait in (*SUBMIT_WAITS_S, None):
            try:
                self.board.submit(
                    bundle,
                    verification,
                    submitted_at=datetime.datetime.now(datetime.UTC),
                    also=lambda connection, found: self.queue.accept(connection, lease, found),
                )
                return
            except StorageError as error:
                if wait is None:
                    raise
                _LOG.warning("%s", error)
                time.sleep(wait)

    @contextmanager
    def _beat(self, lease: Lease) -> Iterator[None]:
        """Hold a lease while a block of episodes takes long."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(self.queue.lease_s / 3):
                try:
                    self.queue.heartbeat(lease)
                except LeaseLost:  # the next report of progress ends the work
                    return
                except StorageError as error:
                    _LOG.warning("%s", error)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _check_pages(bundle: Bundle, verification: Verification) -> None:
    """Make the pages of a submission alone, so that none can break those of the board.

    Raises:
        BundleError: they cannot be made.
    """
    if verification.is_contradicted:
        return
    with Board.open() as alone:
        alone.submit(bundle, verification)
        try:
            for make in Site(alone, is_live=True, is_whole=False).files.values():
                make()
        except (ArithmeticError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise BundleError(f"its pages cannot be made: {type(error).__name__}") from error
