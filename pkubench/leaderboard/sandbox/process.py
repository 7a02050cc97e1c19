"""An agent's process in a sandbox, seen from outside: frames with time limits, and named ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pkubench.errors import AgentError
from pkubench.evaluation.run.failures import printable
from pkubench.leaderboard.sandbox.bubblewrap import AGENT, SandboxLimits, sandbox_command
from pkubench.leaderboard.sandbox.frames import Array, Frame, FrameError, Kind, pack, read
from pkubench.leaderboard.sandbox.memory import watch_memory
from pkubench.leaderboard.sandbox.syscalls import syscall_filter

_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class SandboxError(AgentError):
    """An agent in a sandbox that failed or was ended; the message names the reason."""


class SandboxProcess:
    """One warm process. After an error of the pipe it is gone; a new one has to be started."""

    def __init__(
        self, folder: Path, limits: SandboxLimits, command: list[str] | None = None
    ) -> None:
        """Start it.

        Args:
            folder: the submitted files.
            limits: what it may use.
            command: how to run it; None is in a sandbox. For measuring what the sandbox costs.

        Raises:
            RefusedError: there is no bubblewrap here.
        """
        self.limits = limits
        if command is None and os.geteuid() == 0:
            _open_to_others(folder)
        with contextlib.ExitStack() as stack:
            passed = [] if command is not None else [stack.enter_context(_filter_file())]
            self._process = subprocess.Popen(
                command
                or sandbox_command(inside_program(), folder, limits, passed[0], _ONE_THREAD),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={} if command is None else None,
                cwd="/",
                start_new_session=True,
                bufsize=0,
                pass_fds=passed,
            )
        # An agent that nobody holds any more leaves no process behind, and no thread.
        self._over, self._too_large = threading.Event(), threading.Event()
        weakref.finalize(self, _end_all, self._process, self._over)
        watch_memory(
            self._process,
            limits.memory,
            self._over,
            partial(_end_large, self._process, self._too_large),
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(self._from, select.POLLIN)
        self._writable.register(self._to, select.POLLOUT)

    @property
    def is_running(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(
        self, kind: Kind, parts: Sequence[Array] = (), seat: int = 0, time_s: float | None = None
    ) -> Frame:
        """Send a frame and return the answer.

        Args:
            kind: of the question.
            parts: its arrays.
            seat: which member of a team is asked.
            time_s: seconds for the answer; None is ``reply_s`` of the limits.

        Raises:
            SandboxError: the agent failed, broke a limit, or answered with something else.
        """
        limit = self.limits.reply_s if time_s is None else time_s
        deadline = time.monotonic() + limit
        try:
            self._send(pack(kind, parts, seat), deadline)
            frame = read(lambda size: self._take(size, deadline))
        except TimeoutError:
            self.kill()
            raise SandboxError(f"sandbox: no answer within {limit:g} s") from None
        except FrameError as error:
            self.kill()
            raise SandboxError(f"sandbox: malformed frame: {error}") from error
        except (EOFError, BrokenPipeError):
            raise SandboxError(f"sandbox: {self._end()}") from None
        except BaseException:  # such as StepLimit: a late answer must not be taken for the next one
            self.kill()
            raise
        if frame.kind is Kind.FAILED:
            text = printable(frame.text) if frame.parts else ""
            raise SandboxError(text or "failed without a reason")
        if frame.kind is not Kind.DONE or frame.seat != seat:
            self.kill()
            raise SandboxError(f"sandbox: malformed frame: an answer of kind {frame.kind}")
        return frame

    def kill(self) -> None:
        """End it, and whatever it started."""
        _kill_group(self._process)

    def _send(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._to, left) :]
            except BlockingIOError:
                _wait(self._writable, deadline)

    def _take(self, size: int, deadline: float) -> bytes:
        parts, left = [], size
        while left:
            try:
                part = os.read(self._from, min(left, 1 << 20))
            except BlockingIOError:
                _wait(self._readable, deadline)
                continue
            if not part:
                raise EOFError
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end(self) -> str:
        """Return how the process ended, in words."""
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return "the agent closed the pipe"
        self.kill()
        if self._too_large.is_set():
            size = f"{self.limits.memory / 2**30:.3g} GB"
            return f"its processes together used more than {size} of memory"
        number = code - 128 if code > 128 else -code
        if number == signal.SIGXCPU:
            return f"used more than {self.limits.cpu_s} s of processor time"
        if number in signal.valid_signals():
            return f"ended by {signal.Signals(number).name}"
        return f"ended with exit code {code}"


@contextlib.contextmanager
def _filter_file() -> Iterator[int]:
    """Yield what bubblewrap reads the filter of system calls from."""
    source, target = os.pipe()
    try:
        os.write(target, syscall_filter() or b"")
        os.close(target)
        yield source
    finally:
        os.close(source)


def _end_all(process: subprocess.Popen[bytes], over: threading.Event) -> None:
    over.set()
    _kill_group(process)


def _end_large(process: subprocess.Popen[bytes], too_large: threading.Event) -> None:
    too_large.set()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # its pipes are the other thread's to close


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _open_to_others(folder: Path) -> None:
    """Let the user of the sandbox read the submitted files."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def inside_program() -> list[str]:
    """Return the command line of what runs inside."""
    # The folder of the interpreter is where it is inside, even if a link led to it.
    given = Path(sys.executable)
    python = str(given.parent.resolve() / given.name)
    # Not -I: it would ignore PYTHONHASHSEED, on which the order of sets depends.
    return [python, "-s", "-P", "-m", "pkubench.leaderboard.sandbox.inside", AGENT]


def _wait(poll: select.poll, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError
