"""``pkubench list``: suites, tasks and agents."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from pkubench.agents.registry import Preset, family_of, presets
from pkubench.cli.names import command, present_with_notice, shipped_tasks, short
from pkubench.cli.options import (
    Json,
    Quiet,
    verb_app,
)
from pkubench.cli.output import Column, Output, number, prose
from pkubench.envs.core.registry import resolve
from pkubench.errors import ConfigError, UnknownName, counted
from pkubench.tasks.registry import suites, tasks
from pkubench.tasks.task import Task

app = verb_app()


_FAMILY = re.compile(r"(.*?[a-z])(\d[a-z_\d]*|Continuous|Id|Long|)(-v\d+)")
_FIRST_WORD = re.compile(r"([A-Z][a-z0-9]+)([A-Z].*)")


@app.command()
def list_(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATTERN...]",
            help="Only tasks and agents whose names match or contain these: PointGoal, 'psro*'.",
        ),
    ] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", metavar="SUITE", help="Only this suite.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="One line per task and per agent, all variants included.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Suites, tasks and agents.

    Without arguments, names only: `PointGoal{0,1}-v0` are PointGoal0-v0 and PointGoal1-v0, also to
    a shell. With a suite, a pattern or --all, a table of each.
    """
    patterns = [present_with_notice(pattern) for pattern in patterns or []]
    known = list(suites())
    if suite is not None and suite not in known:
        raise UnknownName("suite", suite, known)
    chosen = [task for task in tasks() if suite in (None, task.suite)]
    agents = [agent for agent in presets().values() if suite is None or suite in _suites(agent)]
    for pattern in patterns:
        names = [*(short(task.id) for task in chosen), *(agent.name for agent in agents)]
        if not any(_fits(name, [pattern]) for name in names):
            if pattern in known:
                raise ConfigError(f"{pattern!r} is a suite; see: pkubench list --suite {pattern}")
            raise UnknownName("task or agent", pattern, names, "see: pkubench list --all")
    if patterns:
        chosen = [task for task in chosen if _fits(short(task.id), patterns)]
        agents = [agent for agent in agents if _fits(agent.name, patterns)]
    with Output(json=json, quiet=quiet) as output:
        if json:
            output.document(
                {
                    "suites": known if suite is None else [suite],
                    "tasks": [_task(task) for task in chosen],
                    "agents": [_agent(agent) for agent in agents],
                }
            )
            return
        if patterns or all_ or suite is not None:
            shown = agents if patterns or all_ else _without_official(agents)
            tables = [_tasks_table(output, chosen)] if chosen else []
            tables += [_agents_table(output, shown, suite)] if shown else []
            for table in tables:
                output.show(table, "")
        else:
            output.show(*_overview(chosen, agents))
            shown = _without_official(agents)
        hidden = len(agents) - len(shown)
        if hidden:
            output.note(f"{hidden} more with the official settings of their papers: add --all")
        more = (
            [] if suite or patterns or all_ else [("list", "--suite", known[0]), ("list", "--all")]
        )
        if chosen:
            example = short(chosen[0].id)
            more += [("show", example), ("evaluate", "random", example)]
        else:
            more.append(("show", agents[0].name))
        output.next(*(command(*words) for words in more))


def _fits(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a name matches a pattern, or holds it if that has no wildcard."""
    given = [pattern if re.search(r"[*?\[]", pattern) else f"*{pattern}*" for pattern in patterns]
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in given)


def _without_official(agents: Iterable[Preset]) -> list[Preset]:
    return [agent for agent in agents if not agent.is_official]


def _suites(agent: Preset) -> list[str]:
    """Return the suites that an agent is for: those it names, or all."""
    return list(agent.suites or suites())


def _overview(chosen: list[Task], agents: list[Preset]) -> list[RenderableType]:
    """Return the names of all tasks by suite and of all agents by paper, to fit a screen."""
    parts: list[RenderableType] = []
    for suite in dict.fromkeys(task.suite for task in chosen):
        names = [short(task.id) for task in chosen if task.suite == suite]
        about = suites()[suite].title
        title = Text.assemble((suite, "bold"), f"  {counted(len(names), 'task')}  ", (about, "dim"))
        parts += [title, prose("  ".join(_braced(names)))]
    papers: dict[str, list[str]] = {}
    for agent in _without_official(agents):
        papers.setdefault(agent.paper, []).append(agent.name)
    parts += ["", Text("agents", style="bold")]
    alone: list[str] = []
    for paper, names in papers.items():
        joined = _variants(names)
        if len(joined) > 1:
            head = "" if paper == "-" else f"{paper}  "
            parts.append(prose(Text.assemble((head, "dim"), "  ".join(joined))))
        else:
            alone += joined
    others = Text.assemble(("other papers  ", "dim"), "  ".join(alone))
    return [*parts, *([prose(others)] if alone else []), ""]


def _variants(names: Sequence[str]) -> list[str]:
    """Join names with those that continue them after a hyphen, as a shell expands them."""
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=len):
        stem = next((stem for stem in found if name.startswith(f"{stem}-")), name)
        found.setdefault(stem, []).append(name.removeprefix(stem))
    alike: dict[tuple[str, ...], list[str]] = {}
    for stem in (name for name in names if name in found):
        ends = found[stem]
        alike.setdefault(tuple(ends) if len(ends) > 1 else (stem,), []).append(stem)
    return [
        _choice(stems) + (_choice(ends) if len(ends) > 1 else "") for ends, stems in alike.items()
    ]


def _braced(names: Iterable[str]) -> list[str]:
    """Join names that differ in a number, in their first word or both, as a shell expands them."""
    variants: dict[tuple[str, str], list[str]] = {}
    for name in names:
        found = _FAMILY.fullmatch(name)
        stem, variant, version = found.groups() if found else (name, "", "")
        variants.setdefault((stem, version), []).append(variant)
    firsts: dict[tuple[str, str], list[str]] = {}
    for (stem, version), ends in variants.items():
        first = _FIRST_WORD.fullmatch(stem)
        begin, rest = first.groups() if first else ("", stem)
        firsts.setdefault((rest, f"{_choice(ends)}{version}"), []).append(begin)
    middles: dict[tuple[str, str, str], list[str]] = {}
    for (rest, end), begins in firsts.items():
        differs_in_both = len(begins) > 1 and "{" in end
        middles.setdefault((_choice(begins), end, "" if differs_in_both else rest), []).append(rest)
    return [f"{begin}{_choice(rests)}{end}" for (begin, end, _), rests in middles.items()]


def _choice(words: Sequence[str]) -> str:
    """Return words as alternatives in a shell's braces; one alone as it is."""
    return words[0] if len(words) == 1 else f"{{{','.join(words)}}}"


def _task(task: Task) -> dict[str, Any]:
    metric = task.ranking
    return {
        "id": task.id,
        "suite": task.suite,
        "title": task.title,
        "kind": task.scoring.name,
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        "unit": metric.unit,
        "metrics": [m.name for m in task.metrics],
        "episodes": task.protocol.episodes,
        "horizon": task.protocol.horizon,
        "training_steps": task.protocol.training_steps,
        "budget": dict(task.protocol.budget),
        "cost_limit": task.cost_limit,
        "references": {name: ref.score for name, ref in task.references.items()},
        "extra": resolve(task.id).extra,
    }


def _agent(agent: Preset) -> dict[str, Any]:
    return {
        "name": agent.name,
        "paper": agent.paper,
        "suites": _suites(agent),
        "summary": agent.summary,
        "is_trained": family_of(agent).is_trained,
        "weights": shipped_tasks(agent.name),
    }


def _tasks_table(output: Output, chosen: list[Task]) -> Any:
    has_limits = any(task.cost_limit is not None for task in chosen)
    columns = (
        Column("task", style="bold"),
        Column("suite", rank=3),
        Column("what it tests", rank=4, wraps=True),
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
    return output.table(counted(len(chosen), "task"), columns, rows)


def _agents_table(output: Output, agents: list[Preset], suite: str | None) -> Any:
    columns = (
        Column("agent", style="bold"),
        *([Column("suites", rank=1)] if suite is None else []),
        Column("trained for", right=True, rank=2),
        Column("what it is", wraps=True),
        Column("paper", rank=3),
    )
    rows = []
    for agent in agents:
        weights = counted(len(shipped_tasks(agent.name)), "task")
        trained = weights if family_of(agent).is_trained else "–"
        of = [", ".join(_suites(agent))] if suite is None else []
        rows.append((agent.name, *of, trained, agent.summary, agent.paper))
    return output.table(counted(len(agents), "agent"), columns, rows)
