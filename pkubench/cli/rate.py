"""``pkubench rate``: ratings of agents from tables of results, evaluations, or games."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pkubench.cli.names import command, task_named
from pkubench.cli.options import Json, Quiet, Seed, Trust, complete_tasks, count, verb_app
from pkubench.cli.output import Column, Output, number, prose
from pkubench.errors import ConfigError, RecordError, counted

if TYPE_CHECKING:
    from pkubench.evaluation.ratings.rating import Ratings
    from pkubench.evaluation.ratings.tables import Results

app = verb_app()

HEADS = {
    "elo": "Elo",
    "hodge": "Hodge",
    "mean": "mean",
    "nash_rating": "Nash rating",
    "nash_weight": "Nash weight",
    "alpha_rank": "alpha-rank",
    "alpha_rank_limit": "limit",
}
"""Rating -> head of its column."""
KIND_NAMES = ("wins", "payoffs", "general", "scores")


@app.command()
def rate(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|RESULTS|AGENT...",
            help="Tables (.csv, .json, .npz, .npy; several are runs of one table); folders of "
            "`pkubench evaluate --out`; or agents that meet in a game, with --task.",
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="GAME",
            help="The game in which agents meet each other; of results, only this task.",
            autocompletion=complete_tasks,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="What a table is of: wins (shares, i against j and j against i sum to 1), "
            "payoffs (zero-sum), general (not zero-sum), scores (agents on tasks). Default: look; "
            "of results, wins of runs against runs.",
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Selection of alpha-rank, in units of 1 / entry.")
    ] = 1.0,
    population: Annotated[
        int, count("--population", 2, "Individuals of alpha-rank's populations.")
    ] = 50,
    resamples: Annotated[
        int, count("--resamples", 10, "Resampled tables behind the intervals.")
    ] = 500,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Draw the ratings: an .svg or .png."),
    ] = None,
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rate agents: Nash averaging, alpha-rank, and Elo with what it leaves out.

    Elo and means of rows say who wins on average, and nothing of circles in which agents beat each
    other: the cyclic share says how much of the table that is. Nash averaging rates against the
    equilibrium of the table, which copies of agents do not change. Intervals are over runs.
    """
    from pkubench.evaluation.ratings.rating import Settings, rate

    if kind is not None and kind not in KIND_NAMES:
        raise ConfigError(f"--kind {kind!r} is none of {', '.join(KIND_NAMES)}")
    if out is not None and out.suffix not in (".svg", ".png"):
        raise ConfigError(f"--out {out}: figures are .svg or .png files")
    with Output(json=json, quiet=quiet) as output:
        results, title, remarks = _results(names, task, kind, trust)
        settings = Settings(alpha, population, resamples, seed)
        found = rate(results, settings)
        figure = None
        if out is not None:
            from pkubench.evaluation.figures.ratings import rating_figure

            figure = str(rating_figure(found, out, title=f"Ratings: {title}"))
        if json:
            about = {"schema": 1, "of": list(names), "task": task, "settings": asdict(settings)}
            output.document({**about, **found.to_json(), "remarks": remarks, "figure": figure})
            return
        output.show("", _table(output, title, found), "", *map(prose, _said(found)))
        output.show(*map(prose, remarks))
        if figure is not None:
            output.show(figure)
        else:
            output.next(command("rate", *names, "--out", "ratings.svg"))


def _results(
    names: Sequence[str], task: str | None, kind: str | None, trust: bool
) -> tuple[Results, str, list[str]]:
    """Return the table, a title, and remarks on what is left out of it.

    Raises:
        ConfigError: names of several sorts, or options that do not go with them.
    """
    from pkubench.evaluation.ratings.tables import SUFFIXES, read_tables

    files = [Path(n) for n in names if Path(n).suffix.lower() in SUFFIXES and ":" not in n]
    if files:
        if len(files) < len(names):
            raise ConfigError("rate takes tables or folders or agents, one sort at a time")
        if task is not None:
            raise ConfigError("--task goes with agents and with folders of results, not with files")
        return read_tables(files, kind or ""), ", ".join(file.name for file in files), []
    folders = [Path(n) for n in names if Path(n).is_dir() and not _is_agent(Path(n))]
    if folders and len(folders) < len(names):
        raise ConfigError("rate takes tables or folders or agents, one sort at a time")
    if folders:
        return _of_folders(folders, task, kind)
    if task is None:
        raise ConfigError(
            f"{names[0]} is no table and no folder of results; agents meet in a game, as in "
            f"`{command('rate', *names, '--task', 'GAME')}`"
        )
    if kind is not None:
        raise ConfigError("--kind goes with tables and results; agents in a game win payoffs")
    return _of_agents(names, task, trust)


def _is_agent(folder: Path) -> bool:
    from pkubench.agents.saved.runs import training_folders

    return (folder / "config.json").is_file() or bool(training_folders(folder))


def _of_folders(
    folders: Sequence[Path], task: str | None, kind: str | None
) -> tuple[Results, str, list[str]]:
    import numpy as np

    from pkubench.cli.results import excluded_lines, find_reports
    from pkubench.evaluation.normalised import normalised_scores
    from pkubench.evaluation.ratings.tables import RunTables, wins_of_scores
    from pkubench.tasks.registry import make_task

    wanted = None if task is None else task_named(task).id
    reports: dict[str, dict[str, Any]] = {}
    for report in find_reports(folders):
        if wanted in (None, report.task):
            reports.setdefault(report.task, {})[report.agent] = report
    if not reports:
        place = ", ".join(map(str, folders))
        of_task = "" if task is None else f" of {task}"
        raise RecordError(f"no results{of_task} in {place}; `pkubench evaluate` writes them")
    scores = normalised_scores(reports, [make_task(name) for name in reports])
    remarks = excluded_lines(scores)
    if len(scores.matrices) < 2 and (reasons := {item.reason for item in scores.excluded}):
        raise RecordError(
            f"ratings compare normalized scores, and {len(scores.matrices)} of the agents have one "
            f"({'; '.join(sorted(reasons))})"
        )
    matrices = {agent: matrix.scores for agent, matrix in scores.matrices.items()}
    tasks = next((matrix.tasks for matrix in scores.matrices.values()), ())
    title = f"{counted(len(matrices), 'agent')} on {counted(len(tasks), 'task')}"
    if kind == "scores" and len(matrices) > 1:
        runs = min(len(rows) for rows in matrices.values())
        tables = np.stack([rows[:runs] for rows in matrices.values()], axis=1)
        return RunTables(tuple(matrices), tasks, "scores", tables), title, remarks
    if kind not in (None, "wins", "scores"):
        raise ConfigError("of folders of results, --kind is wins or scores")
    return wins_of_scores(matrices), title, remarks


def _of_agents(names: Sequence[str], task: str, trust: bool) -> tuple[Results, str, list[str]]:
    from pkubench.agents.resolve.loading import resolve_agent
    from pkubench.cli.names import check_apart
    from pkubench.evaluation.ratings.cross_play import cross_play

    chosen = task_named(task)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"rate names {twice} twice; each agent is one row of the table")
    sources = [(name, resolve_agent(name, chosen, trust=trust)) for name in names]
    check_apart((name, source.name, chosen.id) for name, source in sources)
    entrants = {source.name: [run.load() for run in source.runs] for _, source in sources}
    return cross_play(entrants, chosen), f"{counted(len(entrants), 'agent')} in {task}", []


def _table(output: Output, title: str, found: Ratings) -> Any:
    shown = [name for name in HEADS if name in found.values]
    main = shown[0] if found.kind != "scores" else "nash_rating"
    columns = [
        Column("agent", style="bold"),
        *(Column(HEADS[name], right=True) for name in shown),
    ]
    rows = []
    for k in sorted(range(len(found.names)), key=lambda k: -found.values[main][k]):
        cells = []
        for name in shown:
            low, high = float(found.low[name][k]), float(found.high[name][k])
            cell = number(float(found.values[name][k]))
            if math.isfinite(low):
                cell += f" ({number(low, 3)} to {number(high, 3)})"
            cells.append(cell)
        rows.append([found.names[k], *cells])
    return output.table(title, columns, rows)


def _said(found: Ratings) -> list[str]:
    lines = []
    if found.cyclic_share is not None:
        value, low, high = found.cyclic_share
        ends = f" ({low:.0%} to {high:.0%})" if math.isfinite(low) else ""
        lines.append(
            f"Cyclic share {value:.0%}{ends}: what ratings leave out of the table, in squares."
        )
    if found.kind == "scores" and found.weights is not None:
        heavy = sorted(zip(found.weights, found.columns, strict=True), reverse=True)
        named = [f"{column} {weight:.2f}" for weight, column in heavy if weight > 0.005]
        lines.append(f"Tasks that Nash averaging weighs: {', '.join(named[:8])}.")
    lines.append(
        "Intervals are over runs."
        if found.runs > 1
        else "One run: there are no intervals. More files, or agents with several runs, give some."
    )
    return lines
