"""Records of values among results: sheets of answers, and matches of dilemmas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pkubench.cli.names import short
from pkubench.cli.results import find_folders, of_known_tasks
from pkubench.errors import RecordError
from pkubench.evaluation.report import Report
from pkubench.tasks.records import EPISODES, EpisodeRecord, read_records
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task

if TYPE_CHECKING:
    from pkubench.evaluation.orientation import FloatArray, ValueRow
    from pkubench.tasks.value_items import ValueItems

VALUE_KINDS = ("ring", "radar")
"""Figures of values, as ``pkubench plot --kind`` names them."""


class Sheets(NamedTuple):
    """An agent's sheets of answers, of all its runs."""

    agent: str
    task: Task
    scoring: ValueItems
    records: Sequence[EpisodeRecord]

    def rows(self) -> list[ValueRow]:
        """Return a row for each condition."""
        from pkubench.evaluation.orientation import value_rows

        return value_rows(self.records, self.scoring.ring)

    @property
    def has_all_values(self) -> bool:
        """Whether there are sheets of each of the four values."""
        from pkubench.envs.alignment.slider import VALUES

        return set(VALUES) <= {record.group for record in self.records}

    def angles(self) -> dict[str, list[float]]:
        """Return the angle of every sheet, in degrees, by condition."""
        found: dict[str, list[float]] = {}
        for record in self.records:
            found.setdefault(record.group, []).append(record.metrics["angle"])
        return found


class Played(NamedTuple):
    """An agent's matches of a game whose choices reveal preferences."""

    agent: str
    task: Task
    changes: list[FloatArray]
    """Of each match with a partner that does not react; see ``dilemma_changes``."""


def find_sheets(paths: Iterable[Path]) -> list[Sheets]:
    """Return the sheets of answers at or below the paths, without those of failed episodes.

    Raises:
        RecordError: a path does not exist, or records are damaged or incomplete.
    """
    from pkubench.tasks.value_items import ValueItems

    found = []
    for folder, report in _reports(paths):
        task = make_task(report.task)
        if isinstance(task.scoring, ValueItems):
            records = [record for record in _records(folder) if record.failure is None]
            if records:
                found.append(Sheets(report.agent, task, task.scoring, records))
    return found


def find_matches(paths: Iterable[Path]) -> list[Played]:
    """Return the matches at or below the paths, of games of two with partners that do not react.

    Raises:
        RecordError: a path does not exist, or records are damaged or incomplete.
    """
    from pkubench.envs.core.registry import make_batch
    from pkubench.evaluation.orientation import dilemma_changes
    from pkubench.tasks.matches import Matches

    found = []
    for folder, report in _reports(paths):
        task = make_task(report.task)
        if not isinstance(task.scoring, Matches):
            continue
        game: Any = make_batch(task.id, 1, **task.env_kwargs).unwrapped
        if not hasattr(game, "table"):
            continue
        changes = dilemma_changes(_records(folder), game.table, game.fixed_partners)
        if changes:
            found.append(Played(report.agent, task, changes))
    return found


def value_figures(
    paths: Iterable[Path], kind: str | None, agents: Collection[str]
) -> Iterator[tuple[str, Callable[[Path], Path]]]:
    """Yield the figures of sheets of answers: each one's name, and what draws it into a file.

    Args:
        paths: Results, or folders that hold many.
        kind: One of ``VALUE_KINDS``; None is all that can be drawn.
        agents: Those to draw.

    Raises:
        RecordError: a path does not exist, or records are damaged or incomplete.
    """
    from pkubench.evaluation.figures.values import radar_figure, ring_figure
    from pkubench.evaluation.run.harness import folder_name

    found = [sheets for sheets in find_sheets(paths) if sheets.agent in agents]
    if kind in (None, "ring"):
        for sheets in found:
            name = f"{folder_name(sheets.agent)}-{folder_name(short(sheets.task.id))}-ring"
            yield name, partial(_into_file, ring_figure, sheets.angles(), title=sheets.agent)
    followed = {sheets.agent: sheets.rows() for sheets in found if sheets.has_all_values}
    if kind in (None, "radar") and followed:
        yield "values-radar", partial(_into_file, radar_figure, followed)


def _into_file(draw: Callable[..., None], data: Any, file: Path, **settings: Any) -> Path:
    draw(file, data, **settings)
    return file


def _reports(paths: Iterable[Path]) -> list[tuple[Path, Report]]:
    """Return every result with its folder; none where there are none."""
    folders = list(find_folders(paths))
    return of_known_tasks(folders, Report.from_records) if folders else []


def _records(folder: Path) -> list[EpisodeRecord]:
    """Return the episodes of all runs of a result."""
    own = folder / EPISODES
    files = [own] if own.is_file() else sorted(folder.glob(f"*/{EPISODES}"))
    if not files:
        raise RecordError(f"{folder} has no {EPISODES}")
    return [record for file in files for record in read_records(file)]
