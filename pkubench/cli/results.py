"""Finding evaluations in folders; their numbers are computed from the episode lines, always."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import RenderableType
from rich.text import Text

from pkubench.cli.names import short
from pkubench.cli.output import Column, Output, number
from pkubench.errors import (
    ConfigError,
    PkubenchError,
    PkubenchWarning,
    RecordError,
    UnknownName,
    counted,
)
from pkubench.evaluation.normalised import NO_REFERENCES, NormalisedScores
from pkubench.evaluation.report import Report, ranking_key
from pkubench.tasks.records import EPISODES
from pkubench.tasks.registry import make_task, tasks
from pkubench.tasks.task import Metric

_T = TypeVar("_T")


def find_folders(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield every ``OUT/AGENT/TASK`` at or below the paths, or a single run's folder as given.

    Raises:
        RecordError: a path does not exist.
    """
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise RecordError(f"there is nothing at {path}")
        if (path / EPISODES).is_file():
            found = [path]
        else:
            found = sorted({file.parent.parent for file in path.rglob(EPISODES)})
        for folder in found:
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder


def find_reports(paths: Iterable[Path]) -> list[Report]:
    """Return the reports of all evaluations at or below the paths, in the order of the tasks.

    Raises:
        RecordError: a path does not exist, or records are damaged or incomplete.
    """
    return in_order(
        report for _, report in of_known_tasks(find_folders(paths), Report.from_records)
    )


def of_known_tasks(folders: Iterable[Path], read: Callable[[Path], _T]) -> list[tuple[Path, _T]]:
    """Return each folder and what ``read`` makes of it; those of tasks not known here are left out.

    A task of another package is known only if its module can be imported. What is left out is
    said in a warning each; if that is all there is, it is the error.

    Raises:
        ConfigError, UnknownName: no folder is of a known task.
        RecordError: as ``read``.
    """
    found: list[tuple[Path, _T]] = []
    left_out: list[tuple[Path, PkubenchError]] = []
    for folder in folders:
        try:
            found.append((folder, read(folder)))
        except (ConfigError, UnknownName) as error:
            left_out.append((folder, error))
    if left_out and not found:
        raise left_out[0][1]
    for folder, reason in left_out:
        warnings.warn(PkubenchWarning(f"left out {folder}: {reason}"), stacklevel=2)
    return found


def in_order(reports: Iterable[Report]) -> list[Report]:
    """Return reports as a board would: task by task, the best first."""
    place = {task.id: number for number, task in enumerate(tasks())}

    def key(report: Report) -> tuple[int, tuple[int, float], str]:
        best = ranking_key(report, make_task(report.task))
        return place.get(report.task, len(place)), best, report.agent

    return sorted(reports, key=key)


def excluded_lines(scores: NormalisedScores) -> list[str]:
    """Return a sentence for what is left out of the normalised scores.

    Tasks without reference scores are not mentioned: no agent has a normalised score there.
    """
    return [
        f"Not in the normalized scores: {item.agent} on {short(item.task)} ({item.reason})."
        for item in scores.excluded
        if item.reason != NO_REFERENCES
    ]


def reports_table(output: Output, reports: Iterable[Report]) -> list[RenderableType]:
    """Return the tables of scores, and a line for every kind of failure.

    Tasks with a cost limit have a table of their own, because most of its columns are theirs alone.
    A single evaluation is shown with all that its task measures, several by what ranks them.
    """
    reports = list(reports)
    groups: tuple[list[Report], list[Report]] = ([], [])
    for report in reports:
        groups[make_task(report.task).cost_limit is not None].append(report)
    tables = [_table(output, group) for group in groups if group]
    if len(reports) == 1 and (others := _other_metrics(reports[0])):
        columns = ("metric", "mean", "95 % interval", "n")
        rows = [_measured(reports[0], metric) for metric in others]
        tables.append(
            output.table(
                "", [Column(c, right=c != "metric") for c in columns], [[*r] for r in rows]
            )
        )
    spaced = [part for table in tables for part in (table, "")][:-1]
    return [*spaced, *_failures(reports), *_beyond_budgets(reports)]


def _table(output: Output, reports: list[Report]) -> RenderableType:
    columns = (
        Column("task", style="bold"),
        Column("agent", style="bold"),
        Column("metric"),
        Column("mean", right=True),
        Column("95 % interval", right=True),
        Column("n", right=True),
        Column("cost", right=True),
        Column("violation", right=True),
        Column("feasible runs", right=True, rank=2),
        Column("normalized", right=True, rank=3),
        Column("failed", right=True, rank=1),
    )
    # Columns that are empty in every row are left out.
    empty = set()
    if all(make_task(report.task).cost_limit is None for report in reports):
        empty |= {"cost", "violation", "feasible runs"}
    if all(report.normalised is None for report in reports):
        empty.add("normalized")
    rows: list[list[str | Text]] = []
    last = ""
    for report in reports:
        rows.append(
            [
                short(report.task) if report.task != last else "",
                report.agent,
                *_measured(report, make_task(report.task).ranking),
                _cost(report),
                *_constraint(report),
                number(report.normalised, 3),
                Text(number(report.failed), style="red" if report.failed else "dim"),
            ]
        )
        last = report.task
    kept = [i for i, column in enumerate(columns) if column.title not in empty]
    return output.table("", [columns[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _measured(report: Report, metric: Metric) -> tuple[str, str, str, str]:
    """Return a metric's cells: name, mean, interval and sample."""
    measured = report.metrics[metric.name]
    bounds = "–"
    if measured.low is not None and measured.high is not None:
        bounds = f"{number(measured.low)} to {number(measured.high)}"
    if metric.interval == "exact" and measured.n == 1:
        bounds = "exact"
    sample = f"{measured.n} {report.sample}" if measured.n > 1 else str(measured.n)
    name = f"{metric.name} {'↑' if metric.higher_is_better else '↓'}"
    return name, number(measured.mean), bounds, sample


def _other_metrics(report: Report) -> list[Metric]:
    """Return what a task measures besides its ranking metric and the cost, if the report has it."""
    task = make_task(report.task)
    shown = {task.ranking.name, "cost"}
    return [m for m in task.metrics if m.name not in shown and m.name in report.metrics]


def _cost(report: Report) -> Text:
    if make_task(report.task).cost_limit is None:
        return Text("")
    cost = report.metrics["cost"].mean
    if report.feasible is None:  # unknown, because episodes failed
        return Text(number(cost))
    return Text(number(cost), style="green" if report.feasible else "red")


def _constraint(report: Report) -> tuple[str, str]:
    """Return how far the mean cost is over the limit, and how many runs are within it."""
    found = report.constraint
    if found is None:
        return "", ""
    violation = found.violation
    text = number(violation.mean)
    if violation.low is not None and violation.high is not None:
        text += f" ({number(violation.low)} to {number(violation.high)})"
    return text, found.runs_within or "–"


def _beyond_budgets(reports: Iterable[Report]) -> Iterator[Text]:
    for report in reports:
        if report.beyond_budget:
            where = f"{report.agent} on {short(report.task)}"
            yield Text(
                f"{where} was trained beyond the protocol's budget: {report.beyond_budget}",
                style="yellow",
            )


def _failures(reports: Iterable[Report]) -> Iterator[Text]:
    for report in reports:
        for reason, count in report.failures.items():
            where = f"{report.agent} on {short(report.task)}"
            yield Text(f"{counted(count, 'episode')} of {where} failed: {reason}", style="red")


def chosen_agents(agents: str | None, known: set[str]) -> set[str]:
    """Return the agents that a list chooses, all if there is none.

    Raises:
        UnknownName: there are no records of one.
    """
    if agents is None:
        return known
    chosen = {name.strip() for name in agents.split(",") if name.strip()}
    for name in sorted(chosen - known):
        raise UnknownName("records of agent", name, known)
    return chosen
