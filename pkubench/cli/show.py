"""``pkubench show``: the card of one task or agent."""

from __future__ import annotations

import dataclasses
import inspect
import json as json_module
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markdown import Markdown
from rich.text import Text

from pkubench.agents.components import as_plain, settings_of
from pkubench.agents.registry import DELAYED, SUGGESTED, Preset, family_of, presets
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.resolve.sources import AgentSource
from pkubench.agents.saved.population_content import POPULATION_SUFFIXES
from pkubench.agents.saved.runs import Training, trainings
from pkubench.agents.suitability import can_train, is_meant_for, trainable, untrained, why_not
from pkubench.cli.component_card import components_called, show_components
from pkubench.cli.env_card import delay_of, spaces_of
from pkubench.cli.game_card import game_card, game_rows
from pkubench.cli.names import (
    command,
    handful,
    present_with_notice,
    shipped_seeds,
    shipped_tasks,
    short,
    spelling,
    task_named,
)
from pkubench.cli.options import (
    Json,
    Quiet,
    complete_agents,
    complete_tasks,
    verb_app,
)
from pkubench.cli.output import Column, Output, facts, number, prose
from pkubench.cli.presets import check_meant_for, meanings
from pkubench.envs.core.delayed_reward import DELAY
from pkubench.envs.core.registry import (
    VARIANT,
    env_class,
    resolve,
    traits,
    unknown_id,
)
from pkubench.envs.core.registry import family_of as env_family_of
from pkubench.errors import ConfigError, MissingExtra, UnknownName, counted
from pkubench.tasks.outside import is_outside
from pkubench.tasks.registry import suites, tasks
from pkubench.tasks.task import Metric, Task

app = verb_app()


def _complete(incomplete: str) -> list[str]:
    return complete_tasks(incomplete) + complete_agents(incomplete)


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="TASK|AGENT|COMPONENT",
            help="A task, an agent in any spelling (a name, a run folder, ...), or a component of "
            "learners, such as pid.",
            autocompletion=_complete,
        ),
    ],
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]",
            help="For an agent: show its settings on this task.",
            autocompletion=complete_tasks,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Everything about one task, agent, run or component."""
    chosen = None if task is None else task_named(task)
    name = present_with_notice(name)
    agent, _, seed = name.partition("@")
    is_task = env_family_of(name) is not None or is_outside(name)
    runs = trainings(Path(name))
    is_population = Path(name).is_file() and Path(name).suffix in POPULATION_SUFFIXES
    with Output(json=json, quiet=quiet) as output:
        if agent in presets() and not (seed and chosen):
            _show_agent(output, presets()[agent], chosen)
        elif len(runs) == 1:
            _show_run(output, runs[0])
        elif runs:
            _show_runs(output, Path(name), runs)
        elif agent in presets() or (":" in name and not is_task) or is_population:
            _show_source(output, resolve_agent(name, chosen))
        elif inside := [path for path in sorted(Path(name).glob("*")) if trainings(path)]:
            raise ConfigError(
                f"{name} holds runs and is not itself a run: show one of them, such as "
                f"{handful(map(str, inside))}"
            )
        else:
            if not is_task and (parts := components_called(name)):
                show_components(output, name, parts)
                return
            known = {task.id for task in tasks()}
            listed = name.partition(VARIANT)[0]
            if not is_task and listed not in known | {task.partition("/")[2] for task in known}:
                raise unknown_id("task or agent", name, known | presets().keys())
            if chosen is not None:
                raise ConfigError(f"show one task at a time: {name}, or {task}")
            _show_task(output, task_named(name))


def _show_task(output: Output, task: Task) -> None:
    description = _description(task)
    card, lacking = _card_of(task)
    if output.json:
        document = dataclasses.asdict(task)
        del document["scoring"]
        known = {"game": card} if card else {}
        document |= {"kind": task.scoring.name, **known, "description": description}
        document["untrained"] = untrained(task)
        output.document(document)
        return
    protocol = task.protocol
    rows: list[tuple[str, str | Text]] = [
        ("suite", task.suite),
        ("asks", task.title),
        *(spaces_of(task) if task.scoring.is_played else ()),
        ("scored by", task.scoring.summary),
    ]
    if task.scoring.is_played:
        episodes = f"{protocol.episodes:,} a run ({protocol.quick_episodes} with --quick)"
        limit = counted(f"{protocol.horizon:,}", "step") if protocol.horizon else "the game's end"
        rows += [("episodes", episodes), ("time limit", limit), *delay_of(task)]
    rows += game_rows(card) if card else []
    rows += [("game", lacking)] if lacking else []
    rows.append(("untrained", ", ".join(untrained(task))))
    rows.append(("training budget", _budget(task)))
    if task.cost_limit is not None:
        more = f", within {number(task.cost_tolerance)}" if task.cost_tolerance else ""
        limit = f"mean cost of an episode at most {number(task.cost_limit)}{more}"
        rows.append(("cost limit", limit))
        rows.append(("also reported", "violation of the limit, feasible runs, cost of training"))
    settings = ", ".join(f"{key}={value}" for key, value in task.env_kwargs.items())
    if settings:
        rows.append(("settings", settings))
    output.show(Text(task.id, style="bold"), facts(rows), "")
    output.show(_metrics(output, task.metrics), "")
    if task.references:
        output.show(_references(output, task), "")
        if task.no_scale:
            output.show(prose(f"There are no normalized scores: {task.no_scale}."), "")
    if task.notes:
        output.show(Text("Before you compare", style="bold"), prose(task.notes), "")
    if description:
        output.show(
            Text("The environment", style="bold"), prose(Markdown(_fenced(description))), ""
        )
    agents = [agent.name for agent in trainable(task)]
    examples = [command("evaluate", "random", short(task.id))]
    examples += [command("train", agents[0], short(task.id))] if agents else []
    output.next(*examples)


def _card_of(task: Task) -> tuple[dict[str, Any], str]:
    """Return the facts of a game (none for another task), and what is missing to compute them."""
    if not traits(task.id, **task.env_kwargs).is_zero_sum_game:
        return {}, ""
    try:
        return game_card(task), ""
    except MissingExtra as error:
        return {}, str(error)


def _budget(task: Task) -> str:
    """Return the budget of training in words."""
    if task.protocol.budget:
        return task.protocol.budget_in_words()
    own = []
    for agent in trainable(task):
        number_of = getattr(agent.config(task), family_of(agent).unit, None)
        if SUGGESTED in agent.tags and number_of is not None:
            own.append(f"{agent.name} {number_of:,}")
    if not own:
        return "none; --steps N sets one"
    return f"none; iterations by default: {', '.join(own)}; --steps N sets another number"


def _description(task: Task) -> str:
    """Return the docstring of the task's environment, or the line that says how to install it."""
    try:
        return inspect.getdoc(env_class(resolve(task.id))) or ""
    except UnknownName:
        return ""
    except MissingExtra as error:
        return str(error)


def _fenced(docstring: str) -> str:
    """Return a docstring as Markdown, with its doctests in code fences, which keep their lines."""
    return re.sub(
        r"^>>> .*(?:\n.+)*", lambda found: f"```pycon\n{found[0]}\n```", docstring, flags=re.M
    )


def _metrics(output: Output, metrics: tuple[Metric, ...]) -> Any:
    columns = (
        Column("metric", style="bold"),
        Column("better", rank=1),
        Column("unit", rank=2),
        Column("interval"),
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
        Column("normalized", right=True),
        Column("agent", style="bold"),
        Column("score", right=True),
        Column("n", right=True),
        Column("measured by", rank=2, wraps=True),
    )
    rows = []
    for ref in task.references.values():
        scaled, score = (number(value) for value in (task.normalised(ref.score), ref.score))
        rows.append((scaled, ref.agent, score, number(ref.n), ref.command))
    return output.table("Reference scores", columns, rows)


def _show_agent(output: Output, agent: Preset, task: Task | None) -> None:
    if task is not None:
        check_meant_for(agent, task)
    config = agent.config(task)
    settings = {} if config is None else as_plain(config)
    weights = {task: len(shipped_seeds(agent.name, task)) for task in shipped_tasks(agent.name)}
    if output.json:
        card = {
            "name": agent.name,
            "family": agent.family,
            "paper": agent.paper,
            "suites": list(agent.suites or suites()),
            "summary": agent.summary,
            "tags": sorted(agent.tags),
            "is_trained": family_of(agent).is_trained,
            "settings": settings,
            "weights": weights,
        }
        output.document(card)
        return
    is_late = DELAYED in agent.tags
    lacks = "" if task is None else why_not(agent, task)
    is_trained = family_of(agent).is_trained and not lacks
    family = family_of(agent)
    required = [entry for entry in family.inputs if entry.is_required]
    needs = [word for entry in required for word in entry.spelled(entry.name.upper())]
    training = " ".join(["pkubench train", agent.name, "TASK", *needs]) if is_trained else "none"
    if task is not None and lacks:
        training = f"none on {short(task.id)}: {lacks}"
    rows: list[tuple[str, str | Text]] = [
        ("what", agent.summary),
        ("paper", agent.paper),
        ("suites", ", ".join(agent.suites or suites())),
        *([("other tasks", f"those with delayed rewards (TASK+{DELAY}=...)")] if is_late else ()),
        ("training", training),
        *([("acting", f"{', '.join(family.acting)} (--act NAME=VALUE)")] if family.acting else ()),
    ]
    output.show(Text(agent.name, style="bold"), facts(rows), "")
    if weights:
        shipped = (Column("shipped weights for", style="bold"), Column("seeds", right=True))
        seeds = [(short(task), str(count)) for task, count in weights.items()]
        output.show(output.table("", shipped, seeds), "")
    if settings:
        columns = (
            Column("setting", style="bold"),
            Column("default" if task is None else f"on {short(task.id)}", right=True),
            Column("meaning", rank=1, wraps=True),
        )
        own = type(config).__annotations__  # inherited settings come last
        owner = {setting.name: setting.owner for setting in settings_of(config)}
        docs = {cls: meanings(cls) for cls in set(owner.values())}
        rows_of_settings = [
            (key, json_module.dumps(value), docs[owner[key]].get(key.rpartition(".")[2], ""))
            for key, value in sorted(
                settings.items(), key=lambda item: item[0].partition(".")[0] not in own
            )
        ]
        title = "Settings (--set KEY=VALUE)"
        if task is None:
            title += f"; a task may change some: pkubench show {agent.name} TASK"
        output.show(output.table(title, columns, rows_of_settings), "")
    known = (
        [task.id]
        if task
        else [
            t.id
            for t in sorted(tasks(), key=lambda t: t.suite not in (agent.suites or (t.suite,)))
            if (can_train if is_trained else is_meant_for)(agent, t)
        ]
    )
    chosen = next(iter(() if task else weights), known[0] if known else "TASK")
    examples = []
    if not family_of(agent).is_trained or chosen in weights:
        examples.append(command("evaluate", agent.name, short(chosen)))
    if is_trained:
        words = [w for entry in required for w in entry.spelled(entry.example_for(chosen))]
        examples.append(command("train", agent.name, short(chosen), *words))
    output.next(*examples)


def _show_source(output: Output, source: AgentSource) -> None:
    files = {name: digest for run in source.runs for name, digest in run.hashes.items()}
    card = {"name": source.name, "kind": source.label, "runs": [run.label for run in source.runs]}
    if output.json:
        output.document({**card, "files": files})
        return
    rows = [("kind", source.label), ("runs", ", ".join(run.label for run in source.runs))]
    rows += [(name, f"sha256 {digest}") for name, digest in files.items()]
    output.show(Text(source.name, style="bold"), facts(rows), "")


def _show_run(output: Output, run: Training) -> None:
    if output.json:
        output.document(run.facts)
        return
    rows = [(key, _in_words(value)) for key, value in run.facts.items() if key != "ended"]
    if not run.is_finished or run.ended is not None:
        rows.append(("training", _status(run)))
    output.show(Text(str(run.folder), style="bold"), facts(rows), "")
    examples = [] if run.is_finished and not run.is_stopped else [run.resume_command]
    for verb in ("evaluate", "plot") if run.is_finished else ("plot",):
        examples.append(command(verb, spelling(run.folder)))
    output.next(*examples)


def _status(run: Training) -> str:
    """Return the status of a training, in words."""
    if not run.is_finished:
        return f"not finished: {run.progress}"
    return run.ended or "finished"


def _in_words(value: Any) -> str:
    """Return a fact of a run on one line; of nested objects only the keys (see --json)."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return json_module.dumps(value)
    if any(isinstance(item, dict) for item in value.values()):
        return ", ".join(value)
    return ", ".join(f"{key}={json_module.dumps(item)}" for key, item in value.items())


def _show_runs(output: Output, folder: Path, runs: list[Training]) -> None:
    if output.json:
        output.document({"runs": [{"folder": str(run.folder), **run.facts} for run in runs]})
        return
    columns = (Column("run", style="bold"), Column("agent"), Column("task"), Column("training"))
    rows = [
        (
            run.folder.name,
            str(run.facts.get("agent", "–")),
            short(str(run.facts.get("task", "–"))),
            _status(run),
        )
        for run in runs
    ]
    output.show(output.table(str(folder), columns, rows), "")
    output.next(command("show", runs[0].folder), command("plot", folder))
