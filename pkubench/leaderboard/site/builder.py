"""Build the site: read the board once, rank, and fill the templates.

The exported site and the served one are these pages; a page is filled when it is asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from pkubench import __version__
from pkubench.errors import StorageError
from pkubench.leaderboard.board.columns import SUITE_COLUMNS, Column, agent_columns
from pkubench.leaderboard.board.entries import Entry, RunResult, Submitter
from pkubench.leaderboard.board.ranking import MIN_SEEDS, RESAMPLES, rank_suite, rank_task
from pkubench.leaderboard.board.secret import GAP_LEVEL
from pkubench.leaderboard.board.store import Board
from pkubench.leaderboard.site.drawing import (
    COLOURS,
    Curve,
    Scale,
    curve_of,
    number,
    tick_label,
)
from pkubench.leaderboard.site.pages import (
    UNSAFE,
    Figure,
    Mark,
    SuitePage,
    SuiteRow,
    TaskPage,
    agent_page,
    curves_figure,
    label_of,
    suite_picture,
    task_row,
)
from pkubench.tasks.outside import registered_tasks
from pkubench.tasks.registry import suites, tasks
from pkubench.tasks.task import Task

MARKER = "site.json"
"""Lists the files of the site: the next export may replace and remove these."""
_ASSETS = ("style.css", "sort.js")
_MAX_CURVES = 8
LIVE_PAGES = (
    {"href": "queue.html", "text": "Queue"},
    {"href": "submit.html", "text": "Submit"},
)
"""Pages that a server adds."""


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
        _write(root / MARKER, _json({**listing, "files": sorted({*files, *old})}))
        for name, data in sorted(files.items()):
            _write(root / name, data)
        for name in sorted(set(old) - files.keys()):
            (root / name).unlink(missing_ok=True)
        _write(root / MARKER, _json(listing))
    except OSError as error:
        raise StorageError(f"cannot write the site to {root}: {error.strerror or error}") from error
    return root / "index.html"


Maker = Callable[[], bytes]
"""Returns the content of a file."""


class Site:
    """The pages of a board as it stood when it was read."""

    def __init__(self, board: Board, *, is_live: bool = False) -> None:
        """Read the board and rank.

        Args:
            board: whose pages these are; bundles are read from it when they are asked for.
            is_live: whether a server adds the queue and the form for submissions.
        """
        self.board, self.is_live = board, is_live
        self.entries = board.entries()
        self.submitters = board.submissions()
        self.colours = {s.digest: number for number, s in enumerate(self.submitters)}
        by_task: dict[str, list[Entry]] = {}
        for entry in self.entries:
            by_task.setdefault(entry.task, []).append(entry)
        known = (*tasks(), *registered_tasks())
        self.pages = [
            self._task_page(task, by_task[task.id]) for task in known if task.id in by_task
        ]
        names = dict.fromkeys([*suites(), *(task.suite for task in known)])
        self.suites = [suite for name in names if (suite := self._suite_page(name)) is not None]
        self.environment = jinja2.Environment(
            loader=jinja2.PackageLoader("pkubench.leaderboard.site"),
            autoescape=True,  # every name and text of a submission is escaped
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.environment.filters |= {
            "number": number,
            "label": label_of,
            "heading_label": lambda text: text[:1].upper() + text[1:],
            "sorted_by": _sorted_by,
            "cell": lambda column, standing: column.write(column, standing, number),
            "sentence": _sentence,
            "page": agent_page,
            "steps": lambda value: "\N{EN DASH}" if value is None else tick_label(float(value)),
            "short": lambda value: f"{value:,.6g}".replace("-", "\N{MINUS SIGN}"),
            "heading": _heading,
            "count": lambda value: f"{value:,}",
        }
        self.environment.globals |= {
            "version": __version__,
            "min_seeds": MIN_SEEDS,
            "resamples": RESAMPLES,
            "gap_level": GAP_LEVEL,
            "navigation": [
                {"href": "index.html", "text": "Overview"},
                *(
                    {"href": f"suites/{suite.name}.html", "text": _heading(suite.name)}
                    for suite in self.suites
                ),
                *(LIVE_PAGES if is_live else ()),
                {"href": "methodology.html", "text": "Method"},
            ],
            "is_live": is_live,
        }

    @cached_property
    def files(self) -> dict[str, Maker]:
        """Each file's name below the root, and what makes its content."""
        return dict(self._files())

    def page(self, name: str, template: str, **values: Any) -> bytes:
        """Fill a template; ``name`` is the page's address below the root."""
        root = "../" * name.count("/")
        text = self.environment.get_template(template).render(root=root, here=name, **values)
        return text.encode()

    def _files(self) -> Iterator[tuple[str, Maker]]:
        package = resources.files("pkubench.leaderboard.site")
        for name in _ASSETS:
            yield name, (package / name).read_bytes
        yield "board.json", lambda: _json(self.board.export_json())
        counts = {
            "agents": len(self.submitters),
            "tasks": len(self.pages),
            "runs": sum(len(entry.runs) for entry in self.entries),
            "episodes": sum(len(run.records) for entry in self.entries for run in entry.runs),
        }
        yield self._page(
            "index.html",
            "index.html",
            suites=self.suites,
            submitters=self.submitters,
            counts=counts,
        )
        yield self._page("methodology.html", "methodology.html")
        for suite in self.suites:
            yield self._page(
                f"suites/{suite.name}.html", "suite.html", suite=suite, columns=SUITE_COLUMNS
            )
        for page in self.pages:
            yield self._page(page.href, "task.html", page=page)
        for submitter in self.submitters:
            yield from self._agent_files(submitter)

    def _page(self, name: str, template: str, **values: Any) -> tuple[str, Maker]:
        return name, partial(self.page, name, template, **values)

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
            figures=tuple(self._figures(task, entries)),
            marks=tuple(Mark(*item) for item in marks.items()),
        )

    def _figures(self, task: Task, entries: Sequence[Entry]) -> Iterator[Figure]:
        """Yield a figure for each metric of the task that the training curves have."""
        for metric in task.metrics:
            curves: list[Curve] = []
            for entry in entries:
                runs = [run.curve for run in entry.runs if run.curve]
                colour = self.colours[entry.submitter.digest] % COLOURS
                taken = {curve.colour for curve in curves}
                if colour in taken and len(taken) < COLOURS:  # its own one, if that is free
                    colour = next(k for k in range(COLOURS) if k not in taken)
                curve = curve_of(entry.submitter.name, colour, runs, metric.name)
                if curve is not None:
                    curves.append(curve)
            if curves:
                yield curves_figure(task, metric, curves[:_MAX_CURVES], with_runs=len(curves) == 1)

    def _suite_page(self, name: str) -> SuitePage | None:
        pages = tuple(page for page in self.pages if page.task.suite == name)
        if not pages:
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
        return SuitePage(name, summary, pages, compared, rows)

    def _agent_files(self, submitter: Submitter) -> Iterator[tuple[str, Maker]]:
        stem = agent_page(submitter).removeprefix("agents/").removesuffix(".html")
        bundle = f"downloads/{stem}/{stem}.zip"
        yield bundle, partial(self.board.bundle, submitter.digest)
        parts = []
        for page in self.pages:
            for row in page.rows:
                entry = row.standing.entry
                if entry.submitter.digest != submitter.digest:
                    continue
                runs = []
                for run in entry.runs:
                    label = UNSAFE.sub("-", run.name)
                    name = f"downloads/{stem}/{page.slug}/{label}.episodes.jsonl"
                    yield name, partial(bytes, run.lines)
                    runs.append({"result": run, "href": name})
                parts.append({"page": page, "row": row, "runs": runs})
        yield agent_page(submitter), partial(self._agent_page, submitter, bundle, parts)

    def _agent_page(
        self, submitter: Submitter, bundle: str, parts: Sequence[Mapping[str, Any]]
    ) -> bytes:
        filled = []
        for part in parts:
            task, entry = part["page"].task, part["row"].standing.entry
            filled.append(
                {
                    **part,
                    "metrics": [metric.name for metric in task.metrics],
                    "figures": list(self._figures(task, [entry])),
                    "command": _command(entry.runs),
                    "config": _config(entry.runs),
                }
            )
        return self.page(
            agent_page(submitter),
            "agent.html",
            submitter=submitter,
            columns=agent_columns(),
            parts=filled,
            bundle={"href": bundle, "size": _size(len(self.board.bundle(submitter.digest)))},
        )


def _command(runs: Sequence[RunResult]) -> str | None:
    commands = [run.command for run in runs if run.command is not None]
    return "\n".join(commands) if commands else None


def _config(runs: Sequence[RunResult]) -> str | None:
    """Return the configuration of the first run; the others differ in their seeds."""
    configs = [run.config for run in runs if run.config]
    return json.dumps(configs[0], indent=2, sort_keys=True) if configs else None


def _sorted_by(column: Column, standing: Any) -> float | str:
    """Return the value by which the page sorts; empty is last."""
    value = column.value(standing)
    return "" if value is None else value


def _heading(name: str) -> str:
    """Write a suite's name as a heading; short ones are abbreviations."""
    return name.upper() if len(name) <= 4 else name.capitalize()


def _sentence(text: str) -> str:
    """Begin with a capital, end with a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ")")) else ".")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


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
