"""``pkubench compare``: how much better is one agent than another, and how sure is that?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import RenderableType
from rich.text import Text

from pkubench.agents.registry import presets
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.resolve.sources import AgentSource
from pkubench.agents.saved.runs import training_folders
from pkubench.cli.names import check_apart, command, counted_in, short, task_named
from pkubench.cli.options import (
    Episodes,
    Json,
    Quiet,
    Seed,
    Trust,
    Workers,
    complete_tasks,
    verb_app,
)
from pkubench.cli.output import Column, Output, number, prose, signed
from pkubench.cli.progress import Meter
from pkubench.cli.results import excluded_lines, find_folders, in_order, of_known_tasks
from pkubench.errors import ConfigError, RecordError, UnknownName, counted
from pkubench.evaluation.comparison import Comparison, compare_records
from pkubench.evaluation.normalised import (
    NormalisedScores,
    excluded_json,
    normalised_scores,
)
from pkubench.evaluation.report import Report, RunRecords, build_report, read_run, run_folders
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task

app = verb_app()


class Evaluated(NamedTuple):
    """One agent on one task."""

    report: Report
    runs: list[RunRecords]
    origin: str
    """The folder it was read from, or the agent that was scored for it, as given."""


@app.command()
def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS|AGENT...",
            help="Folders of `pkubench evaluate --out`; or agents, with --task.",
        ),
    ],
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="Only these tasks; agents are evaluated on them first.",
            autocompletion=complete_tasks,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="AGENT", help="Compare with this one, not the best."),
    ] = None,
    seed: Seed = 0,
    episodes: Episodes = None,
    workers: Workers = 1,
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare agents: differences of means with Welch intervals, chances of improvement.

    On each task the best agent (or --baseline) is compared with each other one. An agent with
    several training runs is a sample of their means; one with a single run is a sample of its
    episodes, which say how well that run acts and nothing about the algorithm. Where an agent is
    over a cost limit, its return does not count: the verdict is infeasible.
    """
    chosen = [task_named(name) for name in task or []]
    folders, agents = _folders_and_agents(names, chosen)
    with Output(json=json, quiet=quiet) as output:
        # a misspelled agent is reported before anything runs
        sources = [
            (name, resolve_agent(name, wanted, trust=trust), wanted)
            for name in agents
            for wanted in chosen
        ]
        check_apart((name, source.name, wanted.id) for name, source, wanted in sources)
        found = list(_from_folders(folders, chosen))
        for _, source, wanted in sources:
            found.append(_evaluated(source, wanted, seed, episodes, workers, output))
        table = _by_task(found)
        comparisons = _comparisons(table, baseline)
        scores = _scores(table)
        overall = _overall(scores)
        if json:
            documents = [{**c.to_json(), "verdict": verdict(c)} for c in comparisons]
            output.document(
                {
                    "comparisons": documents,
                    "overall": overall,
                    "excluded": excluded_json(scores.excluded),
                }
            )
            return
        output.show("", _table(output, comparisons), "")
        if overall:
            output.show(_overall_table(output, overall), "")
            output.show(*(prose(line) for line in excluded_lines(scores)))
        output.show(*_remarks(comparisons))
        if folders:
            output.next(command("plot", folders[0]))


def _folders_and_agents(
    names: Sequence[str], chosen: Sequence[Task]
) -> tuple[list[Path], list[str]]:
    """Return which of the names are results folders and which are agents.

    Raises:
        ConfigError: an agent is named twice, or without a task.
        UnknownName: a name is neither.
    """
    folders = [Path(name) for name in names if Path(name).is_dir() and not _is_agent(Path(name))]
    agents = [name for name in names if Path(name) not in folders]
    twice = [name for name in agents if agents.count(name) > 1]
    if twice:
        raise ConfigError(f"compare names {twice[0]} twice; give two agents")
    if agents and not chosen:
        lost = [name for name in agents if _is_unknown(name)]
        if lost:
            raise UnknownName(
                "results folder or agent", lost[0], presets(), "`pkubench list` shows all agents"
            )
        raise ConfigError(
            f"no task given to compare {', '.join(agents)} on; name a --task, or a results folder"
        )
    return folders, agents


def verdict(comparison: Comparison) -> str:
    """Return ``better`` or ``worse`` where the interval leaves out 0, otherwise ``unclear``.

    ``infeasible`` if an agent's mean cost is over the task's limit: it has no score to compare.
    """
    if over_limit(comparison):
        return "infeasible"
    if comparison.low is None or comparison.high is None:
        return "unclear"
    if comparison.low <= 0 <= comparison.high:
        return "unclear"
    return "better" if (comparison.low > 0) == comparison.higher_is_better else "worse"


def over_limit(comparison: Comparison) -> list[str]:
    """Return the agents whose mean cost is over the task's limit."""
    sides = (comparison.first, comparison.second)
    return [side.agent for side in sides if side.feasible is False]


def _is_unknown(name: str) -> bool:
    return name.partition("@")[0] not in presets() and ":" not in name and not Path(name).exists()


def _is_agent(path: Path) -> bool:
    return bool(training_folders(path))


def _from_folders(folders: Sequence[Path], chosen: Sequence[Task]) -> Iterator[Evaluated]:
    def read(folder: Path) -> tuple[list[RunRecords], Report]:
        runs = [read_run(path) for path in run_folders(folder)]
        return runs, build_report(runs)

    for folder, (runs, report) in of_known_tasks(find_folders(folders), read):
        if not chosen or report.task in {task.id for task in chosen}:
            yield Evaluated(report, runs, str(folder))


def _evaluated(
    source: AgentSource,
    task: Task,
    seed: int,
    episodes: int | None,
    workers: int,
    output: Output,
) -> Evaluated:
    from pkubench.evaluation.run.harness import Progress, evaluate, evaluation_folder

    title = f"{source.name} on {short(task.id)}"
    with (
        tempfile.TemporaryDirectory(prefix="pkubench-compare-") as folder,
        Meter(title, quiet=output.quiet, unit=counted_in(task)) as meter,
    ):

        def show(progress: Progress) -> None:
            meter.update(progress.done, progress.total)

        report = evaluate(
            source,
            task,
            episodes=episodes,
            seed=seed,
            workers=workers,
            out=folder,
            progress=show,
        )
        paths = run_folders(evaluation_folder(folder, source.name, task))
        return Evaluated(report, [read_run(path) for path in paths], source.name)


def _by_task(found: Sequence[Evaluated]) -> dict[str, dict[str, Evaluated]]:
    """Return task -> agent -> evaluation, the best agent first, in the order of the tasks."""
    table: dict[str, dict[str, Evaluated]] = {}
    of_report = {id(one.report): one for one in found}
    for report in in_order(one.report for one in found):
        agents = table.setdefault(report.task, {})
        if report.agent in agents:
            origins = agents[report.agent].origin, of_report[id(report)].origin
            raise RecordError(
                f"{report.agent} on {report.task} was given twice, from {' and '.join(origins)}; "
                "give one of them"
            )
        agents[report.agent] = of_report[id(report)]
    return table


def _comparisons(
    table: Mapping[str, Mapping[str, Evaluated]], baseline: str | None
) -> list[Comparison]:
    known = {agent for agents in table.values() for agent in agents}
    if baseline is not None and baseline not in known:
        raise UnknownName("agent in these results", baseline, known)
    found = []
    for task_id, agents in table.items():
        task = make_task(task_id)
        names = list(agents)
        if baseline is None:
            pairs = [(names[0], other) for other in names[1:]]
        else:
            pairs = [(name, baseline) for name in names if name != baseline and baseline in names]
        for pair in pairs:
            sides = [agents[name] for name in pair]
            runs, reports = [side.runs for side in sides], [side.report for side in sides]
            found.append(compare_records(runs, reports, task, task.ranking))
    if not found:
        raise RecordError("there is nothing to compare: no task has two agents")
    return found


def _scores(table: Mapping[str, Mapping[str, Evaluated]]) -> NormalisedScores:
    """Return the normalised scores on the tasks that all agents with several runs share."""
    reports = {
        task_id: {agent: evaluated.report for agent, evaluated in agents.items()}
        for task_id, agents in table.items()
    }
    return normalised_scores(reports, [make_task(task_id) for task_id in table], min_runs=2)


def _overall(scores: NormalisedScores) -> list[dict[str, Any]]:
    """Return each agent's aggregates over the tasks, the best first."""
    from pkubench.evaluation.statistics import iqm, optimality_gap, stratified_bootstrap

    rows = []
    for agent, matrix in scores.matrices.items():
        runs = len(matrix.scores)
        row: dict[str, Any] = {"agent": agent, "tasks": sorted(matrix.tasks), "runs": runs}
        for name, statistic in (("iqm", iqm), ("optimality_gap", optimality_gap)):
            row[name] = stratified_bootstrap(matrix.scores, statistic)._asdict()
        rows.append(row)
    return sorted(rows, key=lambda row: -row["iqm"]["estimate"])


def _table(output: Output, comparisons: Sequence[Comparison]) -> Any:
    columns = (
        Column("task", style="bold"),
        Column("agent"),
        Column("against"),
        Column("difference", right=True),
        Column("95 % interval", right=True),
        Column("p", right=True, rank=2),
        Column("P(better)", right=True, rank=1),
        Column("n", right=True),
        Column(""),
    )
    styles = {"better": "green", "worse": "red", "unclear": "yellow", "infeasible": "red"}
    rows = []
    last = ""
    for c in comparisons:
        interval = "–" if c.low is None else f"{number(c.low)} to {number(c.high)}"
        rows.append(
            (
                short(c.task) if c.task != last else "",
                c.first.agent,
                c.second.agent,
                signed(c.difference),
                interval,
                "–" if c.p_value is None else f"{c.p_value:.2g}",
                f"{c.probability_of_improvement:.0%}",
                _sizes(c),
                Text(verdict(c), style=styles[verdict(c)]),
            )
        )
        last = c.task
    return output.table("Differences in the ranking metric", columns, rows)


def _sizes(c: Comparison) -> str:
    if c.sample == "mixed":
        return ", ".join(
            counted(side.n, side.sample.removesuffix("s")) for side in (c.first, c.second)
        )
    return f"{c.first.n}, {counted(c.second.n, c.sample.removesuffix('s'))}"


def _overall_table(output: Output, overall: Sequence[Mapping[str, Any]]) -> Any:
    columns = (
        Column("agent", style="bold"),
        Column("tasks", right=True),
        Column("runs", right=True),
        Column("IQM", right=True),
        Column("95 % interval", right=True),
        Column("optimality gap", right=True, rank=2),
    )
    rows = [
        (
            row["agent"],
            str(len(row["tasks"])),
            str(row["runs"]),
            number(row["iqm"]["estimate"], 3),
            f"{number(row['iqm']['low'], 3)} to {number(row['iqm']['high'], 3)}",
            number(row["optimality_gap"]["estimate"], 3),
        )
        for row in overall
    ]
    title = "Normalized scores over tasks (0 the best of random and lazy play, 1 the reference)"
    return output.table(title, columns, rows)


def _remarks(comparisons: Sequence[Comparison]) -> list[RenderableType]:
    remarks: list[RenderableType] = []
    if any(c.sample == "episodes" and c.low is not None for c in comparisons):
        remarks.append(
            prose(
                "Where the sample is episodes, the interval is about these particular policies; "
                "only several training runs of both say something about an algorithm."
            )
        )
    if any(c.sample == "mixed" for c in comparisons):
        remarks.append(
            prose(
                "Runs against episodes: one side is the mean over training runs, the other a "
                "single policy. That says nothing about the algorithm behind the single one."
            )
        )
    for c in comparisons:
        for agent in over_limit(c):
            remarks.append(
                prose(f"{agent} is over the cost limit of {short(c.task)}: it has no score there.")
            )
    sides = [side for c in comparisons for side in (c.first, c.second)]
    if any(side.sample == "runs" and side.n < 5 for side in sides):
        remarks.append(prose("Fewer than 5 runs: shown, not ranked on a board."))
    return remarks
