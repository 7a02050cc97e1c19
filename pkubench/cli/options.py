"""Flags that mean the same in every verb, and completion of names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verb_app() -> typer.Typer:
    """Return the application of one verb; its docstring is Markdown."""
    return typer.Typer(add_completion=False, rich_markup_mode="markdown")


def complete_tasks(incomplete: str) -> list[str]:
    """Return the task names that begin so, for the shell's completion."""
    from pkubench.tasks.catalogue import tasks

    short = [task.id.partition("/")[2] for task in tasks()]
    return [name for name in short if name.lower().startswith(incomplete.lower())]


def complete_agents(incomplete: str) -> list[str]:
    """Return the agent names that begin so, for the shell's completion."""
    from pkubench.agents.catalogue import AGENTS

    return [name for name in AGENTS if name.startswith(incomplete)]


AgentName = Annotated[
    str,
    typer.Argument(
        metavar="AGENT",
        help="random, a name of `pkubench list`, a run folder, module:factory, onnx:FILE, "
        "sb3:FILE, scripted:NAME.",
        autocompletion=complete_agents,
    ),
]
TaskName = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="A task of `pkubench list`; the part before the slash may be left out.",
        autocompletion=complete_tasks,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", min=0, help="Everything random follows from it.")
]
Episodes = Annotated[
    int | None,
    typer.Option(
        "--episodes",
        metavar="N",
        min=1,
        help="Episodes of each run; the task's own number if left.",
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers", metavar="N", min=1, help="Processes. Results are the same for any number."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="PATH", help="Where to write.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout and nothing else there.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no hints.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Load files that can run code (sb3: zips hold pickles).")
]
