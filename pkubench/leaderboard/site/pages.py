"""What the site's pages show: tasks and suites with their rows, pictures and training curves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from pkubench.leaderboard.board.columns import Column, task_columns
from pkubench.leaderboard.board.entries import Submitter
from pkubench.leaderboard.board.ranking import Standing, SuiteStanding
from pkubench.leaderboard.site.drawing import (
    Curve,
    Scale,
    bar_picture,
    curves_picture,
    interval_picture,
    number,
)
from pkubench.tasks.task import Metric, Task

UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
"""Characters that names of files leave out."""


class Mark(NamedTuple):
    """A dashed line: a reference score or a limit."""

    name: str
    value: float


class Key(NamedTuple):
    """A line of a figure's legend."""

    name: str
    colour: int
    n: int


class Figure(NamedTuple):
    """Training curves of one metric."""

    title: str
    axis: str
    picture: Markup
    keys: tuple[Key, ...]
    marks: tuple[Mark, ...]


class Row(NamedTuple):
    """A standing with its pictures."""

    standing: Standing
    picture: Markup
    bar: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """Everything the page of a task shows."""

    task: Task
    standings: tuple[Standing, ...]
    rows: tuple[Row, ...]
    figures: tuple[Figure, ...]
    marks: tuple[Mark, ...]

    @property
    def short(self) -> str:
        """Name without the namespace."""
        return self.task.id.rpartition("/")[2]

    @property
    def slug(self) -> str:
        """Name of its file and anchor."""
        return UNSAFE.sub("-", self.short)

    @property
    def href(self) -> str:
        """Address below the site's root."""
        return f"tasks/{self.slug}.html"

    @property
    def metric(self) -> Metric:
        """The ranking metric."""
        return self.task.ranking

    @property
    def references(self) -> list[tuple[str, Any]]:
        """Reference scores by name."""
        return sorted(self.task.references.items())

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of its table."""
        return task_columns(self.task, self.standings)

    @property
    def leaders(self) -> list[Standing]:
        """The entries with rank 1, if they are within the cost limit."""
        return [s for s in self.standings if s.rank == 1 and s.feasible is not False]

    @property
    def contender(self) -> Standing | None:
        """The best entry that does not lead: shown, with the reason, if there is no leader."""
        scored = [s for s in self.standings if s.score is not None]
        within = [s for s in scored if s.feasible is not False]
        trained = [s for s in within if s.entry.submitter.manifest.kind != "named"]
        return next(iter([*trained, *within, *scored]), None)

    @property
    def has_normalised(self) -> bool:
        """Whether the task has both reference scores."""
        return self.task.normalised(0.0) is not None


class SuiteRow(NamedTuple):
    """A suite's standing with its picture."""

    standing: SuiteStanding
    picture: Markup


class SuitePage(NamedTuple):
    """Everything the page of a suite shows."""

    name: str
    summary: str
    pages: tuple[TaskPage, ...]
    compared: tuple[TaskPage, ...]
    rows: tuple[SuiteRow, ...]


def agent_page(submitter: Submitter) -> str:
    """Return the address of a submission's page: its name made safe, and its hash."""
    safe = UNSAFE.sub("-", submitter.name).strip("-.")[:40] or "agent"
    return f"agents/{safe}-{submitter.digest[:8]}.html"


def task_row(standing: Standing, scale: Scale | None) -> Row:
    """Return an entry's row of a task's table."""
    name, picture, bar = standing.entry.submitter.name, Markup(""), Markup("")
    if standing.score is not None and scale is not None:
        low, high = number(standing.score.low), number(standing.score.high)
        label = f"{name}: {number(standing.score.estimate)}, interval {low} to {high}"
        picture = interval_picture(standing.score, scale, label)
    if standing.normalised is not None:
        bar = bar_picture(standing.normalised, f"normalized {number(standing.normalised, 3)}")
    return Row(standing, picture, bar)


def suite_picture(standing: SuiteStanding, scale: Scale | None) -> Markup:
    """Return the picture of an aggregate; empty without one."""
    if standing.aggregate is None or scale is None:
        return Markup("")
    label = f"{standing.submitter.name}: {number(standing.aggregate.estimate, 3)}"
    return interval_picture(standing.aggregate, scale, label)


def curves_figure(
    task: Task, metric: Metric, curves: Sequence[Curve], *, with_runs: bool
) -> Figure:
    """Return the figure of one metric's training curves."""
    marks: dict[str, float] = {}
    if metric is task.ranking:
        marks = {name: reference.score for name, reference in sorted(task.references.items())}
    elif metric.name == "cost" and task.cost_limit is not None:
        marks = {"limit": task.cost_limit}
    # Exact scores fall by orders of magnitude towards 0.
    log = metric.interval == "exact" and not metric.higher_is_better
    if log:
        marks = {name: value for name, value in marks.items() if value > 0.0}
    axis = "environment steps" if task.scoring.is_played else "iterations"
    label = f"{metric.name} of {', '.join(curve.name for curve in curves)} over {axis}"
    return Figure(
        title=label_of(metric.name) + (" (logarithmic)" if log else ""),
        axis=axis,
        picture=curves_picture(curves, label, marks, with_runs=with_runs, log=log),
        keys=tuple(Key(curve.name, curve.colour, len(curve.runs)) for curve in curves),
        marks=tuple(Mark(*item) for item in marks.items()),
    )


def label_of(name: str) -> str:
    """Write a metric's name in words."""
    return name.replace("_", " ").capitalize()
