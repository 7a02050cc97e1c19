"""Task: an environment, a protocol, metrics and reference scores; the unit everything scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pkubench.errors import ConfigError, UnknownName
from pkubench.tasks.scoring import Episodes, Scoring


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number of every episode record, and how it is read."""

    name: str
    """Key of the record, or of its ``metrics``."""
    higher_is_better: bool
    unit: str
    describe: str
    interval: Literal["t", "wilson", "exact"] = "t"
    """How one run's interval is computed: Student t, Wilson (0/1 values), or none (exact)."""
    is_derived: bool = False
    """Whether the scoring computes it from episodes; otherwise it is an info of their last step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a task is evaluated, the same for everyone."""

    episodes: int
    """Episodes per run (training seed); 1 where the score is computed exactly."""
    horizon: int | None
    """Maximal number of steps per episode."""
    budget: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Budget of training for ranked entries, ``{unit: n}``, by counters of a training such as
    ``environment_steps``; empty for games: their learners count iterations, and each has a default
    number of them."""
    quick_episodes: int
    """Episodes of ``pkubench evaluate --quick``."""

    @property
    def training_steps(self) -> int | None:
        """The budget of environment steps, None without one."""
        return self.budget.get("environment_steps")

    def budget_in_words(self) -> str:
        """Return the budget, such as ``10,000,000 environment steps``; "" without one."""
        return " and ".join(_amount(unit, count) for unit, count in self.budget.items())

    def beyond_budget(self, spent: Mapping[str, int]) -> str:
        """Return in words what a training spent beyond the budget; "" if it kept to it.

        ``spent`` has counters by name; those that the budget does not name are free.
        """
        found = (
            f"{_amount(unit, spent[unit])} of {count:,}"
            for unit, count in self.budget.items()
            if spent.get(unit, 0) > count
        )
        return ", ".join(found)


def _amount(unit: str, count: int) -> str:
    return f"{count:,} {unit.replace('_', ' ')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A measured score that anchors the normalised scale."""

    agent: str
    score: float
    n: int
    """Runs (or episodes, for an untrained agent) behind the score."""
    command: str
    """The command that measured it, or why it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A standardized task. Its id is its environment's id.

    That of another package's task is ``module:namespace/Name-vN``, as Gymnasium spells the
    environments of other packages.
    """

    id: str
    suite: str
    title: str
    metrics: tuple[Metric, ...]
    """The first one ranks."""
    protocol: Protocol
    scoring: Scoring = field(default_factory=Episodes)
    """How entrants become records and records become the metrics."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Reference] = field(default_factory=dict)
    """``random``, the ``lazy`` policies, and ``reference`` (normalised 1)."""
    reference: str = ""
    """Spelling of the agent that has score 1; "" is the suite's."""
    is_reference_optimal: bool = False
    """Whether no agent can have a better mean than the reference's: boards flag entries that do."""
    lazy: Mapping[str, float | None] = field(default_factory=dict)
    """Policies that a learner falls into which does not learn the task: ``no-op``, ``silent``,
    ``standing``. None: the score of ``scripted:NAME`` is measured; a number is a score that needs
    no measuring, such as what surviving alone earns."""
    cost_limit: float | None = None
    """Constrained tasks rank by return among entries whose mean cost is at most this."""
    cost_limits: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Where several costs have limits of their own: info of a step -> limit on the mean of its sum
    over an episode. The first is ``cost`` too, with ``cost_limit``; an entry is feasible if it
    keeps all of them."""
    cost_tolerance: float = 0.0
    """How far above the limit a mean cost still counts as within it. For tasks whose best policies
    lie on the limit and draw lots: the error of the mean over the protocol's episodes, without
    which such a policy would be over the limit in half of its evaluations."""
    short_name: str = ""
    """Its name in other harnesses; "" is made of its id."""
    notes: str = ""
    """What a reader must know before comparing numbers (reward sums, rule versions)."""

    def __post_init__(self) -> None:
        """Check the settings against each other."""
        if not self.metrics:
            raise ConfigError(f"task {self.id!r} has no metric")
        if self.cost_limit is not None and self.cost_limit < 0:
            raise ConfigError(f"task {self.id!r}: cost_limit must be at least 0")
        first = next(iter(self.cost_limits.values()), self.cost_limit)
        unknown = set(self.further_limits) - {metric.name for metric in self.metrics}
        if unknown or first != self.cost_limit:
            raise ConfigError(
                f"task {self.id!r}: cost_limits begin with cost_limit, and the others have metrics "
                f"{', '.join(self.further_limits)}"
            )
        if self.cost_tolerance < 0 or (self.cost_tolerance and self.cost_limit is None):
            raise ConfigError(
                f"task {self.id!r}: cost_tolerance must be at least 0, and 0 without a cost_limit"
            )

    @property
    def ranking(self) -> Metric:
        """The metric that ranks."""
        return self.metrics[0]

    def metric(self, name: str | None = None) -> Metric:
        """Return a metric by name; None is the one that ranks.

        Raises:
            UnknownName: the task has no such metric.
        """
        by_name = {metric.name: metric for metric in self.metrics}
        if name is not None and name not in by_name:
            raise UnknownName(f"metric of {self.id}", name, by_name)
        return self.ranking if name is None else by_name[name]

    @property
    def further_limits(self) -> dict[str, float]:
        """The limits besides ``cost_limit``, by the metric whose mean each is on."""
        return {f"total_{key}": self.cost_limits[key] for key in list(self.cost_limits)[1:]}

    @property
    def floor(self) -> Reference | None:
        """The best of random and the lazy policies: normalised 0. None: nothing is measured."""
        names = ("random", *self.lazy)
        found = [self.references[name] for name in names if name in self.references]
        sign = 1.0 if self.ranking.higher_is_better else -1.0
        return max(found, key=lambda reference: sign * reference.score, default=None)

    @property
    def no_scale(self) -> str:
        """Why there are no normalised scores, as a clause; "" where there are."""
        top, floor = self.references.get("reference"), self.floor
        if top is None or floor is None:
            return "no reference agent is measured"
        if self.normalised(top.score) is not None:
            return ""
        return (
            f"the reference ({top.agent}, {top.score:.4g}) is not above the best of random and the "
            f"lazy policies ({floor.agent}, {floor.score:.4g})"
        )

    def normalised(self, score: float) -> float | None:
        """Return (score - floor) / (reference - floor).

        None where a reference is missing, or is no better than the floor.
        """
        top, floor = self.references.get("reference"), self.floor
        if top is None or floor is None:
            return None
        sign = 1.0 if self.ranking.higher_is_better else -1.0
        if sign * top.score <= sign * floor.score:
            return None
        return (score - floor.score) / (top.score - floor.score)
