"""What the site's pages show: tasks and suites with their rows, pictures and training curves."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from markupsafe import Markup

from pkubench.leaderboard.board.columns import Column, task_columns
from pkubench.leaderboard.board.entries import Entry, Submitter
from pkubench.leaderboard.board.ranking import Standing, SuiteStanding
from pkubench.leaderboard.board.tiers import Tier
from pkubench.leaderboard.site.drawing import (
    Curve,
    Scale,
    bar_picture,
    curves_data,
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
    data: str
    """The same as JSON, from which a script draws curves that can be zoomed."""
    keys: tuple[Key, ...]
    marks: tuple[Mark, ...]


class Row(NamedTuple):
    """A standing with its pictures."""

    standing: Standing
    picture: Markup
    bar: Markup


class Group(NamedTuple):
    """Rows of a table that are to be read apart from the others."""

    title: str
    rows: tuple[Row, ...]


class Sheet(NamedTuple):
    """One page of a table that is too long for one."""

    number: int
    href: str
    groups: tuple[Group, ...]


SHEET = 200
"""Rows of a page: as many as a phone scrolls through."""
_RANKED = "Ranked"
_WITHOUT = "Without a rank"
_FLAGGED = "Flagged: a copy, or an implausible claim"
_REPORTED = "Self-reported: not run again"
_TITLES = (_RANKED, _WITHOUT, _FLAGGED, _REPORTED)


@dataclass(frozen=True, kw_only=True)
class TaskPage:
    """Everything the page of a task shows."""

    task: Task
    standings: tuple[Standing, ...]
    rows: tuple[Row, ...]
    marks: tuple[Mark, ...]

    @cached_property
    def entries_by_digest(self) -> dict[str, Entry]:
        """Its entries by the hash of their submission."""
        return {s.entry.submitter.digest: s.entry for s in self.standings}

    @cached_property
    def rows_by_digest(self) -> dict[str, Row]:
        """Its rows by the hash of their submission."""
        return {row.standing.entry.submitter.digest: row for row in self.rows}

    @cached_property
    def sheets(self) -> tuple[Sheet, ...]:
        """The pages of its table: ranked entries first, and what nobody can trust apart."""
        ordered = [
            (title, row) for title in _TITLES for row in self.rows if _group_of(row) == title
        ]
        starts = range(0, max(1, len(ordered)), SHEET)
        return tuple(
            Sheet(number, sheet_href(self.href, number), _groups(ordered[start : start + SHEET]))
            for number, start in enumerate(starts, start=1)
        )

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
    def compared(self) -> str:
        """Address of the page that compares its entries."""
        return f"compare/{self.slug}.html"

    @property
    def further_pairs(self) -> str:
        """Address of the script with the comparisons that have no row there."""
        return f"compare/{self.slug}-pairs.js"

    @property
    def metric(self) -> Metric:
        """The ranking metric."""
        return self.task.ranking

    @property
    def tiers(self) -> list[str]:
        """The tiers of its entries."""
        return sorted({s.entry.verdict.tier.value for s in self.standings})

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
        flagged = [s for s in self.standings if s.entry.verdict.tier is Tier.FLAGGED]
        unflagged = [s for s in self.standings if s.entry.verdict.tier is not Tier.FLAGGED]
        scored = [s for s in (*unflagged, *flagged) if s.score is not None]
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
    empty: tuple[TaskPage, ...] = ()
    """Pages of its tasks without an entry."""

    @property
    def compared_href(self) -> str:
        """Address of the page that compares its agents."""
        return f"compare/suite-{self.name}.html"


def sheet_href(href: str, number: int) -> str:
    """Return the address of a page of a table; the first one has the table's own."""
    return href if number == 1 else href.replace(".html", f"-page{number}.html")


def _group_of(row: Row) -> str:
    if row.standing.rank is not None:
        return _RANKED
    tier = row.standing.entry.verdict.tier
    return {Tier.FLAGGED: _FLAGGED, Tier.SELF_REPORTED: _REPORTED}.get(tier, _WITHOUT)


def _groups(ordered: Sequence[tuple[str, Row]]) -> tuple[Group, ...]:
    titles = dict.fromkeys(title for title, _ in ordered)
    return tuple(Group(t, tuple(row for title, row in ordered if title == t)) for t in titles)


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
        data=json.dumps(
            curves_data(curves, marks, with_runs=with_runs, log=log) | {"label": label},
            separators=(",", ":"),
        ),
        keys=tuple(Key(curve.name, curve.colour, len(curve.runs)) for curve in curves),
        marks=tuple(Mark(*item) for item in marks.items()),
    )


def label_of(name: str) -> str:
    """Write a metric's name in words."""
    return name.replace("_", " ").capitalize()
