"""What a worker process runs: receive a job, send its records, until the parent is gone."""

from __future__ import annotations

import contextlib
import json
import mmap
import multiprocessing.connection as mpc
import os
import pickle
import sys
import threading
import time
import traceback
from types import TracebackType

from pkubench.errors import AgentError, PkubenchError
from pkubench.evaluation.run.execution import Job, Loader, run_job
from pkubench.evaluation.run.failures import describe_error
from pkubench.evaluation.run.workers import LOADING, SLOTS, STARTED, STEPS
from pkubench.plugins import load_all


class SharedClock:
    """Shares with the parent when a call of the agent began; it kills those that take too long."""

    def __init__(self, slots: memoryview[float]) -> None:
        """Write to the shared numbers ``slots``, float64."""
        self.slots = slots

    def __enter__(self) -> None:
        """A call begins."""
        self.slots[STARTED] = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The call is over."""
        self.slots[STARTED] = 0.0

    def steps_taken(self, steps: int) -> None:
        """Note the progress of the block."""
        self.slots[STEPS] = steps


def main(connection_fd: int, shared_fd: int) -> None:
    """Serve jobs until the parent closes the connection."""
    connection = mpc.Connection(connection_fd)
    # A memoryview, because setting one element of an array takes NumPy twice as long.
    slots = memoryview(mmap.mmap(shared_fd, 8 * SLOTS)).cast("d")
    os.close(shared_fd)
    _end_with(os.getppid())
    clock, loader = SharedClock(slots), Loader()
    while True:
        try:
            job: Job = pickle.loads(connection.recv_bytes())
        except (EOFError, ConnectionResetError):  # closed, or killed while sending a job
            return
        try:
            _serve(job, connection, clock, loader)
        except PkubenchError as error:
            _send(connection, {"error": _class_name(error), "text": str(error)})
        except Exception:
            _send(connection, {"error": "WorkerError", "text": traceback.format_exc().strip()})


def _serve(job: Job, connection: mpc.Connection, clock: SharedClock, loader: Loader) -> None:
    load_all()  # outside the clock: importing plug-ins is not part of loading the agent
    clock.slots[LOADING] = 1.0
    with clock:
        try:
            entrant = loader(job)
        except PkubenchError:
            raise
        except (Exception, SystemExit) as error:
            raise AgentError(
                f"agent {job.owner!r} could not be loaded: {describe_error(error)}"
            ) from error
    clock.slots[LOADING] = 0.0
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    for record in run_job(job, entrant, clock, clock.steps_taken):
        _send(connection, {"record": record.line(job.task)})
    _send(connection, {"done": True})


def _class_name(error: PkubenchError) -> str:
    """Return the nearest class that ``pkubench.errors`` knows."""
    for cls in type(error).__mro__:
        if cls.__module__ == "pkubench.errors":
            return cls.__name__
    return "PkubenchError"


def _send(connection: mpc.Connection, message: dict[str, object]) -> None:
    try:
        connection.send_bytes(json.dumps(message).encode())
    except (BrokenPipeError, ConnectionResetError):  # the evaluation was killed
        raise SystemExit(0) from None


def _end_with(parent: int) -> None:
    """End this process when the parent is gone, even in the middle of a block."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(0, 9)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
