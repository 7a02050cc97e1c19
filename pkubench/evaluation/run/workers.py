"""Worker processes: each serves one agent, and a hang or a crash fails one block, not the run.

Workers are started as plain child processes rather than by ``multiprocessing``: the caller's
script is not imported again, the environment is set before NumPy loads (one thread, a fixed hash
seed), and what comes back is JSON, so that nothing an agent sends is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import multiprocessing.connection as mpc
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

import pkubench.errors as errors
from pkubench.errors import AgentError, PkubenchError
from pkubench.evaluation.run.episodes import OUT_OF_TIME, TIMEOUT, failed_record
from pkubench.evaluation.run.execution import Job, Result, deadline_of, out_of_time
from pkubench.plugins import PLUGINS, for_workers
from pkubench.tasks.records import EpisodeRecord, parse_record

POLL_S = 0.1
STARTED, STEPS, LOADING, SLOTS = 0, 1, 2, 3
"""Shared numbers: when the agent's call began (0: none runs), steps taken, whether it loads."""

ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    )
}


_KILLED = re.compile(r"ended by SIG(KILL|TERM|INT|HUP)\b")


class WorkerError(PkubenchError):
    """A fault of the evaluation itself (environment or harness), with the worker's traceback."""

    exit_code = 1


class ProcessPool:
    """Runs jobs in up to ``workers`` processes."""

    def __init__(self, workers: int, variables: Mapping[str, str] | None = None) -> None:
        """Start no process yet; each starts when there is a job for it.

        Args:
            workers: How many processes.
            variables: Environment variables of the processes in addition to this one's, such as the
                kernel of the linear algebra (see ``machine.environment_of``).
        """
        if workers < 1:
            raise errors.ConfigError(f"workers must be at least 1, got {workers}")
        self.workers = workers
        self.variables = dict(variables or {})
        self._idle: list[_Worker] = []

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield results as they arrive; jobs are handed out one by one, in order."""
        waiting, started = deque(jobs), time.monotonic()
        busy: list[_Worker] = []
        try:
            while waiting or busy:
                while waiting and time.monotonic() > deadline_of(waiting[0], started):
                    yield out_of_time(waiting.popleft())
                while waiting and len(busy) < self.workers:
                    worker = self._worker_for(waiting[0].owner, len(busy))
                    worker.assign(waiting.popleft())
                    busy.append(worker)
                ready = mpc.wait([worker.connection for worker in busy], timeout=POLL_S)
                for worker in list(busy):
                    result = worker.poll(worker.connection in ready, started)
                    if result is None:
                        continue
                    busy.remove(worker)
                    if worker.alive:
                        self._idle.append(worker)
                    yield result
        finally:
            for worker in busy:
                worker.kill()

    def close(self) -> None:
        """End all processes."""
        while self._idle:
            self._idle.pop().kill()

    def _worker_for(self, owner: str, busy: int) -> _Worker:
        for worker in self._idle:
            if worker.owner == owner:
                self._idle.remove(worker)
                return worker
        while self._idle and len(self._idle) + busy >= self.workers:
            self._idle.pop().kill()
        return _Worker(owner, self.variables)


class _Worker:
    """One child process, seen from the parent."""

    def __init__(self, owner: str, variables: Mapping[str, str]) -> None:
        self.owner = owner
        self.job: Job | None = None
        self.records: dict[int, EpisodeRecord] = {}
        self.alive = True
        self.connection, theirs = mpc.Pipe()
        with tempfile.TemporaryFile() as shared:
            shared.truncate(8 * SLOTS)
            self._memory = mmap.mmap(shared.fileno(), 8 * SLOTS)
            self.slots = np.frombuffer(self._memory, dtype=np.float64)
            fds = (theirs.fileno(), shared.fileno())
            path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            environment = {**os.environ, PLUGINS: for_workers(), **variables}
            if "OPENBLAS_CORETYPE" in variables:  # a cache size that was set for another kernel
                environment.pop("OPENBLAS_L2_SIZE", None)
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pkubench.evaluation.run.worker", *map(str, fds)],
                env={**environment, **ONE_THREAD, "PYTHONHASHSEED": "0", "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=2,  # what an agent prints must not mix with results on stdout
                pass_fds=fds,
                start_new_session=True,  # the parent handles Ctrl-C; one kill reaches the children
            )
        theirs.close()

    def assign(self, job: Job) -> None:
        self.job, self.records = job, {}
        self.slots[:] = 0.0
        # A worker that died before it read the job is found by the next poll.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(pickle.dumps(job))

    def poll(self, is_ready: bool, pool_started: float) -> Result | None:
        """Take what the worker sent; return the result once the job is over."""
        assert self.job is not None
        while is_ready:
            try:
                message = json.loads(self.connection.recv_bytes())
            except (EOFError, ConnectionResetError):
                return self._died(self._crash_reason())
            if self._take(message):
                return self._result()
            is_ready = self.connection.poll()
        if time.monotonic() > deadline_of(self.job, pool_started):
            self.kill()
            return self._died(OUT_OF_TIME)
        started, limits = float(self.slots[STARTED]), self.job.limits
        limit = limits.load if self.slots[LOADING] else limits.act
        if started > 0 and limit is not None and time.monotonic() - started > limit:
            self.kill()
            return self._died(TIMEOUT)
        return None

    def kill(self) -> None:
        """End the process and whatever it started."""
        if self.alive:
            self.alive = False
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.connection.close()

    def _take(self, message: dict[str, Any]) -> bool:
        if "record" in message:
            record = parse_record(message["record"], "a worker's message")
            self.records[record.episode] = record
        elif "error" in message:
            self.kill()
            raise error_named(message["error"], message["text"])
        return "done" in message

    def _died(self, reason: str) -> Result:
        assert self.job is not None
        loading, steps = bool(self.slots[LOADING]), int(self.slots[STEPS])
        self.kill()
        is_late = reason == OUT_OF_TIME
        if not is_late and (loading or (not self.slots[STARTED] and steps == 0)):
            raise AgentError(f"agent {self.owner!r} could not be loaded: {reason}")
        for episode in self.job.episodes:
            if episode.number not in self.records:
                self.records[episode.number] = failed_record(episode, steps, reason)
        return self._result()

    def _result(self) -> Result:
        assert self.job is not None
        job, self.job = self.job, None
        return Result(job, [self.records[number] for number in sorted(self.records)])

    def _crash_reason(self) -> str:
        try:
            code = self.process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "crashed: the agent's process closed its connection"
        if code < 0:
            return f"crashed: the agent's process was ended by {signal.Signals(-code).name}"
        return f"crashed: the agent's process ended with exit code {code}"


class AgentKilled(WorkerError):
    """An agent's process was ended from outside, which says nothing about the agent."""


def check_undisturbed(failures: Iterable[str | None]) -> None:
    """Check that no agent's process was ended from outside: a restart, or too little memory.

    Such an end says nothing about the agent.

    Raises:
        AgentKilled: one was.
    """
    for failure in failures:
        if failure is not None and _KILLED.search(failure):
            raise AgentKilled(f"an agent was ended from outside, which says nothing: {failure}")


def error_named(name: str, text: str) -> PkubenchError:
    """Return the error that a worker reported, of its own class where we know it."""
    cls = getattr(errors, name, WorkerError)
    if not (isinstance(cls, type) and issubclass(cls, PkubenchError)):
        cls = WorkerError
    error: PkubenchError = cls.__new__(cls)
    Exception.__init__(error, text)
    return error
