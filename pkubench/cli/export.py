"""``pkubench export``: an agent as one file that can be run without trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pkubench.cli.names import command, own_task, short, task_named
from pkubench.cli.options import (
    AgentName,
    Json,
    OwnTaskName,
    Quiet,
    Trust,
    verb_app,
)
from pkubench.cli.output import Output
from pkubench.errors import AgentError, ConfigError, StorageError

app = verb_app()


@app.command()
def export(
    agent: AgentName,
    task: OwnTaskName = None,
    onnx: Annotated[
        Path | None,
        typer.Option("--onnx", metavar="FILE", help="ONNX file to write; for a team a folder."),
    ] = None,
    population: Annotated[
        Path | None,
        typer.Option(
            "--population",
            metavar="FILE",
            help="File of game policies to write, *.npz or *.json.",
        ),
    ] = None,
    openspiel: Annotated[
        Path | None,
        typer.Option(
            "--openspiel",
            metavar="FILE",
            help="File of the one OpenSpiel TabularPolicy that plays like a population.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn an agent into an ONNX policy, or a population of a game into one file.

    A team becomes a folder with one file per agent id. ONNX policies are deterministic: of a
    stochastic policy the most likely action (the mode) is kept. A population file holds every
    policy's probabilities at every information state, and the meta-strategy; an OpenSpiel file the
    one behavioural policy that plays like the whole mixture.
    """
    from pkubench.agents.contract import Population
    from pkubench.agents.resolve.loading import resolve_agent

    chosen = own_task(agent, "export") if task is None else task_named(task)
    given = [file for file in (onnx, population, openspiel) if file is not None]
    if len(given) != 1:
        raise ConfigError(
            "name one file to write, with --onnx FILE, --population FILE or --openspiel FILE"
        )
    target = given[0]
    if target.exists() and not overwrite:
        raise StorageError(f"{target} is there already; --overwrite replaces it")
    with Output(json=json, quiet=quiet) as output:
        source = resolve_agent(agent, chosen, trust=trust)
        run = source.runs[0]
        if len(source.runs) > 1:
            output.note(
                f"{agent} has {len(source.runs)} runs; this is {run.label}. Another one: "
                f"{agent}@SEED, or its own folder"
            )
        entrant = run.load()
        if onnx is not None:
            from pkubench.agents.adapters.onnx_export import export_onnx

            export_onnx(entrant, onnx)
        elif isinstance(entrant, Population) and openspiel is not None:
            from pkubench.agents.adapters.openspiel_files import write_policy

            write_policy(target, entrant, chosen)
        elif isinstance(entrant, Population):
            from pkubench.agents.saved.population_file import write_population

            write_population(target, entrant, chosen)
        else:
            raise AgentError(f"{agent} is not a population of game policies; --onnx takes policies")
        if json:
            kind = "onnx" if onnx else "population" if population else "openspiel"
            output.document({kind: str(target), "agent": agent, "run": run.label})
        else:
            output.show(str(target))
        spelling = target if population else f"{'onnx' if onnx else 'openspiel'}:{target}"
        output.next(command("evaluate", spelling, short(chosen.id)))
