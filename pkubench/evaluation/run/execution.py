"""Blocks of episodes as jobs, and where they run: in this process or in others."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from pkubench.agents.contract import Entrant, Team
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.generators import kept_generators, seed_generators
from pkubench.envs.core.registry import EnvSpec, family_of, make_batch, register_environment
from pkubench.envs.core.seeding import agent_seeds
from pkubench.evaluation.run.episodes import (
    OUT_OF_TIME,
    Clock,
    StepLimit,
    failed_record,
    failure_reason,
    run_block,
)
from pkubench.evaluation.run.failures import printable
from pkubench.evaluation.run.sources import RunSource
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Episode, EpisodeFailure
from pkubench.tasks.task import Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an agent may take, in seconds of wall-clock time. None: as long as it likes."""

    act: float | None = 60.0
    """One call of ``begin`` or ``act``, for a whole block."""
    load: float | None = 600.0
    """Loading the agent."""
    total: float | None = None
    """All episodes given to a backend together: an agent that thinks just below ``act`` at each
    step could hold a board for days."""


@dataclass(frozen=True, slots=True)
class Job:
    """One block of episodes of one run. Picklable; its records depend on nothing else."""

    index: int
    task: Task
    env: EnvSpec
    run: RunSource
    owner: str
    """The agent's name: a process serves one owner, so no agent's code meets another's."""
    episodes: tuple[Episode, ...]
    limits: Limits

    @property
    def first(self) -> int:
        """Number of the first episode."""
        return self.episodes[0].number


class Result(NamedTuple):
    """The records of a finished job, in the order of episodes."""

    job: Job
    records: list[EpisodeRecord]


class Backend(Protocol):
    """Runs jobs. Where they run, and in which order, never changes a record."""

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield the result of every job, in any order.

        Raises:
            AgentError: an agent cannot be loaded or does not fit its environment.
        """
        ...

    def close(self) -> None:
        """Release what the backend holds."""
        ...


class Loader:
    """Loads the entrants of jobs, once where a run says that it may be reused."""

    def __init__(self) -> None:
        """Start with nothing loaded."""
        self._run: RunSource | None = None
        self._entrant: Entrant | None = None

    def __call__(self, job: Job) -> Entrant:
        """Return the entrant of a job, after registering its environment in this process."""
        env = job.env.registered
        if family_of(env.id) is None:
            register_environment(env)
        # Runs are compared whole, with where they lie and their hashes: names are not unique.
        if not job.run.reusable or self._entrant is None or job.run != self._run:
            self._entrant, self._run = None, None
            self._entrant, self._run = load_seeded(job.run), job.run
        return self._entrant


def load_seeded(run: RunSource) -> Entrant:
    """Load an entrant that is the same in every block, whatever it draws in between."""
    seed_generators(0)
    imported = len(sys.modules)
    entrant = run.load()
    if not run.reusable and len(sys.modules) != imported:
        # A module is imported once per process; what it draws then must not shift what follows.
        del entrant
        seed_generators(0)
        entrant = run.load()
    return entrant


def run_job(
    job: Job, entrant: Entrant, clock: Clock | None = None, steps_taken: Any = None
) -> Iterator[EpisodeRecord]:
    """Run the episodes of a job; yield each record as its episode ends."""
    # An agent that draws from global generators must depend on its block alone.
    first = np.array([job.episodes[0].agent_seed], np.int64)
    seed_generators(int(agent_seeds(first, "global")[0]))
    tools = _Tools(job, clock or nullcontext(), steps_taken)
    yield from job.task.scoring.run(entrant, job.task, job.episodes, tools)


class _Tools:
    """What a scoring may use in a process that runs a job."""

    def __init__(self, job: Job, clock: Clock, steps_taken: Any) -> None:
        self._job, self._clock, self._steps_taken = job, clock, steps_taken

    @property
    def clock(self) -> Clock:
        return self._clock

    def make_env(self, num_envs: int) -> BatchEnv:
        task = self._job.task
        settings = dict(task.env_kwargs)
        if task.protocol.horizon != self._job.env.horizon:
            settings["max_episode_steps"] = task.protocol.horizon
        return make_batch(task.id, num_envs=num_envs, **settings)

    def play(
        self, env: BatchEnv, entrant: Entrant, task: Task, episodes: Sequence[Episode]
    ) -> Iterator[EpisodeRecord]:
        members = entrant.members.values() if isinstance(entrant, Team) else (entrant,)
        is_timed = not any(getattr(member, "waits", False) is True for member in members)
        clock = self._clock if is_timed else nullcontext()
        return run_block(env, entrant, task, episodes, clock, self._steps_taken)

    def ask(self, who: str, call: Callable[[], T]) -> T:
        try:
            with self._clock:
                return call()
        except (Exception, SystemExit, StepLimit) as error:
            raise EpisodeFailure(printable(failure_reason(who, error))) from error


class InProcess:
    """Runs jobs one after another in this process: for debugging, and for unpicklable objects.

    An agent that hangs is interrupted by a signal where Python allows it (the main thread; not
    inside a library's C code). One that kills its process kills this one.
    """

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield the result of every job, in order."""
        loader, started = Loader(), time.monotonic()
        for job in jobs:
            deadline = deadline_of(job, started)
            if time.monotonic() > deadline:
                yield out_of_time(job)
                continue
            with _AlarmHandler(), kept_generators():
                entrant = loader(job)
                clock = AlarmClock(job.limits.act, deadline) if _can_alarm(job) else None
                records = sorted(
                    run_job(job, entrant, clock or nullcontext()), key=lambda r: r.episode
                )
            yield Result(job, records)

    def close(self) -> None:
        """Do nothing."""


def deadline_of(job: Job, started: float) -> float:
    """Return when the total time of jobs that were ``started`` then is over (monotonic clock)."""
    return math.inf if job.limits.total is None else started + job.limits.total


def out_of_time(job: Job) -> Result:
    """Return the result of a job whose turn did not come within the total time."""
    return Result(job, [failed_record(episode, 0, OUT_OF_TIME) for episode in job.episodes])


def _can_alarm(job: Job) -> bool:
    is_limited = job.limits.act is not None or job.limits.total is not None
    return is_limited and _in_main_thread()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class AlarmClock:
    """Raises ``StepLimit`` in the main thread when what it surrounds takes too long."""

    def __init__(self, limit: float | None, deadline: float = math.inf) -> None:
        """Allow ``limit`` seconds per call, and none after ``deadline`` (monotonic clock)."""
        self.limit, self.deadline = limit or math.inf, deadline

    def __enter__(self) -> None:
        """Start the clock."""
        left = max(self.deadline - time.monotonic(), 1e-6)
        signal.setitimer(signal.ITIMER_REAL, min(self.limit, left))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the clock."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)


class _AlarmHandler:
    """Installs the alarm's handler for a while and puts the old one back."""

    def __enter__(self) -> None:
        self._old: Any = None
        if _in_main_thread():
            self._old = signal.signal(signal.SIGALRM, _ring)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if _in_main_thread():
            signal.signal(signal.SIGALRM, self._old or signal.SIG_DFL)


def _ring(number: int, frame: FrameType | None) -> None:
    raise StepLimit
