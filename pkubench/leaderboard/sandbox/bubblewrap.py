"""The command line of bubblewrap, and the limits of what runs in it.

The sandbox has no network, a root of its own in which everything is read-only but ``/tmp`` (in
memory, of limited size), its own processes, no capabilities, no way to gain privileges, and no
user namespaces inside; a filter refuses system calls that no agent needs. Memory, processes and
processor time are limited by ``prlimit`` (util-linux), which starts the interpreter: no Python runs
before the limits hold, so nothing submitted can replace what sets them.

Linux does not apply the limit of processes to root. A worker that runs as root therefore starts the
sandbox as the user 65534 (``nobody``); since that user may not be allowed to read the folders of
the interpreter, a first bubblewrap makes them reachable.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pkubench.errors as errors
from pkubench.errors import ConfigError, RefusedError
from pkubench.leaderboard.sandbox.syscalls import MACHINES, syscall_filter

NOBODY = 65534
AGENT = "/agent"
"""Where the submitted files are, inside."""
_PACKAGE = Path(errors.__file__).resolve().parent
_INSTALL = "on Debian or Ubuntu: apt-get install bubblewrap"
_LINKS = ("lib", "lib64", "bin", "sbin")


class NoSandbox(RefusedError):
    """There is no sandbox on this machine, which says nothing about an agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What an agent in a sandbox may use."""

    memory: int = 4 << 30
    """Bytes of address space of each process, and in memory of all together."""
    processes: int = 16
    """Processes and threads together."""
    cpu_s: int = 4 * 3600
    """Seconds of processor time, of each process."""
    reply_s: float = 60.0
    """Seconds until each answer."""
    load_s: float = 600.0
    """Seconds until the agent is loaded."""
    tmp: int = 64 << 20
    """Bytes in ``/tmp``, and of any one file."""
    files: int = 64
    """Open files of each process."""


def sandbox_command(
    program: Sequence[str],
    folder: Path,
    limits: SandboxLimits,
    syscalls: int,
    variables: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the command that runs a program in a sandbox.

    Start it with an empty environment: the first process inside keeps the one it was given.

    Args:
        program: command line inside.
        folder: holds the submitted files; read-only as ``/agent`` inside.
        limits: what the program and all that it starts may use.
        syscalls: descriptor of a file that is passed on, with the filter of system calls.
        variables: environment inside, besides ``PATH``, ``HOME`` and those of Python.

    Raises:
        NoSandbox: bubblewrap is not installed, or does not work here.
    """
    check_bubblewrap()
    inner = [
        *(_bwrap(), "--unshare-all", "--unshare-user", "--disable-userns"),
        *("--seccomp", str(syscalls), "--die-with-parent", "--new-session", "--clearenv"),
        *("--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp"),
        # Without the submitted files: a sitecustomize.py or json.py there must not be imported.
        *("--setenv", "PYTHONPATH", str(_PACKAGE.parent)),
        *("--setenv", "PYTHONDONTWRITEBYTECODE", "1", "--setenv", "PYTHONHASHSEED", "0"),
    ]
    for name, value in (variables or {}).items():
        inner += ["--setenv", name, value]
    inner += [*_readable(), "--ro-bind", _agent_source(folder), AGENT]
    inner += ["--proc", "/proc", "--dev", "/dev"]
    inner += ["--size", str(limits.tmp), "--tmpfs", "/tmp"]
    inner += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    return [*_as_nobody(folder), *inner, "--", *_prlimit(limits), *program]


def _prlimit(limits: SandboxLimits) -> list[str]:
    """Return what starts a program within limits, by a path that only the system writes."""
    return [
        "/usr/bin/prlimit",
        f"--as={limits.memory}",
        f"--nproc={limits.processes}",
        # The soft limit sends SIGXCPU, which names the reason; the hard one cannot be caught.
        f"--cpu={limits.cpu_s}:{limits.cpu_s + 5}",
        f"--fsize={limits.tmp}",
        f"--nofile={limits.files}",
        "--core=0",
    ]


def check_bubblewrap() -> None:
    """Check that sandboxes can be made here.

    Raises:
        NoSandbox: they cannot, and how to change that.
    """
    problem = _problem()
    if problem:
        _problem.cache_clear()  # it may be mended while a worker runs
        raise NoSandbox(f"submitted code runs in a sandbox only, and {problem}")


def check_unreadable(path: Path, what: str) -> None:
    """Check that what runs in a sandbox cannot read a file.

    Raises:
        ConfigError: it could, and where else to put it.
    """
    found = path.resolve()
    for folder in (Path("/usr"), *_prefixes()):
        if found.is_relative_to(folder):
            raise ConfigError(
                f"{what} {path} is in {folder}, which submitted code can read; move it elsewhere"
            )


@cache
def _problem() -> str:
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        return f"bubblewrap is not installed ({_INSTALL})"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "setpriv is not installed (on Debian or Ubuntu: apt-get install util-linux)"
    if not Path("/usr/bin/prlimit").exists():
        return "prlimit is not installed (on Debian or Ubuntu: apt-get install util-linux)"
    if syscall_filter() is None:
        known = " and ".join(sorted(MACHINES))
        return f"its filter of system calls is for {known}, not for {platform.machine()}"
    probe = [
        *_as_nobody(None),
        *(_bwrap(), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"),
        *_usr(),
        # The filter comes on standard input.
        *("--seccomp", "0", "--proc", "/proc", "--", "/usr/bin/true"),
    ]
    try:
        done = subprocess.run(
            probe, env={}, input=syscall_filter(), capture_output=True, check=False, timeout=30.0
        )
    except subprocess.TimeoutExpired:
        return "bubblewrap does not answer here"
    if done.returncode == 0:
        return ""
    reason = done.stderr.decode(errors="replace").strip()[:200]
    return (
        f"bubblewrap does not work here ({reason}); it needs version 0.8 and unprivileged user "
        "namespaces (sysctl kernel.unprivileged_userns_clone=1, "
        "user.max_user_namespaces above 0; in Docker: --security-opt seccomp=unconfined)"
    )


def _bwrap() -> str:
    return shutil.which("bwrap") or "bwrap"


def _agent_source(folder: Path) -> str:
    """Return where the submitted files are for the second bubblewrap."""
    return AGENT if os.geteuid() == 0 else str(folder)


def _as_nobody(folder: Path | None) -> Iterator[str]:
    """Yield what starts the sandbox as another user, where this one is root."""
    if os.geteuid() != 0:
        return
    yield from (_bwrap(), "--die-with-parent", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    for path in _prefixes() if folder is not None else ():
        for parent in list(reversed(path.parents))[1:]:  # others may pass through those made here
            yield from ("--perms", "0755", "--dir", str(parent))
    yield from _readable() if folder is not None else _usr()
    if folder is not None:
        yield from ("--ro-bind", str(folder), AGENT)
    yield from ("--bind", "/proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")
    yield from (shutil.which("setpriv") or "setpriv", "--reuid", str(NOBODY), "--regid")
    yield from (str(NOBODY), "--clear-groups", "--inh-caps=-all")


def _usr() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _LINKS:
        if Path("/", name).is_symlink():
            yield from ("--symlink", f"usr/{name}", f"/{name}")
        elif Path("/", name).is_dir():
            yield from ("--ro-bind", f"/{name}", f"/{name}")
    yield from ("--perms", "0755", "--dir", "/etc")
    yield from ("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache")


def _readable() -> Iterator[str]:
    """Yield the mounts of the system, the interpreter and this package."""
    yield from _usr()
    for path in _prefixes():
        yield from ("--ro-bind", str(path), str(path))


def _prefixes() -> list[Path]:
    """Return the folders of the interpreter and of this package outside ``/usr``."""
    found: list[Path] = []
    for path in (Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), _PACKAGE):
        if not any(path.is_relative_to(known) for known in (Path("/usr"), *found)):
            found.append(path)
    return found
