"""Agents that are submitted as code: an honest one, and those that attack. Runs in sandboxes."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


class Honest:
    """Acts by its observation and its seeds, with memory."""

    def begin(self, seeds: Any) -> Any:
        return [np.random.default_rng(seed) for seed in seeds.tolist()]

    def act(self, observation: Any, state: Any, active: Any) -> Any:
        drawn = np.array([rng.integers(0, 5) for rng in state])
        return np.where(observation[:, 0] > 0, drawn, 4 - drawn), state


def honest(task: str) -> Any:
    from pkubench.agents.contract import Team as Members

    return Members({f"agent_{k}": Honest() for k in range(3)})


class Drawing(Honest):
    """Depends on all that the harness resets with each block: its own state and generators."""

    def __init__(self) -> None:
        self.rng, self.calls, self.drawn = np.random.default_rng(0), 0, np.random.random()  # noqa: NPY002

    def act(self, observation: Any, state: Any, active: Any) -> Any:
        self.calls += 1
        observation -= observation.mean()  # agents may write to what they observe
        number = 10.0 * (self.rng.random() + self.drawn + np.random.random() + random.random())  # noqa: NPY002
        actions = (np.abs(observation[:, 0]) * 10 + number + self.calls).astype(np.int64) % 5
        return actions, state


def drawing(task: str) -> Any:
    from pkubench.agents.contract import Team as Members

    return Members({f"agent_{k}": Drawing() for k in range(3)})


class Does(Honest):
    """Does something when it acts, and returns what came of it as bytes of a text."""

    def __init__(self, what: Callable[[], Any]) -> None:
        self.what = what

    def act(self, observation: Any, state: Any, active: Any) -> Any:
        return np.frombuffer(json.dumps(self.what()).encode(), np.uint8), state


def outcome(act: Callable[[], Any]) -> str:
    try:
        return f"done: {act()!r:.80}"
    except BaseException as error:
        return type(error).__name__ + f": {error}"[:120]


def survey() -> dict[str, str]:
    """Try everything that leaves the process alive."""

    def read(path: str) -> Any:
        with open(path, "rb") as file:
            return len(file.read())

    def write(path: str, size: int = 10) -> Any:
        with open(path, "wb") as file:
            return file.write(bytes(size))

    def fill(folder: str) -> int:
        for number in range(100):
            write(f"{folder}/{number}", 1 << 20)
        return 100

    def fork() -> int:
        children = []
        try:
            for _ in range(200):
                child = os.fork()
                if child == 0:
                    time.sleep(30.0)
                    os._exit(0)
                children.append(child)
        finally:
            for child in children:
                os.kill(child, 9)
                os.waitpid(child, 0)
        return len(children)

    def library(name: str, *arguments: int) -> int:
        """Call a function of the C library."""
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        answer = int(getattr(libc, name)(*arguments))
        if answer < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return answer

    def connect() -> None:
        with socket.create_connection(("1.1.1.1", 53), timeout=2.0):
            pass

    def environment_of_others() -> list[str]:
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                    found.append(file.read().decode())
        return [text for text in found if "PKUBENCH_TEST_SECRET" in text]

    def seeds_in_memory() -> list[str]:
        frame, names = sys._getframe(), []
        while frame is not None:
            names += [name for name in frame.f_locals if "env" in name.lower()]
            frame = frame.f_back  # type: ignore[assignment]
        names += [type(o).__name__ for o in gc.get_objects() if "Episode" in type(o).__name__]
        return [name for name in names if name in ("env", "Episode", "episode")]

    print("noise on standard output", flush=True)
    os.write(1, b"PKU1 more noise")
    found: dict[str, Callable[[], Any]] = {
        "passwd": lambda: read("/etc/passwd"),
        "home": lambda: os.listdir("/home"),
        "write root": lambda: write("/x"),
        "write agent": lambda: write("/agent/x"),
        "write dev": lambda: write("/dev/shm/x"),
        "write tmp": lambda: write("/tmp/x"),
        "fill tmp": lambda: fill("/tmp"),
        "large file": lambda: write("/tmp/y", 100 << 20),
        "connect": connect,
        "resolve": lambda: socket.getaddrinfo("pypi.org", 443),
        "fork": fork,
        "memory": lambda: len(bytearray(8 << 30)),
        "raise the limit": lambda: __import__("resource").setrlimit(9, (1 << 50, 1 << 50)),
        "become root": lambda: os.setuid(0),
        "namespace": lambda: library("unshare", 0x10000000),
        "memory of System V": lambda: library("shmget", 0, 1 << 30, 0o1600),
        "trace": lambda: library("ptrace", 0, 0, 0, 0),
        "ring": lambda: library("syscall", 425, 8, 0),
        "memory file": lambda: os.memfd_create("x"),
        "hypervisor": lambda: socket.socket(40, socket.SOCK_STREAM).fileno(),
        "processes": lambda: sum(name.isdigit() for name in os.listdir("/proc")),
        "secret": lambda: environment_of_others(),
        "memory walk": lambda: seeds_in_memory(),
    }
    return {name: outcome(act) for name, act in found.items()}


def surveying(task: str) -> Any:
    return Does(survey)


def limited(task: str) -> Any:
    def limits() -> dict[str, Any]:
        import resource

        names = ("AS", "NPROC", "CPU", "FSIZE", "NOFILE", "CORE")
        found = {f"RLIMIT_{n}": resource.getrlimit(getattr(resource, f"RLIMIT_{n}")) for n in names}
        return {"ran": os.path.exists("/tmp/ran"), **found}

    return Does(limits)


def hoarding(task: str) -> Any:
    """Several processes within the limit of each, which is over that of all together."""

    def hoard() -> None:
        for _ in range(6):
            if os.fork() == 0:
                kept = bytearray(os.urandom(1 << 20) * 192)
                time.sleep(60.0 + len(kept[:0]))
        time.sleep(60.0)

    return Does(hoard)


def shouting(task: str) -> Any:
    def write() -> None:
        text = b"\0\x1b[2J" * 10_000
        part = struct.pack("<BBI", 2, 1, len(text)) + text
        data = struct.pack("<4sBBHQ", b"PKU1", 65, 1, 0, len(part)) + part
        for number in range(3, 20):
            with contextlib.suppress(OSError):
                os.write(number, data)
        time.sleep(60.0)

    return Does(write)


def exiting(task: str) -> Any:
    return Does(lambda: os._exit(7))


def sleeping(task: str) -> Any:
    return Does(lambda: time.sleep(60.0))


def burning(task: str) -> Any:
    def burn() -> None:
        while True:
            pass

    return Does(burn)


def malformed(task: str) -> Any:
    def write() -> None:
        for number in range(3, 20):
            with contextlib.suppress(OSError):
                os.write(number, b"MZ" * 50)
        time.sleep(60.0)

    return Does(write)


def huge(task: str) -> Any:
    def write() -> None:
        head = struct.pack("<4sBBHQ", b"PKU1", 64, 1, 0, 1 << 60)
        for number in range(3, 20):
            with contextlib.suppress(OSError):
                os.write(number, head)
        time.sleep(60.0)

    return Does(write)


def failing(task: str) -> Any:
    raise ImportError("no such thing here")


class Knowing(Honest):
    """Plays well in the episodes whose seeds are public, and badly in all others."""

    def __init__(self, name: str) -> None:
        from pkubench.envs.core.seeding import agent_seeds, evaluation_seeds

        self.known = {*agent_seeds(evaluation_seeds(0, 200), name).tolist()}

    def begin(self, seeds: Any) -> Any:
        return np.array([seed in self.known for seed in seeds.tolist()])

    def act(self, observation: Any, state: Any, active: Any) -> Any:
        # Velocity and position come first, then the landmarks relative to the agent.
        near = observation[:, 4:6]
        along_x = np.abs(near[:, 0]) > np.abs(near[:, 1])
        towards = np.where(along_x, np.where(near[:, 0] > 0, 2, 1), np.where(near[:, 1] > 0, 4, 3))
        return np.where(state, towards, 2), state


class Telling(Knowing):
    """Fails with what it observes in episodes that are not public."""

    def act(self, observation: Any, state: Any, active: Any) -> Any:
        if not state.all():
            raise ValueError(f"observed:{observation.tobytes().hex()}")
        return super().act(observation, state, active)


def telling(task: str) -> Any:
    from pkubench.agents.contract import Team as Members

    return Members({f"agent_{k}": Telling(f"agent_{k}") for k in range(3)})


def knowing(task: str) -> Any:
    from pkubench.agents.contract import Team as Members

    return Members({f"agent_{k}": Knowing(f"agent_{k}") for k in range(3)})
