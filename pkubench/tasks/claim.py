"""A claim of a paper, as data: who is better than whom, at what, where, and at which equal budget.

A claim is declared beside the suite of its tasks (``Suite.claims``) and judged from evaluated runs
by ``pkubench.evaluation.claims``. Declarations hold no result of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pkubench.errors import ConfigError
from pkubench.tasks.task import Metric, Task

LIMIT = "cost limit"
"""In place of the second agent of a pair: the task's cost limit, a known number."""
Unit = Literal["steps", "iterations", "episodes", "seconds", "recorded steps"]
"""What of the training is equal on both sides: environment steps, iterations of a population,
episodes that training its policies takes, seconds of learning on one processor thread, or the steps
of the data set that is learned from, by as many gradient steps as each agent is given."""
UNITS: tuple[Unit, ...] = ("steps", "iterations", "episodes", "seconds", "recorded steps")
RECORDED: Unit = "recorded steps"
AREA = Metric(
    name="area",
    higher_is_better=True,
    unit="share",
    describe="area under the normalised learning curve, as a share of the training",
)
"""How fast an agent learns. A claim may name it in place of a metric of its tasks; records of
trainings have it, evaluations do not."""
_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Pair:
    """On each of some tasks, one agent is claimed to be better than another."""

    better: str
    """A name of ``pkubench list``; or NAME with SETTING=VALUE, for other settings than its own, and
    with ``data=KIND`` for what it learned from."""
    other: str
    """The same, or ``LIMIT``."""
    tasks: tuple[str, ...]
    """Full ids of tasks, or names of games."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a paper says of its agents, so that runs can support or contradict it."""

    name: str
    """A word of lower-case letters, digits and hyphens, of no other claim."""
    paper: str
    """A short name of the paper, the same in all of its claims."""
    text: str
    """The claim as one sentence."""
    pairs: tuple[Pair, ...]
    equal: Unit = "steps"
    """In which unit the budgets of both sides are equal; samples of other budgets are not
    compared."""
    budget: Mapping[str, float] = field(default_factory=dict)
    """The published budget: task or "" (all others) -> amount, in the unit of ``equal``."""
    metric: str | None = None
    """Name of the tasks' metric, or ``area`` (:data:`AREA`); None is the one that ranks."""
    higher_is_better: bool | None = None
    """Which direction is claimed; None is the metric's own."""
    trained: bool = True
    """False where agents are not trained here, such as language models: their names are those of
    a table of results, and budgets are the episodes that each is asked."""
    is_paired: bool = False
    """Whether runs with the same training seed are compared, by the mean of their differences.
    Paired comparisons are not made over tasks together."""
    over_tasks: bool = True
    """Whether each pair is also compared over its tasks together, where it has several without a
    cost limit. False where the claim is about each task by itself."""
    published: str
    """What the paper's own evidence is."""
    note: str = ""
    """What a reader must know before reading a verdict, such as differences that go together."""
    ablation: str = ""
    """Name of the claim to be read with this one: whether the named cause is the cause."""

    def __post_init__(self) -> None:
        """Check the declaration as far as it can be checked by itself.

        Raises:
            ConfigError: the name is not a word, there are no pairs, or one is not of two sides.
        """
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"claim {self.name!r} must be a word of a-z, 0-9 and hyphens")
        if not self.pairs or not all(pair.tasks for pair in self.pairs):
            raise ConfigError(f"claim {self.name!r} must name pairs of agents, each with tasks")
        if any(pair.better in (pair.other, LIMIT) for pair in self.pairs):
            raise ConfigError(f"claim {self.name!r} compares an agent with itself, or no agent")
        if self.equal not in UNITS:
            raise ConfigError(f"claim {self.name!r}: equal must be one of {', '.join(UNITS)}")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task of its pairs, once."""
        return tuple(dict.fromkeys(task for pair in self.pairs for task in pair.tasks))

    def published_budget(self, task: str) -> float | None:
        """Return the budget of the paper's runs on a task, None where it is not known."""
        return self.budget.get(task, self.budget.get(""))

    def metric_of(self, task: Task) -> Metric:
        """Return what is compared on a task.

        Raises:
            UnknownName: the task has no such metric.
        """
        return AREA if self.metric == AREA.name else task.metric(self.metric)


def pairs(named: Iterable[tuple[str, str]], tasks: Iterable[str]) -> tuple[Pair, ...]:
    """Return pairs of agents that are compared on the same tasks."""
    where = tuple(tasks)
    return tuple(Pair(better, other, where) for better, other in named)
