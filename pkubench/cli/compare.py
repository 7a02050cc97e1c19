"""``pkubench compare``: how much better is one agent than another, and how sure is that?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from pkubench.cli.names import short
from pkubench.cli.options import Episodes, Json, Quiet, Seed, Trust, Workers, complete_tasks
from pkubench.cli.output import Column, Output, number
from pkubench.cli.results import find_folders, in_order
from pkubench.errors import AgentError, ConfigError, RecordError, UnknownName
from pkubench.tasks.catalogue import make_task
from pkubench.tasks.task import Task

app = typer.Typer()


class Scores(NamedTuple):
    """One agent's sample on one task."""

    agent: str
    values: list[float]
    """The ranking metric: a mean for each run, or the value of each episode of the only run."""
    sample: str
    seeds: tuple[int, int]
    """Seed and number of the episodes."""


@dataclass(frozen=True)
class Comparison:
    """One agent against another on one task."""

    task: str
    metric: str
    higher_is_better: bool
    a: str
    b: str
    difference: float
    """Mean of ``a`` minus mean of ``b``, in the metric's unit."""
    low: float
    high: float
    p_value: float
    probability_of_improvement: float
    """Chance that a run of ``a`` is better than one of ``b``, ties counting one half."""
    n_a: int
    n_b: int
    sample: str

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the interval leaves out 0, otherwise ``unclear``."""
        if math.isnan(self.low) or self.low <= 0 <= self.high:
            return "unclear"
        return "better" if (self.low > 0) == self.higher_is_better else "worse"


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

    On each task the best agent (or --baseline) stands against each other one. Where agents have
    several training runs, runs are the sample; episodes of one run say how well that run acts and
    nothing about the algorithm.
    """
    chosen = [make_task(name) for name in task or []]
    folders = [Path(name) for name in names if Path(name).is_dir() and not _is_agent(Path(name))]
    agents = [name for name in names if Path(name) not in folders]
    if agents and not chosen:
        raise ConfigError(
            f"compare {', '.join(agents)} on what? Name a --task, or a results folder"
        )
    with Output(json=json, quiet=quiet) as output:
        table = _from_folders(folders, chosen)
        for name in agents:
            for wanted in chosen:
                scores = _evaluated(name, wanted, seed, episodes, workers, trust, output)
                table.setdefault(wanted.id, {})[scores.agent] = scores
        comparisons = _comparisons(table, baseline)
        overall = _overall(table)
        if json:
            output.document(
                {
                    "comparisons": [{**asdict(c), "verdict": c.verdict} for c in comparisons],
                    "overall": overall,
                }
            )
            return
        output.show("", _table(output, comparisons), "")
        if overall:
            output.show(_overall_table(output, overall), "")
        output.show(*_remarks(comparisons))
        if folders:
            output.next(f"pkubench plot {folders[0]}")


def _is_agent(path: Path) -> bool:
    return (path / "config.json").is_file() or any(path.glob("seed*/config.json"))


def _from_folders(folders: Sequence[Path], chosen: Sequence[Task]) -> dict[str, dict[str, Scores]]:
    """Return task -> agent -> sample, the best agent first, tasks in the catalogue's order."""
    from pkubench.evaluation.report import Report, read_run, run_folders

    found: dict[tuple[str, str], list[Any]] = {}
    reports = []
    for folder in find_folders(folders):
        report = Report.from_records(folder)
        if chosen and report.task not in {task.id for task in chosen}:
            continue
        key = (report.task, report.agent)
        if key in found:
            raise RecordError(f"{report.agent} on {report.task} is there twice; name one of them")
        found[key] = [read_run(path).records for path in run_folders(folder)]
        reports.append(report)
    table: dict[str, dict[str, Scores]] = {}
    for report in in_order(reports):
        if report.failed:
            continue
        metric = make_task(report.task).ranking.name
        scores = _sample(report, found[report.task, report.agent], metric)
        table.setdefault(report.task, {})[report.agent] = scores
    if folders and not table:
        raise RecordError(f"no finished evaluation is below {', '.join(map(str, folders))}")
    return table


def _sample(report: Any, runs: Sequence[Sequence[Any]], metric: str) -> Scores:
    if len(runs) > 1:
        values = [float(run.metrics[metric]) for run in report.runs]
    else:
        values = [value for r in runs[0] if (value := r.value(metric)) is not None]
    return Scores(report.agent, values, report.sample, (report.seed, report.episodes))


def _evaluated(
    agent: str,
    task: Task,
    seed: int,
    episodes: int | None,
    workers: int,
    trust: bool,
    output: Output,
) -> Scores:
    import tempfile

    from pkubench.agents.loading import resolve_agent
    from pkubench.cli.progress import Meter
    from pkubench.evaluation.harness import Progress, evaluate, evaluation_folder
    from pkubench.evaluation.report import read_run, run_folders

    source = resolve_agent(agent, task, trust=trust)
    title = f"{agent} on {short(task.id)}"
    with (
        tempfile.TemporaryDirectory() as folder,
        Meter(title, quiet=output.quiet, unit="episodes") as meter,
    ):

        def told(progress: Progress) -> None:
            meter.update(progress.done, progress.total)

        report = evaluate(
            source,
            task,
            episodes=episodes,
            seed=seed,
            workers=workers,
            out=folder,
            progress=told,
        )
        if report.failed:
            reason = next(iter(report.failures))
            raise AgentError(f"{agent} failed {report.failed} episodes of {task.id}: {reason}")
        kept = run_folders(evaluation_folder(folder, source.name, task))
        return _sample(report, [read_run(path).records for path in kept], task.ranking.name)


def _comparisons(
    table: Mapping[str, Mapping[str, Scores]], baseline: str | None
) -> list[Comparison]:
    known = {agent for agents in table.values() for agent in agents}
    if baseline is not None and baseline not in known:
        raise UnknownName("agent in these results", baseline, known)
    found = []
    for task_id, agents in table.items():
        ranking = make_task(task_id).ranking
        sign = 1.0 if ranking.higher_is_better else -1.0
        ordered = sorted(agents.values(), key=lambda s: -sign * math.fsum(s.values) / len(s.values))
        if baseline is None:
            pairs = [(ordered[0], other) for other in ordered[1:]]
        else:
            pairs = [(s, agents[baseline]) for s in ordered if baseline in agents]
            pairs = [(first, second) for first, second in pairs if first is not second]
        found += [_comparison(make_task(task_id), first, second) for first, second in pairs]
    if not found:
        raise RecordError("there is nothing to compare: no task has two agents without failures")
    return found


def _comparison(task: Task, a: Scores, b: Scores) -> Comparison:
    import numpy as np

    from pkubench.evaluation.statistics import probability_of_improvement, welch_interval

    sign = 1.0 if task.ranking.higher_is_better else -1.0
    x, y = np.asarray(a.values), np.asarray(b.values)
    difference = float(x.mean() - y.mean())
    low = high = p_value = math.nan
    if min(len(x), len(y)) > 1:
        difference, low, high, p_value = welch_interval(x, y)
    return Comparison(
        task=task.id,
        metric=task.ranking.name,
        higher_is_better=task.ranking.higher_is_better,
        a=a.agent,
        b=b.agent,
        difference=difference,
        low=low,
        high=high,
        p_value=p_value,
        probability_of_improvement=probability_of_improvement(sign * x[:, None], sign * y[:, None]),
        n_a=len(x),
        n_b=len(y),
        sample=a.sample if a.sample == b.sample else f"{a.sample} and {b.sample}",
    )


def _overall(table: Mapping[str, Mapping[str, Scores]]) -> list[dict[str, Any]]:
    """Aggregate normalised scores over the tasks that all agents with several runs share."""
    import numpy as np

    from pkubench.evaluation.statistics import iqm, optimality_gap, stratified_bootstrap

    columns: dict[str, dict[str, list[float]]] = {}
    for task_id, agents in table.items():
        task = make_task(task_id)
        for agent, scores in agents.items():
            scaled = [task.normalised(value) for value in scores.values]
            if scores.sample == "runs" and None not in scaled:
                columns.setdefault(agent, {})[task_id] = [v for v in scaled if v is not None]
    rows = []
    for agent, by_task in columns.items():
        runs = min(map(len, by_task.values()))
        matrix = np.array([values[:runs] for values in by_task.values()]).T
        row: dict[str, Any] = {"agent": agent, "tasks": sorted(by_task), "runs": runs}
        for name, statistic in (("iqm", iqm), ("optimality_gap", optimality_gap)):
            row[name] = stratified_bootstrap(matrix, statistic)._asdict()
        rows.append(row)
    return sorted(rows, key=lambda row: (-len(row["tasks"]), -row["iqm"]["estimate"]))


def _table(output: Output, comparisons: Sequence[Comparison]) -> Any:
    columns = (
        Column("task", style="bold", rank=1),
        Column("agent"),
        Column("against"),
        Column("difference", right=True),
        Column("95 % interval", right=True, rank=2),
        Column("p", right=True, rank=4),
        Column("P(better)", right=True, rank=1),
        Column("n", right=True, rank=3),
        Column(""),
    )
    styles = {"better": "green", "worse": "red", "unclear": "yellow"}
    rows = []
    last = ""
    for c in comparisons:
        interval = "–" if math.isnan(c.low) else f"{number(c.low)} to {number(c.high)}"
        rows.append(
            (
                short(c.task) if c.task != last else "",
                c.a,
                c.b,
                f"{c.difference:+.4g}",
                interval,
                number(c.p_value, 2),
                f"{c.probability_of_improvement:.0%}",
                f"{c.n_a}, {c.n_b} {c.sample}",
                Text(c.verdict, style=styles[c.verdict]),
            )
        )
        last = c.task
    return output.table("Differences in the ranking metric", columns, rows)


def _overall_table(output: Output, overall: Sequence[Mapping[str, Any]]) -> Any:
    columns = (
        Column("agent", style="bold"),
        Column("tasks", right=True),
        Column("runs", right=True, rank=1),
        Column("IQM", right=True),
        Column("95 % interval", right=True, rank=1),
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
    return output.table("Normalised scores over tasks (0 random, 1 reference)", columns, rows)


def _remarks(comparisons: Sequence[Comparison]) -> list[Text]:
    remarks = []
    if any(c.sample != "runs" and min(c.n_a, c.n_b) > 1 for c in comparisons):
        remarks.append(
            Text(
                "Where the sample is episodes, the interval is about these very policies; only "
                "several training runs say something about an algorithm.",
                style="dim",
            )
        )
    if any(1 < min(c.n_a, c.n_b) < 5 and "runs" in c.sample for c in comparisons):
        remarks.append(Text("Fewer than 5 runs: shown, not ranked on a board.", style="dim"))
    return remarks
