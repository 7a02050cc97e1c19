"""``pkubench plot``: curves from runs; bars, profiles, costs and values from results."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from json import dumps
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from pkubench.agents.registry import family_of, presets
from pkubench.agents.saved.runs import CURVE, read_curve, read_training
from pkubench.cli.names import short
from pkubench.cli.options import Json, Out, Quiet, verb_app
from pkubench.cli.output import Output
from pkubench.cli.results import chosen_agents, excluded_lines, find_reports
from pkubench.cli.value_records import VALUE_KINDS, value_figures
from pkubench.errors import ConfigError, MissingExtra, PkubenchWarning, RecordError, UnknownName
from pkubench.evaluation.normalised import NormalisedScores, normalised_scores
from pkubench.evaluation.report import Report
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task

app = verb_app()

KINDS = ("curves", "bars", "profile", "cost", *VALUE_KINDS)
FORMATS = (".svg", ".png")


class Figure(NamedTuple):
    """A figure that can be drawn."""

    name: str
    draw: Callable[[Path], Path]


class Curve(NamedTuple):
    """One run's training log."""

    agent: str
    task: Task
    lines: list[dict[str, Any]]
    folder: Path
    seed: Any
    settings: str
    """With the budget, as JSON."""


@app.command()
def plot(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Run folders, results, or folders that hold many."),
    ],
    kind: Annotated[
        str | None,
        typer.Option("--kind", help=f"{', '.join(KINDS)}; default: all that apply."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="Of curves and bars; default: the ranking metric."),
    ] = None,
    agents: Annotated[
        str | None, typer.Option("--agents", metavar="A,B,C", help="Only these agents.")
    ] = None,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw what the records hold, as SVG or PNG.

    Run folders (training.jsonl) give training curves, one line per agent with a band over seeds;
    results (report.json) give scores with intervals, performance profiles, and return against cost;
    answers of the SVO slider give their angles on its ring, and how well each value was followed.
    --out names a folder, or a file where there is one figure.
    """
    if kind is not None and kind not in KINDS:
        raise UnknownName(
            "kind of plot", kind, KINDS, f"known: {', '.join(KINDS)}; what they show is --metric"
        )
    for path in paths:
        if not path.exists():
            raise RecordError(f"there is nothing at {path}")
    curves, reports = _curves(paths), find_reports(paths)
    known = {curve.agent for curve in curves} | {report.agent for report in reports}
    chosen = chosen_agents(agents, known)
    curves = [curve for curve in curves if curve.agent in chosen]
    reports = [report for report in reports if report.agent in chosen]
    figures: list[Figure] = []
    if kind in (None, "curves"):
        figures += _curve_figures(curves, metric)
    if kind != "curves":
        figures += _result_figures(reports, kind, metric)
    if kind in VALUE_KINDS or (kind is None and metric is None):
        figures += [Figure(*of) for of in value_figures(paths, kind, chosen)]
    if not figures:
        where = ", ".join(map(str, paths))
        lacking = _lacking(kind, metric, curves, reports)
        raise RecordError(f"no {kind or 'figure'} can be drawn from {where}: {lacking}")
    files = _files(figures, out)
    with Output(json=json, quiet=quiet) as output:
        written = []
        try:
            for figure, file in zip(figures, files, strict=True):
                file.parent.mkdir(parents=True, exist_ok=True)
                written.append(figure.draw(file))
        except ModuleNotFoundError as error:
            raise MissingExtra("plots", "pkubench plot") from error
        if json:
            output.document({"figures": [str(path) for path in written]})
        for path in written:
            output.show(str(path))


def _lacking(
    kind: str | None, metric: str | None, curves: Sequence[Curve], reports: Sequence[Report]
) -> str:
    """Return what is missing for a figure of this kind."""
    if not curves and not reports:
        return (
            "no training.jsonl of `pkubench train` and no report.json of `pkubench evaluate` fits"
        )
    if curves and kind in (None, "curves"):
        return "no episode had ended yet where the curve stops; train longer"
    if kind == "curves":
        return "curves are drawn from runs, which `pkubench train` leaves, and here are results"
    if not reports:
        return (
            "such a figure is drawn from results, and here are runs; first: "
            f"pkubench evaluate RUN {short(curves[0].task.id)}"
        )
    means = sorted({name for r in reports for name, m in r.metrics.items() if m.mean is not None})
    return {
        "bars": f"no result there has a mean of {metric or 'what ranks'}; "
        f"known: {', '.join(means) or 'none'}",
        "profile": "it needs two runs or more of an agent, on tasks with a normalized score that "
        "all such agents have done, within the limit where there is one",
        "cost": "no result there is of a task with a cost limit, or each has failed episodes",
        **dict.fromkeys(VALUE_KINDS, "no result there is of sheets of answers for all four values"),
    }[kind or "bars"]


def _files(figures: Sequence[Figure], out: Path | None) -> list[Path]:
    if out is not None and out.suffix:
        if out.suffix not in FORMATS:
            raise ConfigError(f"--out {out}: figures are {' or '.join(FORMATS)} files")
        if len(figures) > 1:
            names = ", ".join(figure.name for figure in figures)
            raise ConfigError(
                f"there are {len(figures)} figures ({names}): give a folder, or choose one "
                "with --kind, --metric and --agents"
            )
        return [out]
    folder = out or Path("plots")
    return [folder / f"{figure.name}.svg" for figure in figures]


def _curves(paths: Iterable[Path]) -> list[Curve]:
    """Return the training logs under the paths."""
    folders = sorted(
        {
            log.parent
            for path in paths
            for log in ([path] if path.name == CURVE else path.rglob(CURVE))
        }
    )
    return [curve for folder in folders if (curve := _curve(folder)) is not None]


def _curve(folder: Path) -> Curve | None:
    """Read one run's log, as far as it goes; None if what was trained is not recorded."""
    run = read_training(folder)
    if run is None or not run.facts:
        return None
    agent, task = run.facts.get("agent"), run.facts.get("task")
    if not (isinstance(agent, str) and isinstance(task, str)):
        raise RecordError(f"{folder} is not a readable run: it does not name its agent and task")
    lines = read_curve(folder)
    if not lines:
        return None
    settings = dumps([run.facts.get(name) for name in ("settings", "total_steps")], sort_keys=True)
    return Curve(agent, make_task(task), lines, folder, run.facts.get("seed"), settings)


def _by_label(curves: Sequence[Curve]) -> dict[str, list[list[dict[str, Any]]]]:
    """Group one task's logs: an agent's seeds together, but apart where settings or budgets differ.

    Raises:
        RecordError: Two runs are the same seed of one agent with the same settings.
    """
    variants: dict[str, set[str]] = defaultdict(set)
    first: dict[tuple[str, str, Any], Path] = {}
    for curve in curves:
        variants[curve.agent].add(curve.settings)
        folder = first.setdefault((curve.agent, curve.settings, curve.seed), curve.folder)
        if folder != curve.folder and curve.seed is not None:
            raise RecordError(
                f"{folder} and {curve.folder} are both seed {curve.seed} of {curve.agent} on "
                f"{short(curve.task.id)}, with the same settings and budget: give one of them"
            )
    labels: dict[tuple[str, str], str] = {}
    groups: dict[str, list[list[dict[str, Any]]]] = defaultdict(list)
    for curve in curves:
        variant = curve.agent, curve.settings
        if variant not in labels:
            folder = curve.folder.parent if curve.folder.name.startswith("seed") else curve.folder
            label = curve.agent
            if len(variants[curve.agent]) > 1:
                label = f"{curve.agent} ({folder.name})"
                if label in labels.values():  # another folder of that name
                    label = f"{curve.agent} ({folder})"
            labels[variant] = label
        groups[labels[variant]].append(curve.lines)
    return groups


def _curve_figures(curves: Sequence[Curve], metric: str | None) -> list[Figure]:
    from pkubench.evaluation.figures.curves import exploitability_curves, training_curves
    from pkubench.evaluation.run.harness import folder_name

    by_task: dict[str, list[Curve]] = defaultdict(list)
    for curve in curves:
        by_task[curve.task.id].append(curve)
    figures = []
    for task_id, of_task in by_task.items():
        task, runs = make_task(task_id), _by_label(of_task)
        shown = [m.name for m in task.metrics if m.name != "nash_conv"]  # twice exploitability
        names = [metric] if metric else [name for name in shown[:2] if _logged(runs, name)]
        for name in names:
            is_log = name in {m.name for m in task.metrics if m.interval == "exact"}
            references = _references(task) if name == task.ranking.name else {}
            if name == "cost" and task.cost_limit is not None:
                references = {"limit": task.cost_limit}
            figures.append(
                Figure(
                    f"{folder_name(short(task_id))}-{name}-curve",
                    _bind(
                        exploitability_curves if is_log else training_curves,
                        runs,
                        metric=name,
                        title=short(task_id),
                        references=references,
                        x_label=_budget_unit(of_task),
                        y_label=_axis(task, name),
                    ),
                )
            )
    return figures


def _budget_unit(curves: Sequence[Curve]) -> str:
    """Return what the agents of curves count their training by, in words."""
    known = (presets().get(curve.agent) for curve in curves)
    units = {family_of(agent).unit for agent in known if agent is not None}
    return (units.pop() if len(units) == 1 else "environment_steps").replace("_", " ")


_LABELS = {
    "nash_conv": "NashConv",
    "steps_per_second": "steps per second",
    "seconds": "seconds of learning",
    "scoring_seconds": "seconds of scoring",
}
"""Axis labels of those keys of a training log whose name alone would be unclear."""


def _axis(task: Task, name: str) -> str:
    """Return a metric of a training log as the label of an axis, in words with its unit."""
    words = _LABELS.get(name, name.replace("_", " "))
    units = {metric.name: metric.unit for metric in task.metrics}
    unit = units.get(name, task.ranking.unit if name == "restricted_value" else "")
    return f"{words} ({unit})" if unit else words


def _logged(runs: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], metric: str) -> bool:
    return all(
        any(line.get(metric) is not None for line in run) for of in runs.values() for run in of
    )


def _result_figures(
    reports: Sequence[Report], kind: str | None, metric: str | None
) -> list[Figure]:
    by_task: dict[str, dict[str, Report]] = defaultdict(dict)
    for report in reports:
        if report.agent in by_task[report.task]:
            raise RecordError(
                f"there are two results of {report.agent} on {short(report.task)}: give one of them"
            )
        by_task[report.task][report.agent] = report
    figures: list[Figure] = []
    if kind in (None, "bars"):
        figures += _bars(by_task, metric)
    is_whole = kind is None and metric is None  # these two have fixed metrics
    if kind == "profile" or is_whole:
        figures += _profile(by_task)
    if kind == "cost" or is_whole:
        figures += _costs(by_task)
    return figures


def _bars(by_task: Mapping[str, Mapping[str, Report]], metric: str | None) -> Iterator[Figure]:
    from pkubench.evaluation.figures.plots import score_intervals

    by_metric: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for task_id, agents in by_task.items():
        name = metric or make_task(task_id).ranking.name
        measured = {
            agent: {
                **report.metrics[name]._asdict(),
                "sample": report.sample,
                "feasible": report.feasible,
            }
            for agent, report in agents.items()
            if name in report.metrics and report.metrics[name].mean is not None
        }
        if measured:
            by_metric[name][task_id] = measured
    for name, scores in by_metric.items():
        of_tasks = [make_task(task_id) for task_id in scores]
        meanings = [task.metric(name) for task in of_tasks]
        meaning, units = meanings[0], {meaning.unit for meaning in meanings}
        unit = meaning.unit if len(units) == 1 else "in the unit of each task"
        references = {task.id: _references(task) for task in of_tasks if task.ranking.name == name}
        yield Figure(
            f"{name}-scores",
            _bind(
                score_intervals,
                scores,
                x_label=f"{name.replace('_', ' ')} ({unit})",
                higher_is_better=meaning.higher_is_better,
                references=references,
            ),
        )


def _profile(by_task: Mapping[str, Mapping[str, Report]]) -> Iterator[Figure]:
    from pkubench.evaluation.figures.plots import performance_profiles

    scores = profile_scores(by_task)
    if scores.matrices:
        for line in excluded_lines(scores):
            warnings.warn(PkubenchWarning(line), stacklevel=2)
        arrays = {agent: matrix.scores for agent, matrix in scores.matrices.items()}
        yield Figure("profile", _bind(performance_profiles, arrays))


def profile_scores(by_task: Mapping[str, Mapping[str, Report]]) -> NormalisedScores:
    """Return normalised scores of agents with several runs, on the tasks that all of them did.

    One run has no spread: its profile would be a step.
    """
    return normalised_scores(by_task, [make_task(task_id) for task_id in by_task], min_runs=2)


def _costs(by_task: Mapping[str, Mapping[str, Report]]) -> Iterator[Figure]:
    from pkubench.evaluation.figures.plots import return_against_cost
    from pkubench.evaluation.run.harness import folder_name

    for task_id, agents in by_task.items():
        task = make_task(task_id)
        if task.cost_limit is None:
            continue
        units = {metric.name: metric.unit for metric in task.metrics}
        points = {
            agent: [run.metrics for run in report.runs]
            for agent, report in agents.items()
            if report.failed == 0
        }
        if points:
            yield Figure(
                f"{folder_name(short(task_id))}-return-cost",
                _bind(
                    return_against_cost,
                    points,
                    cost_limit=task.cost_limit,
                    title=short(task_id),
                    references={n: s for n, s in _references(task).items() if n != "random"},
                    x_label=f"episode cost ({units['cost']})",
                ),
            )


def _references(task: Task) -> dict[str, float]:
    return {name: reference.score for name, reference in task.references.items()}


def _bind(draw: Callable[..., Path], data: Any, **settings: Any) -> Callable[[Path], Path]:
    return lambda file: draw(data, file, **settings)
