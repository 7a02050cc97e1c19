"""``pkubench list``: suites, tasks and agents."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pkubench.agents.catalogue import AGENTS, AgentSpec
from pkubench.cli.names import shipped_tasks, short
from pkubench.cli.options import (
    Json,
    Quiet,
    verb_app,
)
from pkubench.cli.output import Column, Output, number
from pkubench.envs.registry import WORLDS
from pkubench.errors import UnknownName
from pkubench.tasks.catalogue import tasks
from pkubench.tasks.task import Task

app = verb_app()


@app.command()
def list_(
    suite: Annotated[
        str | None, typer.Option("--suite", metavar="SUITE", help="Only this suite.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Suites, tasks and agents."""
    suites = list(dict.fromkeys(task.suite for task in tasks()))
    if suite is not None and suite not in suites:
        raise UnknownName("suite", suite, suites)
    chosen = [task for task in tasks() if suite in (None, task.suite)]
    agents = [spec for spec in AGENTS.values() if suite is None or suite in spec.suites]
    with Output(json=json, quiet=quiet) as output:
        if json:
            output.document(
                {
                    "suites": suites if suite is None else [suite],
                    "tasks": [_task(task) for task in chosen],
                    "agents": [_agent(spec) for spec in agents],
                }
            )
            return
        output.show(_tasks_table(output, chosen), "", _agents_table(output, agents))
        output.show("")
        example = short(chosen[0].id)
        narrower = [f"pkubench list --suite {suites[0]}"] if suite is None else []
        output.next(*narrower, f"pkubench show {example}", f"pkubench evaluate random {example}")


def _task(task: Task) -> dict[str, Any]:
    metric = task.ranking
    return {
        "id": task.id,
        "suite": task.suite,
        "title": task.title,
        "kind": task.kind,
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        "unit": metric.unit,
        "metrics": [m.name for m in task.metrics],
        "episodes": task.protocol.episodes,
        "horizon": task.protocol.horizon,
        "training_steps": task.protocol.training_steps,
        "cost_limit": task.cost_limit,
        "references": {name: ref.score for name, ref in task.references.items()},
        "extra": WORLDS[task.id].extra if task.id in WORLDS else None,
    }


def _agent(spec: AgentSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "paper": spec.paper,
        "suites": list(spec.suites),
        "summary": spec.summary,
        "is_trained": spec.trainer is not None,
        "weights": shipped_tasks(spec.name),
    }


def _tasks_table(output: Output, chosen: list[Task]) -> Any:
    has_limits = any(task.cost_limit is not None for task in chosen)
    columns = (
        Column("task", style="bold"),
        Column("suite", rank=3),
        Column("what it asks", rank=4, wraps=True),
        Column("metric"),
        Column("random", right=True, rank=1),
        Column("reference", right=True, rank=1),
        *([Column("cost limit", right=True, rank=1)] if has_limits else ()),
        Column("episodes", right=True, rank=2),
    )
    rows = []
    for task in chosen:
        arrow = "↑" if task.ranking.higher_is_better else "↓"
        references = [task.references.get(name) for name in ("random", "reference")]
        rows.append(
            (
                short(task.id),
                task.suite,
                task.title,
                f"{task.ranking.name} {arrow}",
                *(number(ref.score if ref else None) for ref in references),
                *([number(task.cost_limit)] if has_limits else ()),
                number(task.protocol.episodes),
            )
        )
    return output.table(f"{len(chosen)} tasks", columns, rows)


def _agents_table(output: Output, agents: list[AgentSpec]) -> Any:
    columns = (
        Column("agent", style="bold"),
        Column("suites", rank=1),
        Column("trained for", right=True, rank=2),
        Column("what it is", wraps=True),
        Column("paper", rank=3),
    )
    rows = []
    for spec in agents:
        weights = len(shipped_tasks(spec.name))
        trained = "–" if spec.trainer is None else f"{weights} task{'s' if weights != 1 else ''}"
        rows.append((spec.name, ", ".join(spec.suites), trained, spec.summary, spec.paper))
    return output.table(f"{len(agents)} agents", columns, rows)
