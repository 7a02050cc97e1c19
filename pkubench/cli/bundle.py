"""``pkubench bundle``: records and weights of one agent in one file to submit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pkubench.agents.saved.runs import training_folders
from pkubench.cli.names import as_text, command, short
from pkubench.cli.options import (
    Json,
    Quiet,
    verb_app,
)
from pkubench.cli.output import Output, facts
from pkubench.errors import ConfigError, counted

if TYPE_CHECKING:
    from pkubench.leaderboard.submissions.bundle import Bundle

app = verb_app()

PREVIEW_DIGITS = 12
"""Digits of a hash that are displayed."""


@app.command()
def bundle(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS|RUN...",
            help="Folders of `pkubench evaluate --out` (one agent), and run folders with the "
            "weights that were evaluated.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.zip", help="The bundle to write.")],
    name: Annotated[
        str | None, typer.Option("--name", help="The agent's name on the board.")
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option("--author", help="An author; may be repeated.")
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", help="A few sentences for the agent's page.")
    ] = None,
    code_url: Annotated[
        str | None, typer.Option("--code-url", metavar="URL", help="Where the code is.")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="License of the weights, by its SPDX name.")
    ] = "Apache-2.0",
    weights: Annotated[
        list[Path] | None,
        typer.Option("--weights", metavar="PATH", help="Where the evaluated weights are."),
    ] = None,
    no_weights: Annotated[
        bool, typer.Option("--no-weights", help="Leave weights out: displayed, but never ranked.")
    ] = False,
    code: Annotated[
        Path | None,
        typer.Option(
            "--code",
            metavar="DIR",
            help="The modules of an agent that is module:factory; boards run it in a sandbox.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pack the records of one agent, and its weights, into one zip.

    Weights are recognized by their hash, so a parent folder will do; those that pkubench ships
    need not be named. The same input gives the same bytes.
    """
    if no_weights and weights:
        raise ConfigError("--weights and --no-weights contradict each other; give one")
    from pkubench.leaderboard.submissions.bundle import create_bundle, is_of_records

    records = [path for path in results if is_of_records(path)]
    runs = [path for path in results if path not in records]
    if not records and any(training_folders(path) for path in runs):
        raise ConfigError(
            f"{', '.join(map(str, runs))}: runs without records; first "
            f"`{command('evaluate', runs[0], '--out', 'results')}`, then "
            f"`{command('bundle', 'results', runs[0], '--out', out)}`"
        )
    with Output(json=json, quiet=quiet) as output:
        made = create_bundle(
            records or runs,  # which are refused as not being records
            out,
            name=None if name is None else as_text(name),
            authors=None if author is None else [as_text(one) for one in author],
            description=None if description is None else as_text(description),
            code_url=code_url,
            license=license_,
            weights=[*(runs if records else []), *(weights or [])],
            include_weights=not no_weights,
            code=code,
        )
        _show(output, made)


def _show(output: Output, made: Bundle) -> None:
    """Show what was packed."""
    manifest = made.manifest
    episodes = sum(len(run.records) for task in made.tasks for run in task.runs)
    if output.json:
        output.document(
            {
                "bundle": str(made.path),
                "digest": made.digest,
                "name": manifest.name,
                "agent": manifest.agent,
                "kind": manifest.kind,
                "tasks": [entry.task.id for entry in made.tasks],
                "episodes": episodes,
                "bytes": made.path.stat().st_size,
            }
        )
        return
    weight_files = sum(len(run.entry.weights) for task in made.tasks for run in task.runs)
    output.show(
        facts(
            [
                ("bundle", f"{made.path} ({made.path.stat().st_size / 1e6:.1f} MB)"),
                ("agent", manifest.name),
                ("tasks", ", ".join(short(entry.task.id) for entry in made.tasks)),
                ("episodes", f"{episodes:,}"),
                ("weights", counted(weight_files, "file") if weight_files else "none"),
                ("digest", made.digest[:PREVIEW_DIGITS]),
            ]
        )
    )
    output.next(
        command("verify", made.path), command("submit", made.path, "--board", "board.sqlite")
    )
