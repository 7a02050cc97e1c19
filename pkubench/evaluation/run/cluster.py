"""Blocks of episodes on an existing Ray cluster: the same records, byte for byte.

A task of Ray is one block. On its node it runs in a process of its own, as any block does
(:class:`~pkubench.evaluation.run.workers.ProcessPool`): one thread, the same environment variables,
the same limits. What comes back is the lines of its records, so nothing that an agent made is
unpickled. A block whose node or worker is lost is played again elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pickle
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from pkubench.errors import ConfigError, MissingExtra, PkubenchError
from pkubench.evaluation.run.execution import Job, Result, deadline_of, out_of_time
from pkubench.evaluation.run.workers import (
    AgentKilled,
    ProcessPool,
    WorkerError,
    check_undisturbed,
    error_named,
)
from pkubench.plugins import PLUGINS, for_workers
from pkubench.tasks.records import EpisodeRecord, parse_record

ADDRESS = "RAY_ADDRESS"
"""Environment variable that names the cluster's head, as Ray reads it."""
AUTO = "auto"
"""The cluster that runs on this machine."""
RETRIES = 3
"""How often a block is played again whose worker was lost."""
_AHEAD = 2
"""Blocks in Ray's hands per processor of the cluster: enough that no node waits for the next."""


class RayBackend:
    """Runs jobs on a Ray cluster; the machine that it is started on writes the records."""

    def __init__(self) -> None:
        """Connect to the cluster of ``RAY_ADDRESS``, or to the one that runs on this machine.

        Raises:
            MissingExtra: Ray is not installed.
            ConfigError: there is no cluster.
        """
        self._ray, self._is_ours = connect()
        self._play = remote(self._ray, _play, RETRIES)

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield results as they arrive; blocks are handed out in order, a few ahead."""
        waiting, started = deque(jobs), time.monotonic()
        places = _AHEAD * max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        running: dict[Any, Job] = {}
        try:
            while waiting or running:
                while waiting and len(running) < places:
                    job = waiting.popleft()
                    left = deadline_of(job, started) - time.monotonic()
                    if left <= 0.0:
                        yield out_of_time(job)
                        continue
                    running[self._play.remote(_packed(job, left))] = job
                if not running:
                    continue
                ready, _ = self._ray.wait(list(running), num_returns=1)
                for reference in ready:
                    job = running.pop(reference)
                    yield Result(job, _records(self._answer(reference)))
        finally:
            for reference in running:
                with contextlib.suppress(Exception):
                    self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster, if this object joined it."""
        if self._is_ours:
            self._ray.shutdown()

    def _answer(self, reference: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            text = str(error).strip().splitlines()[0]
            raise WorkerError(
                f"a block was lost {RETRIES + 1} times on the cluster: {text}"
            ) from None
        return answer


def _check_reachable(address: str) -> None:
    """Check that something listens where a cluster's head should be; Ray prints pages otherwise.

    Raises:
        ConfigError: nothing does, or it is no address.
    """
    if address == AUTO:
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        raise ConfigError(f"{ADDRESS}={address} is not HOST:PORT of a cluster's head")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10.0).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {ADDRESS}={address} ({error}); start one there with `ray "
            f"start --head`, or leave {ADDRESS} out for the one on this machine"
        ) from None


def connect() -> tuple[Any, bool]:
    """Return Ray, connected to a cluster, and whether this call connected it.

    Raises:
        MissingExtra: Ray is not installed.
        ConfigError: there is no cluster to connect to.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtra("cluster", "--backend ray") from None
    if ray.is_initialized():
        return ray, False
    _check_reachable(os.environ.get(ADDRESS, AUTO))
    try:
        ray.init(
            address=os.environ.get(ADDRESS, AUTO),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            "there is no Ray cluster to run on: start one with `ray start --head`, or name its "
            f"head in {ADDRESS} ({str(error).strip().splitlines()[0]})"
        ) from None
    return ray, True


def remote(ray: Any, function: Callable[..., Any], retries: int) -> Any:
    """Return a function that runs on the cluster, again where its worker is lost."""
    variables = {PLUGINS: for_workers()}
    return ray.remote(
        num_cpus=1,
        max_retries=retries,
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": variables} if variables[PLUGINS] else {},
    )(function)


def _packed(job: Job, left: float) -> bytes:
    """Return a job with what is left of the time of all."""
    if job.limits.total is None:
        return pickle.dumps(job)
    return pickle.dumps(replace(job, limits=replace(job.limits, total=left)))


@functools.cache
def _pool() -> ProcessPool:
    """Return the process beside this worker of Ray, which keeps an agent loaded between blocks."""
    return ProcessPool(1)


def _play(packed: bytes) -> dict[str, Any]:
    """Play a block on a node of the cluster; return its lines, or the error by its class."""
    job: Job = pickle.loads(packed)
    try:
        (result,) = _undisturbed(job)
    except PkubenchError as error:
        return {"error": type(error).__name__, "text": str(error)}
    return {"lines": [record.line(job.task) for record in result.records]}


def _undisturbed(job: Job) -> list[Result]:
    """Play a block, again if its process was ended from outside; the last time it counts."""
    for _ in range(RETRIES):
        results = list(_pool().map([job]))
        try:
            check_undisturbed(r.failure for result in results for r in result.records)
        except AgentKilled:
            continue
        return results
    return list(_pool().map([job]))


def _records(answer: dict[str, Any]) -> list[EpisodeRecord]:
    if "error" in answer:
        raise error_named(answer["error"], answer["text"])
    return [parse_record(line, "a record from the cluster") for line in answer["lines"]]
