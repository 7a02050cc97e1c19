"""``pkubench show``: the card of one task or agent."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import itertools
import json as json_module
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markdown import Markdown
from rich.text import Text

from pkubench.agents.catalogue import AGENTS, AgentSpec
from pkubench.cli.names import shipped_seeds, shipped_tasks, short
from pkubench.cli.options import (
    Json,
    Quiet,
    complete_agents,
    complete_tasks,
    verb_app,
)
from pkubench.cli.output import Column, Output, facts, number, prose
from pkubench.envs.registry import family_of, resolve, world_class
from pkubench.errors import MissingExtra, StorageError, UnknownName
from pkubench.tasks.catalogue import make_task, tasks
from pkubench.tasks.task import Metric, Task

app = verb_app()

PRESET_MODULES = (
    "pkubench.agents.harl",
    "pkubench.agents.hasac",
    "pkubench.agents.saferl",
    "pkubench.agents.saferl_off_policy",
    "pkubench.agents.psro",
)
"""Where ``PRESETS`` are: agent name -> a config dataclass."""


def _complete(incomplete: str) -> list[str]:
    return complete_tasks(incomplete) + complete_agents(incomplete)


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="TASK|AGENT", help="A name or run folder.", autocompletion=_complete
        ),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Everything about one task, agent or run."""
    with Output(json=json, quiet=quiet) as output:
        if name in AGENTS:
            _show_agent(output, AGENTS[name])
        elif (Path(name) / "config.json").is_file():
            _show_run(output, Path(name))
        else:
            known = {task.id for task in tasks()}
            if family_of(name) is None and name not in known | {short(task) for task in known}:
                raise UnknownName(
                    "task or agent", name, known | AGENTS.keys(), "see: pkubench list"
                )
            _show_task(output, make_task(name))


def _show_task(output: Output, task: Task) -> None:
    description = _description(task)
    if output.json:
        output.document({**dataclasses.asdict(task), "description": description})
        return
    protocol = task.protocol
    rows: list[tuple[str, str | Text]] = [
        ("suite", task.suite),
        ("asks", task.title),
        ("scored by", _KINDS[task.kind]),
        ("episodes", f"{protocol.episodes:,} a run ({protocol.quick_episodes} with --quick)"),
        ("time limit", f"{protocol.horizon} steps" if protocol.horizon else "the game's end"),
        ("training budget", f"{protocol.training_steps:,} steps"),
    ]
    if task.cost_limit is not None:
        rows.append(("cost limit", f"mean cost of an episode at most {number(task.cost_limit)}"))
        rows.append(("beside it", "violation of the limit, feasible runs, cost of training"))
    settings = ", ".join(f"{key}={value}" for key, value in task.env_kwargs.items())
    if settings:
        rows.append(("settings", settings))
    output.show(Text(task.id, style="bold"), facts(rows), "")
    output.show(_metrics(output, task.metrics), "")
    if task.references:
        output.show(_references(output, task), "")
    if task.notes:
        output.show(Text("Before you compare", style="bold"), prose(task.notes), "")
    if description:
        output.show(Text("The world", style="bold"), prose(Markdown(description)), "")
    agents = [a.name for a in AGENTS.values() if task.suite in a.suites and a.trainer]
    examples = [f"pkubench evaluate random {short(task.id)}"]
    examples += [f"pkubench train {agents[0]} {short(task.id)}"] if agents else []
    output.next(*examples)


_KINDS = {
    "episodes": "playing episodes",
    "population": "exact computation on the game tree",
    "text": "conversations",
}


def _description(task: Task) -> str:
    """Return the docstring of the task's world, or the line that says how to get it."""
    try:
        return inspect.getdoc(world_class(resolve(task.id))) or ""
    except UnknownName:
        return ""
    except MissingExtra as error:
        return str(error)


def _metrics(output: Output, metrics: tuple[Metric, ...]) -> Any:
    columns = (
        Column("metric", style="bold"),
        Column("better", rank=1),
        Column("unit", rank=2),
        Column("interval", rank=3),
        Column("meaning", wraps=True),
    )
    intervals = {"t": "Student t", "wilson": "Wilson", "exact": "exact"}
    rows = [
        (
            metric.name + (" (ranks)" if i == 0 and len(metrics) > 1 else ""),
            "higher" if metric.higher_is_better else "lower",
            metric.unit,
            intervals[metric.interval],
            metric.describe,
        )
        for i, metric in enumerate(metrics)
    ]
    return output.table("Metrics", columns, rows)


def _references(output: Output, task: Task) -> Any:
    columns = (
        Column("normalised", right=True),
        Column("agent", style="bold"),
        Column("score", right=True),
        Column("n", right=True, rank=1),
        Column("measured by", rank=2, wraps=True),
    )
    scale = {"random": "0", "reference": "1"}
    rows = [
        (scale.get(name, name), ref.agent, number(ref.score), number(ref.n), ref.command)
        for name, ref in task.references.items()
    ]
    return output.table("Reference scores", columns, rows)


def _show_agent(output: Output, spec: AgentSpec) -> None:
    config = _preset(spec.name)
    meanings = _meanings(type(config)) if config is not None else {}
    settings = dataclasses.asdict(config) if config is not None else {}
    weights = {task: len(shipped_seeds(spec.name, task)) for task in shipped_tasks(spec.name)}
    if output.json:
        card = {**dataclasses.asdict(spec), "settings": settings, "weights": weights}
        output.document(card)
        return
    rows: list[tuple[str, str | Text]] = [
        ("what", spec.summary),
        ("paper", spec.paper),
        ("suites", ", ".join(spec.suites)),
        ("training", "none" if spec.trainer is None else f"pkubench train {spec.name} TASK"),
    ]
    output.show(Text(spec.name, style="bold"), facts(rows), "")
    if weights:
        shipped = (Column("shipped weights for", style="bold"), Column("seeds", right=True))
        seeds = [(short(task), str(count)) for task, count in weights.items()]
        output.show(output.table("", shipped, seeds), "")
    if settings:
        columns = (
            Column("setting", style="bold"),
            Column("default", right=True),
            Column("meaning", rank=1, wraps=True),
        )
        rows_of_settings = [
            (key, json_module.dumps(value), meanings.get(key, ""))
            for key, value in settings.items()
        ]
        output.show(output.table("Settings (--set KEY=VALUE)", columns, rows_of_settings), "")
    known = [task.id for task in tasks() if task.suite in spec.suites]
    example = short(next(iter(weights), known[0] if known else "TASK"))
    examples = [f"pkubench evaluate {spec.name} {example}"]
    if spec.trainer is not None:
        examples.insert(0 if not weights else 1, f"pkubench train {spec.name} {example}")
    output.next(*examples)


def _show_run(output: Output, folder: Path) -> None:
    path = folder / "config.json"
    try:
        config = json_module.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is not readable JSON: {error}") from error
    if output.json:
        output.document(config)
        return
    rows: list[tuple[str, str | Text]] = []
    for key, value in config.items():
        text = value if isinstance(value, str) else json_module.dumps(value)
        rows.append((key, text if len(text) < 400 else f"{text[:397]}..."))
    output.show(Text(str(folder), style="bold"), facts(rows), "")
    output.next(f"pkubench evaluate {folder}", f"pkubench plot {folder}")


def _preset(agent: str) -> Any:
    for name in PRESET_MODULES:
        presets = getattr(importlib.import_module(name), "PRESETS", {})
        if agent in presets:
            return presets[agent]
    return None


def _meanings(cls: type[Any]) -> dict[str, str]:
    """Return the docstrings that stand under a dataclass's fields, inherited ones too."""
    meanings: dict[str, str] = {}
    for part in reversed(cls.__mro__[:-1]):  # all but object
        tree = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        assert isinstance(tree, ast.ClassDef)
        meanings |= _field_docs(tree.body)
    return meanings


def _field_docs(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, after in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            yield field.target.id, " ".join(after.value.value.replace("``", "").split())
