"""``pkubench leaderboard``: show a board, write it as a static web site, or serve it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.text import Text

from pkubench.cli import leaderboard_data as data
from pkubench.cli import leaderboard_service as service
from pkubench.cli.names import command, short, task_named
from pkubench.cli.options import Json, Quiet, Workers, complete_tasks
from pkubench.cli.output import Column, Output, number
from pkubench.cli.submit import BoardPlace, board_place
from pkubench.errors import ConfigError, StorageError, UnknownName
from pkubench.tasks.outside import registered_tasks
from pkubench.tasks.registry import tasks
from pkubench.tasks.task import Task

if TYPE_CHECKING:
    from pkubench.leaderboard.board.ranking import Standing
    from pkubench.leaderboard.board.store import Board

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Show a board, write it as a web site, or serve it to others.",
)
app.command()(service.serve)
app.command()(service.worker)
app.command()(service.retry)
app.command()(data.backup)
app.command()(data.restore)
app.command()(data.bundles)
app.command("import")(data.import_bundles)
app.add_typer(service.tokens_app, name="token")

ResultsFolder = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="DIR",
        help="Instead of a board: the results of `pkubench evaluate --out DIR`.",
    ),
]
WeightsFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--weights", metavar="PATH", help="With --results: folders with your own weights."
    ),
]
Rerun = Annotated[
    bool,
    typer.Option("--rerun", help="With --results: play every episode again, as for a submission."),
]


@app.command()
def show(
    task: Annotated[
        str | None,
        typer.Argument(metavar="[TASK]", help="Only this task.", autocompletion=complete_tasks),
    ] = None,
    board: BoardPlace = None,
    results: ResultsFolder = None,
    weights: WeightsFolders = None,
    rerun: Rerun = False,
    workers: Workers = 1,
    suite: Annotated[
        str | None, typer.Option("--suite", metavar="SUITE", help="Only this suite.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the rankings: ranks with intervals, and why an entry has none."""
    from pkubench.leaderboard.board.ranking import rank_task

    suites = {known.suite for known in tasks()}
    if suite is not None and suite not in suites:
        raise UnknownName("suite", suite, suites)
    chosen = None if task is None else task_named(task)
    place = _Place(board, results, weights, rerun, workers)
    with Output(json=json, quiet=quiet) as output, _open(place) as opened:
        present = set(opened.tasks())
        tables = [
            (known, rank_task(known, opened.entries(known.id)))
            for known in ((*tasks(), *registered_tasks()) if chosen is None else (chosen,))
            if known.id in present and suite in (None, known.suite)
        ]
        if json:
            output.document(
                {
                    "tasks": [
                        {
                            "task": known.id,
                            "suite": known.suite,
                            "metric": known.ranking.name,
                            "standings": [standing.to_json() for standing in standings],
                        }
                        for known, standings in tables
                    ]
                }
            )
            return
        if not tables:
            output.show("The board has no entries here.")
        for known, standings in tables:
            output.show(_table(output, known, standings), "")
        where = _same_place(board, results, weights)
        output.next(command("leaderboard", "export", "site", *where))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write the site to.")],
    board: BoardPlace = None,
    results: ResultsFolder = None,
    weights: WeightsFolders = None,
    rerun: Rerun = False,
    workers: Workers = 1,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a board as a static web site: plain files that work from a disk or any server."""
    from pkubench.leaderboard.site import export as write_site

    place = _Place(board, results, weights, rerun, workers)
    with Output(json=json, quiet=quiet) as output, _open(place) as opened:
        page = write_site(opened, folder)
        if json:
            output.document({"site": str(page)})
            return
        output.show(str(page))
        output.next(shlex.join(["python", "-m", "http.server", "--directory", str(folder)]))


class _Place(NamedTuple):
    """Where entries come from: a board, or a folder of results."""

    board: str | None
    results: Path | None
    weights: list[Path] | None
    rerun: bool
    workers: int


def _open(place: _Place) -> Board:
    from pkubench.leaderboard import Board, board_of_results

    if place.results is not None:
        if place.board is not None:
            raise ConfigError("--board and --results both say what to show; give only one")
        return board_of_results(
            place.results,
            weights=place.weights or (),
            rerun=place.rerun,
            workers=place.workers,
        )
    if place.rerun:
        raise ConfigError("--rerun belongs to --results; a board ran its weights when it took them")
    if place.weights:
        raise ConfigError("--weights belongs to --results; a board has its own weights")
    where = board_place(place.board)
    if "://" not in where and not Path(where).is_file():
        raise StorageError(
            f"there is no board at {where}; `pkubench submit` makes one, --results DIR shows "
            "the results of `pkubench evaluate --out DIR`"
        )
    return Board.open(where)


def _same_place(
    board: str | None, results: Path | None, weights: list[Path] | None
) -> list[str | Path]:
    if results is not None:
        return ["--results", results, *(x for path in weights or () for x in ("--weights", path))]
    return ["--board", board] if board else []


def _table(output: Output, task: Task, standings: tuple[Standing, ...]) -> Any:
    from pkubench.leaderboard.board.columns import task_columns

    columns = task_columns(task, standings, "terminal")
    rows = [
        [Text(c.write(c, s, number), style=_style(c.name, s)) for c in columns] for s in standings
    ]
    headers = [
        Column(
            column.heading(task),
            style="bold" if column.name == "agent" else "",
            right=column.is_number or column.name in ("rank", "interval"),
            rank=column.rank,
            wraps=column.wraps,
        )
        for column in columns
    ]
    limit = "" if task.cost_limit is None else f" (cost limit {number(task.cost_limit)})"
    return output.table(f"{short(task.id)}{limit}", headers, rows)


def _style(column: str, standing: Standing) -> str:
    """Return how a cell is printed: a cost by whether it is within the limit."""
    if column == "agent" and not standing.entry.verdict.tier.is_ranked:
        return "dim"
    if column == "cost" and standing.cost is not None:
        return "green" if standing.feasible else "red"
    return ""
