"""The columns of a board's tables: one list, read by the site and by the terminal.

A new column is one entry of :data:`COLUMNS` (or of :data:`SUITE_COLUMNS`). ``write`` formats its
``value`` as the text of a cell; a macro of the column's name in the site's ``cells.html``, if there
is one, draws more than text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pkubench.leaderboard.board.ranking import Standing, SuiteStanding
from pkubench.tasks.task import Task

Value = float | str | None
Number = Callable[[float | None, int], str]
"""Formats a number with so many significant digits, in the style of the page or terminal."""
Where = Literal["task", "agent", "suite", "terminal"]
"""The site's page of a task, of an agent, of a suite; the table of ``leaderboard show``."""


def _plain(column: Column, standing: Any, number: Number) -> str:
    value = column.value(standing)
    if value is None:
        return "\N{EN DASH}"
    return number(value, column.digits) if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column."""

    name: str
    header: str
    """Heading; ``{metric}`` is replaced by the ranking metric with an arrow to better values."""
    value: Callable[[Any], Value]
    """From a standing to what the column sorts by; None is last."""
    write: Callable[[Column, Any, Number], str] = _plain
    """From column, standing and writer of numbers to the text of a cell."""
    digits: int = 4
    """Significant digits of a value that is a float."""
    title: str
    """What the column means, in a sentence."""
    on: frozenset[Where]
    """Where it is shown."""
    sort: Literal["number", "text", ""] = "number"
    """How the site compares values when a reader sorts; empty: not at all."""
    css: str = "num x"
    """Classes of its cells on the site."""
    rank: int = 0
    """In a narrow terminal the columns of the highest rank are left out first."""
    wraps: bool = False
    """Whether its cells may be broken into lines in a terminal."""
    is_shown: Callable[[Task, Sequence[Standing]], bool] = lambda task, standings: True
    """Whether a task's table has it."""

    def heading(self, task: Task | None) -> str:
        """Return the header of a task's table, or of one over several tasks (None)."""
        if task is None:
            return self.header.format(metric="score")
        arrow = "↑" if task.ranking.higher_is_better else "↓"
        return self.header.format(metric=f"{task.ranking.name.replace('_', ' ')} {arrow}")

    @property
    def is_number(self) -> bool:
        """Whether cells are aligned to the right."""
        return "num" in self.css.split()


def _estimate(name: str) -> Callable[[Any], Value]:
    def value(standing: Any) -> Value:
        interval = getattr(standing, name)
        return None if interval is None else float(interval.estimate)

    return value


def _rank(column: Column, standing: Standing | SuiteStanding, number: Number) -> str:
    if standing.rank is None:
        return "\N{EN DASH}"
    if standing.rank_range is None or standing.rank_range[0] == standing.rank_range[1]:
        return str(standing.rank)
    return f"{standing.rank} ({standing.rank_range[0]}\N{EN DASH}{standing.rank_range[1]})"


def _bounds(column: Column, standing: Standing, number: Number) -> str:
    score = standing.score
    if score is None or score.low != score.low:  # not known
        return "\N{EN DASH}"
    return f"{number(score.low, 4)} to {number(score.high, 4)}"


def _has_references(task: Task, standings: Sequence[Standing]) -> bool:
    return task.normalised(0.0) is not None


def _has_dates(task: Task, standings: Sequence[Standing]) -> bool:
    return any(standing.entry.submitter.submitted_at for standing in standings)


EVERYWHERE: frozenset[Where] = frozenset({"task", "agent", "terminal"})

COLUMNS: tuple[Column, ...] = (
    Column(
        name="rank",
        header="rank",
        value=lambda s: s.rank,
        write=_rank,
        title="1 is best; small: 95 % interval of the rank over resampled runs.",
        on=EVERYWHERE,
        css="r",
    ),
    Column(
        name="agent",
        header="agent",
        value=lambda s: s.entry.submitter.name,
        title="The agent, how far its numbers can be trusted, and why it has no rank.",
        on=frozenset({"task", "terminal"}),
        sort="text",
        css="a",
    ),
    Column(
        name="task",
        header="task",
        value=lambda s: s.entry.task.rpartition("/")[2],
        title="The task, how far the numbers can be trusted, and why there is no rank.",
        on=frozenset({"agent"}),
        sort="text",
        css="a",
    ),
    Column(
        name="score",
        header="{metric}",
        value=_estimate("score"),
        title="Mean over training seeds of the ranking metric.",
        on=EVERYWHERE,
        css="num s",
    ),
    Column(
        name="interval",
        header="95 % interval",
        value=lambda s: None,
        write=_bounds,
        title="Student's t interval of the mean over training seeds.",
        on=EVERYWHERE,
        sort="",
        css="plot p",
    ),
    Column(
        name="cost",
        header="cost",
        value=_estimate("cost"),
        title="Mean cost per episode, which the task limits.",
        on=frozenset({"task", "terminal"}),
        is_shown=lambda task, standings: task.cost_limit is not None,
    ),
    Column(
        name="normalised",
        header="normalized",
        value=lambda s: s.normalised,
        digits=3,
        title="0 is the best of random and the lazy policies, 1 the reference agent.",
        on=EVERYWHERE,
        css="num x norm",
        rank=3,
        is_shown=_has_references,
    ),
    Column(
        name="seeds",
        header="seeds",
        value=lambda s: s.entry.seeds,
        title="Training seeds, the sample.",
        on=EVERYWHERE,
    ),
    Column(
        name="submitted",
        header="submitted",
        value=lambda s: (s.entry.submitter.submitted_at or "")[:10] or None,
        title="The day on which the bundle got its verdict.",
        on=frozenset({"task"}),
        sort="text",
        css="num x date",
        is_shown=_has_dates,
    ),
    Column(
        name="tier",
        header="tier",
        value=lambda s: s.entry.verdict.tier.value,
        title="How far the numbers can be trusted.",
        on=frozenset({"terminal"}),
        sort="text",
        css="",
        rank=2,
    ),
    Column(
        name="unranked",
        header="why not ranked",
        value=lambda s: s.unranked or "",
        title="The rule by which the entry is not ranked.",
        on=frozenset({"terminal"}),
        sort="text",
        css="",
        wraps=True,
        is_shown=lambda task, standings: any(standing.unranked for standing in standings),
    ),
)
"""The columns of standings on a task, from left to right."""

SUITE: frozenset[Where] = frozenset({"suite"})

SUITE_COLUMNS: tuple[Column, ...] = (
    Column(
        name="rank",
        header="rank",
        value=lambda s: s.rank,
        write=_rank,
        title="1 is best; small: 95 % interval of the rank over resampled runs.",
        on=SUITE,
        css="r",
    ),
    Column(
        name="submitter",
        header="agent",
        value=lambda s: s.submitter.name,
        title="The agent, and why it has no rank.",
        on=SUITE,
        sort="text",
        css="a",
    ),
    Column(
        name="aggregate",
        header="IQM",
        value=_estimate("aggregate"),
        title="Interquartile mean of the normalized scores over all runs and tasks.",
        on=SUITE,
        css="num s",
    ),
    Column(
        name="interval",
        header="95 % interval",
        value=lambda s: None,
        title="Stratified bootstrap over training seeds.",
        on=SUITE,
        sort="",
        css="plot p",
    ),
    Column(
        name="tasks",
        header="tasks",
        value=lambda s: len(s.tasks),
        title="Number of compared tasks of the suite that it was evaluated on.",
        on=SUITE,
    ),
    Column(
        name="seeds",
        header="seeds",
        value=lambda s: s.seeds,
        title="Runs per task in the aggregate.",
        on=SUITE,
    ),
)
"""The columns of standings in a suite, from left to right."""


def task_columns(
    task: Task, standings: Sequence[Standing], where: Where = "task"
) -> tuple[Column, ...]:
    """Return the columns of one task's table."""
    return tuple(c for c in COLUMNS if where in c.on and c.is_shown(task, standings))


def agent_columns() -> tuple[Column, ...]:
    """Return the columns of one agent's table over its tasks."""
    return tuple(c for c in COLUMNS if "agent" in c.on)
