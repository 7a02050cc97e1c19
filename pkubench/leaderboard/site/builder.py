"""Build the site: read the board once, rank, and fill the templates.

The exported site and the served one are these pages; a page is filled when it is asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

from pkubench.agents.registry import presets
from pkubench.agents.suitability import trainable
from pkubench.errors import StorageError
from pkubench.evaluation.claims import LEVEL, judge_all
from pkubench.evaluation.evidence import shipped
from pkubench.evaluation.verdicts import MIN_RUNS, Judgement
from pkubench.leaderboard.board.columns import SUITE_COLUMNS
from pkubench.leaderboard.board.entries import Entry
from pkubench.leaderboard.board.films import Films
from pkubench.leaderboard.board.ranking import rank_suite, rank_task
from pkubench.leaderboard.board.store import Board
from pkubench.leaderboard.site.agent_files import Maker, agent_files, as_json
from pkubench.leaderboard.site.comparison_pages import (
    CHOICES,
    COMPARED,
    COMPARED_IN_SUITE,
    best_of,
    further_pairs,
    suite_rows,
    task_pairs,
)
from pkubench.leaderboard.site.downloads import standings_csv
from pkubench.leaderboard.site.drawing import COLOURS, Curve, Scale, curve_of
from pkubench.leaderboard.site.pages import (
    Figure,
    Mark,
    SuitePage,
    SuiteRow,
    TaskPage,
    curves_figure,
    sheet_href,
    suite_picture,
    task_row,
)
from pkubench.leaderboard.site.templating import environment, navigation
from pkubench.tasks.outside import registered_tasks
from pkubench.tasks.registry import claims, make_task, suites, tasks
from pkubench.tasks.task import Task

MARKER = "site.json"
"""Lists the files of the site: the next export may replace and remove these."""
_ASSETS = ("style.css", "board.js", "curves.js")
_UPLOT = ("uPlot.iife.min.js", "uPlot.min.css", "LICENSE")
_MAX_CURVES = 8
_NEWEST = 12
"""Submissions on the first page."""
_AGENTS = 500
"""Rows of a page of the list of agents."""


def export(board: Board, folder: str | os.PathLike[str]) -> Path:
    """Write the site of a board as static files and return the path of its first page.

    The same board gives the same bytes. An earlier export in ``folder`` is replaced: its files
    that are no longer needed are removed, and nothing else in the folder is touched.

    Raises:
        StorageError: the folder cannot be written, or holds files that are not an exported site.
    """
    root = Path(folder)
    files = {name: make() for name, make in Site(board).files.items()}
    listing = {"schema": 1, "files": sorted(files)}
    old = _earlier_files(root)
    try:
        # The marker comes first: a killed export is recognised as one by the next.
        root.mkdir(parents=True, exist_ok=True)
        _write(root / MARKER, as_json({**listing, "files": sorted({*files, *old})}))
        for name, data in sorted(files.items()):
            _write(root / name, data)
        for name in sorted(set(old) - files.keys()):
            (root / name).unlink(missing_ok=True)
        _write(root / MARKER, as_json(listing))
    except OSError as error:
        raise StorageError(f"cannot write the site to {root}: {error.strerror or error}") from error
    return root / "index.html"


class Site:
    """The pages of a board as it stood when it was read."""

    def __init__(
        self, board: Board, *, is_live: bool = False, address: str = "", is_whole: bool = True
    ) -> None:
        """Read the board and rank.

        Args:
            board: whose pages these are; bundles are read from it when they are asked for.
            is_live: whether a server adds the queue and the form for submissions.
            address: of the server, for the commands that submit to it; "" if it is not known.
            is_whole: whether there are also the pages that no entry changes: tasks without entries,
                and the claims.
        """
        self.board, self.is_live, self.address = board, is_live, address
        self._is_whole = is_whole
        self.entries = board.entries()
        self.submitters = board.submissions()
        self.films = Films(board.database)
        self.filmed = self.films.known()
        self._colours = {s.digest: number for number, s in enumerate(self.submitters)}
        by_task: dict[str, list[Entry]] = {}
        for entry in self.entries:
            by_task.setdefault(entry.task, []).append(entry)
        known = (*tasks(), *registered_tasks())
        self.pages = [
            self._task_page(task, by_task[task.id]) for task in known if task.id in by_task
        ]
        self.empty_pages = [
            self._task_page(task, ()) for task in known if is_whole and task.id not in by_task
        ]
        self.pages_of: dict[str, list[TaskPage]] = {}
        for page in self.pages:
            for digest in page.entries_by_digest:
                self.pages_of.setdefault(digest, []).append(page)
        names = dict.fromkeys([*suites(), *(task.suite for task in known)])
        every = [suite for name in names if (suite := self._suite_page(name)) is not None]
        self.suites = [suite for suite in every if suite.pages]
        self.empty_suites = [suite for suite in every if not suite.pages]
        self._common = {
            "navigation": navigation(
                {f"suites/{suite.name}.html": suite.name for suite in self.suites}, is_live
            ),
            "is_live": is_live,
            "to_board": f" --to {address or 'URL'}" if is_live else "",
        }

    @cached_property
    def files(self) -> dict[str, Maker]:
        """Each file's name below the root, and what makes its content."""
        return dict(self._files())

    def page(self, name: str, template: str, **values: Any) -> bytes:
        """Fill a template; ``name`` is the page's address below the root."""
        root = "../" * name.count("/")
        values = {**self._common, "root": root, "here": name, **values}
        return environment().get_template(template).render(values).encode()

    def _files(self) -> Iterator[tuple[str, Maker]]:
        package = resources.files("pkubench.leaderboard.site")
        for name in _ASSETS:
            yield name, (package / name).read_bytes
        for name in _UPLOT:
            yield f"uplot/{name}", (package / "vendor" / "uplot" / name).read_bytes
        yield "board.json", lambda: as_json(self.board.export_json())
        yield self._page("index.html", "index.html", site=self, **self._overview())
        yield self._page("methodology.html", "methodology.html")
        if not self.is_live:  # a server's page has the form as well
            yield self._page("submit.html", "submit.html", problem="", limit="", address="")
        if self._is_whole:
            yield "claims.html", self._claims_page
        for suite in (*self.suites, *self.empty_suites):
            yield self._page(
                f"suites/{suite.name}.html", "suite.html", suite=suite, columns=SUITE_COLUMNS
            )
            if len(suite.rows) > 1:
                yield suite.compared_href, partial(self._suite_comparison, suite)
        for page in (*self.pages, *self.empty_pages):
            yield from self._task_files(page)
        yield from self._lists_of_agents()
        for submitter in self.submitters:
            yield from agent_files(self, submitter)

    def _page(self, name: str, template: str, **values: Any) -> tuple[str, Maker]:
        return name, partial(self.page, name, template, **values)

    def _overview(self) -> dict[str, Any]:
        newest = sorted(
            (s for s in self.submitters if s.submitted_at),
            key=lambda s: (s.submitted_at or "", s.digest),
            reverse=True,
        )
        counts = {
            "agents": len(self.submitters),
            "tasks": len(self.pages),
            "runs": sum(len(entry.runs) for entry in self.entries),
            "episodes": sum(len(run.records) for entry in self.entries for run in entry.runs),
        }
        return {"counts": counts, "newest": (newest or self.submitters)[:_NEWEST]}

    def _lists_of_agents(self) -> Iterator[tuple[str, Maker]]:
        starts = range(0, max(1, len(self.submitters)), _AGENTS)
        pages = [sheet_href("agents.html", number) for number in range(1, len(starts) + 1)]
        for start, href in zip(starts, pages, strict=True):
            shown = self.submitters[start : start + _AGENTS]
            listed = [(s, self.pages_of.get(s.digest, [])) for s in shown]
            yield self._page(href, "agents.html", listed=listed, pages=pages)

    def _claims_page(self) -> bytes:
        judged = _judged(tuple(claims()))
        papers = {
            title: [each for each in judged if each.claim.paper == title]
            for title in dict.fromkeys(each.claim.paper for each in judged)
        }
        return self.page(
            "claims.html", "claims.html", papers=papers, level=LEVEL, min_runs=MIN_RUNS
        )

    def _task_files(self, page: TaskPage) -> Iterator[tuple[str, Maker]]:
        for sheet in page.sheets:
            make = partial(self._filled_task, page, sheet.number)
            yield sheet.href, make
        if not page.standings:
            return
        stem = page.href.removesuffix(".html")
        yield f"{stem}.csv", partial(standings_csv, page.task, page.standings)
        yield (
            f"{stem}.json",
            lambda: as_json(
                {"task": page.task.id, "standings": [one.to_json() for one in page.standings]}
            ),
        )
        if len(page.standings) > 1:
            yield page.compared, partial(self._task_comparison, page)
        if len(best_of(page, CHOICES)) > COMPARED and not self.is_live:  # a server compares itself
            yield page.further_pairs, partial(further_pairs, page)

    def _filled_task(self, page: TaskPage, number: int) -> bytes:
        sheet = page.sheets[number - 1]
        return self.page(
            sheet.href,
            "task.html",
            page=page,
            sheet=sheet,
            figures=list(self.figures(page.task, [s.entry for s in page.standings])),
            learner=_learner(page.task.id, len(presets())),
        )

    def _task_comparison(self, page: TaskPage) -> bytes:
        choices = [entry.submitter for entry in best_of(page, CHOICES)]
        return self.page(
            page.compared,
            "compare.html",
            page=page,
            pairs=task_pairs(page),
            choices=choices,
            most=COMPARED,
            offered=CHOICES,
        )

    def _suite_comparison(self, suite: SuitePage) -> bytes:
        return self.page(
            suite.compared_href,
            "compare_suite.html",
            suite=suite,
            rows=suite_rows(suite),
            most=COMPARED_IN_SUITE,
        )

    def _task_page(self, task: Task, entries: Sequence[Entry]) -> TaskPage:
        standings = rank_task(task, entries)
        marks = {name: reference.score for name, reference in sorted(task.references.items())}
        scores = [s.score for s in standings if s.score is not None]
        ranked = [s.score for s in standings if s.score is not None and s.rank is not None]
        scale = Scale.around(ranked if len(ranked) > 1 else scores, marks)
        return TaskPage(
            task=task,
            standings=standings,
            rows=tuple(task_row(standing, scale) for standing in standings),
            marks=tuple(Mark(*item) for item in marks.items()),
        )

    def figures(self, task: Task, entries: Sequence[Entry]) -> Iterator[Figure]:
        """Yield a figure for each metric of a task that the training curves of entries have.

        Only the first entries with curves are drawn.
        """
        for metric in task.metrics:
            curves: list[Curve] = []
            for entry in entries:
                if len(curves) == _MAX_CURVES:
                    break
                runs = [run.curve for run in entry.runs if run.curve]
                if not runs:
                    continue
                colour = self._colours[entry.submitter.digest] % COLOURS
                taken = {curve.colour for curve in curves}
                if colour in taken and len(taken) < COLOURS:  # its own one, if that is free
                    colour = next(k for k in range(COLOURS) if k not in taken)
                curve = curve_of(entry.submitter.name, colour, runs, metric.name)
                if curve is not None:
                    curves.append(curve)
            if curves:
                yield curves_figure(task, metric, curves, with_runs=len(curves) == 1)

    def _suite_page(self, name: str) -> SuitePage | None:
        pages = tuple(page for page in self.pages if page.task.suite == name)
        empty = tuple(page for page in self.empty_pages if page.task.suite == name)
        if not pages and not empty:
            return None
        compared = tuple(page for page in pages if page.has_normalised)
        standings = rank_suite(
            [page.task for page in compared], {page.task.id: page.standings for page in compared}
        )
        scores = [s.aggregate for s in standings if s.aggregate is not None]
        ranked = [s.aggregate for s in standings if s.aggregate is not None and s.rank is not None]
        scale = Scale.around(
            ranked if len(ranked) > 1 else scores, {"random": 0.0, "reference": 1.0}
        )
        suite = suites().get(name)
        summary = "Tasks of another package" if suite is None else suite.sentence
        rows = tuple(SuiteRow(standing, suite_picture(standing, scale)) for standing in standings)
        return SuitePage(name, summary, pages, compared, rows, empty)


@lru_cache(maxsize=1000)
def _learner(task: str, known: int) -> str:
    """Return the agent to try first on a task, "" if none trains; ``known`` presets there are."""
    fitting = trainable(make_task(task))
    return fitting[0].name if fitting else ""


@lru_cache(maxsize=1)
def _judged(names: tuple[str, ...]) -> tuple[Judgement, ...]:
    """Return what the shipped runs say of claims: the same for every board and edition."""
    known = claims()
    return tuple(judge_all([known[name] for name in names], shipped()))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _earlier_files(root: Path) -> list[str]:
    """Return the files of an earlier export; refuse a folder with anything else in it."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return []
    try:
        found = json.loads((root / MARKER).read_bytes())["files"]
        names = [str(name) for name in found]
    except (OSError, ValueError, KeyError, TypeError):
        raise StorageError(
            f"{root} is not empty and holds no exported site; choose another folder"
        ) from None
    return [name for name in names if ".." not in name and not name.startswith("/")]
