"""How a task is scored: its episodes, how one is played, and how metrics follow from the records.

A scoring turns an entrant into episode records, and records into a task's metrics. ``Episodes``
plays; ``Exact`` (``pkubench.tasks.exact``) computes. A task of another package may define its own:
any picklable object with the methods of :class:`Scoring`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import evaluation_seeds
from pkubench.tasks.records import EpisodeRecord

if TYPE_CHECKING:
    from pkubench.agents.contract import Entrant
    from pkubench.tasks.task import Metric, Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One episode of an evaluation, before it is played."""

    number: int
    """Number within the evaluation, from 0."""
    seed: int
    """The environment's seed."""
    agent_seed: int
    """The seed from which the agents' own seeds derive."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What chooses the episode besides its seed, as JSON values: where episodes are played, the
    options of the environment's reset."""
    group: str = ""
    """The part of the task it belongs to, where ``summarise`` treats parts apart."""


class Aggregate(NamedTuple):
    """A metric's mean and its 95 % interval.

    All are None where an episode failed: a mean over the episodes that an agent survived would
    reward crashing in the bad ones. The bounds are None where the sample has a single value.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    """Size of the sample: runs, or episodes of the only run."""


class EpisodeFailure(Exception):
    """An agent failed an episode; the text is the ``failure`` of a record."""


class Tools(Protocol):
    """What the harness provides to a scoring, which does not deal with processes and clocks."""

    def make_env(self, num_envs: int) -> BatchEnv:
        """Make copies of the task's environment, with its settings and time limit."""
        ...

    def play(
        self, env: BatchEnv, entrant: Entrant, task: Task, episodes: Sequence[Episode]
    ) -> Iterator[EpisodeRecord]:
        """Play one episode in each copy; yield each record as its episode ends.

        Raises:
            AgentError: the entrant does not fit the environment. What it does wrong while it acts
                is a record with a named failure instead.
        """
        ...

    def ask(self, who: str, call: Callable[[], T]) -> T:
        """Call code of the entrant, within the time that one call may take; return its result.

        Raises:
            EpisodeFailure: it raised or took too long; ``who`` names it in the reason.
        """
        ...

    @property
    def clock(self) -> AbstractContextManager[Any]:
        """Entered around calls of the entrant: the time that they take is limited."""
        ...


class Play(NamedTuple):
    """An episode to film: the environment, the entrant, and what is recorded of it."""

    env: BatchEnv
    entrant: Entrant
    task: Task


class Scoring(Protocol):
    """Turns an entrant into records, and records into metrics. Picklable; holds no state.

    One over data may also have ``plan_validation(task, count)``: see :func:`validation_plan`.
    """

    @property
    def name(self) -> str:
        """Its name in ``list --json`` (as ``kind``)."""
        ...

    @property
    def summary(self) -> str:
        """How scores are obtained, for a task's page: ``playing episodes``."""
        ...

    @property
    def unit(self) -> str:
        """What one record is about, in the singular: ``episode``."""
        ...

    @property
    def done(self) -> str:
        """What was done with each, as a participle: ``played``."""
        ...

    @property
    def is_played(self) -> bool:
        """Whether records are of episodes that are played out step by step."""
        ...

    def plan(self, task: Task, seed: int, count: int) -> Sequence[Episode]:
        """Return the episodes of an evaluation, the same for everyone.

        Args:
            task: What is evaluated.
            seed: Chooses the set. A longer evaluation begins with a shorter one's episodes.
            count: Number of episodes requested; a scoring that needs no sample plans one.
        """
        ...

    def run(
        self, entrant: Entrant, task: Task, episodes: Sequence[Episode], tools: Tools
    ) -> Iterator[EpisodeRecord]:
        """Score an entrant in a block of planned episodes, in any order."""
        ...

    def summarise(
        self, runs: Sequence[Sequence[EpisodeRecord]], task: Task
    ) -> Mapping[str, Aggregate]:
        """Return every metric of a task: over runs if there are several, else over episodes."""
        ...

    def check(self, record: EpisodeRecord, task: Task) -> str:
        """Return in words what is impossible in a record; "" if nothing is."""
        ...

    def stage(self, entrant: Entrant, task: Task) -> Play:
        """Return a play of one copy to film, and its record's metrics."""
        ...


@dataclass(frozen=True, slots=True)
class Episodes:
    """Episodes that are played; metrics are means over them."""

    name: ClassVar[str] = "episodes"
    summary: ClassVar[str] = "playing episodes"
    unit: ClassVar[str] = "episode"
    done: ClassVar[str] = "played"
    is_played: ClassVar[bool] = True

    def plan(self, task: Task, seed: int, count: int) -> Sequence[Episode]:
        """Return ``count`` episodes; see :class:`Scoring`."""
        seeds = evaluation_seeds(seed, count).tolist()
        return [Episode(number=k, seed=s, agent_seed=s) for k, s in enumerate(seeds)]

    def run(
        self, entrant: Entrant, task: Task, episodes: Sequence[Episode], tools: Tools
    ) -> Iterator[EpisodeRecord]:
        """Play the episodes side by side in a fresh environment."""
        env = tools.make_env(len(episodes))
        try:
            yield from tools.play(env, entrant, task, episodes)
        finally:
            env.close()

    def summarise(
        self, runs: Sequence[Sequence[EpisodeRecord]], task: Task
    ) -> Mapping[str, Aggregate]:
        """Return the mean of every metric; see :class:`Scoring`."""
        return means(runs, task)

    def check(self, record: EpisodeRecord, task: Task) -> str:
        """Compare the return with the sum of the agents' returns."""
        total = math.fsum(record.returns.values())
        if record.failure is None and record.return_ != total:
            return f"the return is {record.return_}, but the agents' sum is {total}"
        return ""

    def stage(self, entrant: Entrant, task: Task) -> Play:
        """Return the environment and the entrant of an episode."""
        settings = dict(task.env_kwargs)
        if task.protocol.horizon is not None:
            settings["max_episode_steps"] = task.protocol.horizon
        return Play(make_batch(task.id, 1, **settings), entrant, task)


@dataclass(frozen=True, slots=True)
class CycledEpisodes(Episodes):
    """Episodes that take the values of an option in turn, so that each has equally many."""

    option: str
    """Name of the option."""
    values: tuple[Any, ...]
    """Its values, as JSON has them; episode ``k`` has the value ``k`` modulo their number."""

    def plan(self, task: Task, seed: int, count: int) -> Sequence[Episode]:
        """Return ``count`` episodes; see :class:`Scoring`."""
        plain = Episodes().plan(task, seed, count)
        return [
            replace(episode, options={self.option: self.values[episode.number % len(self.values)]})
            for episode in plain
        ]


def validation_plan(task: Task, count: int) -> Sequence[Episode]:
    """Return the episodes that a training is validated on; their seeds are replaced.

    Where a task is over data they are of a split of their own (the scoring's ``plan_validation``),
    so that nothing is selected on what is scored; elsewhere they have the options of its episodes.
    """
    own = getattr(task.scoring, "plan_validation", None)
    found: Sequence[Episode] = (
        task.scoring.plan(task, 0, count) if own is None else own(task, count)
    )
    return found


def means(runs: Sequence[Sequence[EpisodeRecord]], task: Task) -> dict[str, Aggregate]:
    """Return the mean and interval of each metric of a task."""
    return {metric.name: aggregate(runs, metric) for metric in task.metrics}


def run_mean(records: Sequence[EpisodeRecord], metric: str) -> float | None:
    """Return a run's mean of a metric; None if an episode failed or does not have the metric."""
    values = [record.value(metric) for record in records]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return math.fsum(known) / len(known)


def aggregate(runs: Sequence[Sequence[EpisodeRecord]], metric: Metric) -> Aggregate:
    """Return a metric's mean and interval: over runs if there are several, else over episodes."""
    from pkubench.evaluation.statistics import mean_interval, wilson_interval  # imports SciPy: slow

    of_runs = [run_mean(records, metric.name) for records in runs]
    n = len(runs) if len(runs) > 1 else len(runs[0])
    known = [mean for mean in of_runs if mean is not None]
    if not known or len(known) < len(of_runs):
        return Aggregate(None, None, None, n)
    if len(known) > 1:
        mean, low, high = mean_interval(known)
        return Aggregate(mean, low, high, n)
    if metric.interval == "exact" and n == 1:
        return Aggregate(known[0], known[0], known[0], n)
    values = [value for record in runs[0] if (value := record.value(metric.name)) is not None]
    if metric.interval == "wilson":
        mean, low, high = wilson_interval(round(math.fsum(values)), n)
    else:
        _, low, high = mean_interval(values)
    return Aggregate(known[0], _bound(low), _bound(high), n)


def _bound(value: float) -> float | None:
    return None if math.isnan(value) else value
