"""``pkubench export``: an agent as ONNX, which anybody can run and nobody need trust."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pkubench.cli.names import short
from pkubench.cli.options import (
    AgentName,
    Json,
    Quiet,
    TaskName,
    Trust,
    verb_app,
)
from pkubench.cli.output import Output
from pkubench.errors import StorageError
from pkubench.tasks.catalogue import make_task

app = verb_app()


@app.command()
def export(
    agent: AgentName,
    task: TaskName,
    onnx: Annotated[
        Path,
        typer.Option("--onnx", metavar="FILE", help="File to write; for a team a folder."),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn an agent into an ONNX policy.

    A team becomes a folder with one file an agent id. ONNX policies are deterministic: of a
    stochastic policy the most likely action (the mode) is kept.
    """
    from pkubench.agents.adapters.onnx_export import export_onnx
    from pkubench.agents.loading import resolve_agent

    chosen = make_task(task)
    if onnx.exists() and not overwrite:
        raise StorageError(f"{onnx} is there already; --overwrite replaces it")
    with Output(json=json, quiet=quiet) as output:
        source = resolve_agent(agent, chosen, trust=trust)
        run = source.runs[0]
        if len(source.runs) > 1:
            output.note(
                f"{agent} has {len(source.runs)} runs; this is {run.label}. Another one: "
                f"{agent}@SEED, or its own folder"
            )
        export_onnx(run.load(), onnx)
        if json:
            output.document({"onnx": str(onnx), "agent": agent, "run": run.label})
        else:
            output.show(str(onnx))
        output.next(f"pkubench evaluate onnx:{onnx} {short(chosen.id)}")
