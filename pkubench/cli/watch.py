"""``pkubench watch``: film an agent at work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pkubench.cli.interrupt import sigterm_as_interrupt
from pkubench.cli.names import command, short, task_named
from pkubench.cli.options import (
    AgentName,
    Json,
    Quiet,
    Seed,
    TaskName,
    Trust,
    count,
    verb_app,
)
from pkubench.cli.output import Column, Output, number
from pkubench.cli.progress import Meter
from pkubench.errors import ConfigError
from pkubench.tasks.records import EpisodeRecord

app = verb_app()


@app.command()
def watch(
    agent: AgentName,
    task: TaskName,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="An .mp4 or .gif; videos/AGENT-TASK.mp4 if left."
        ),
    ] = None,
    seed: Seed = 0,
    episodes: Annotated[int, count("--episodes", 1, "Episodes in the film.")] = 1,
    speed: Annotated[
        float,
        typer.Option(
            "--speed", metavar="X", min=0.01, help="Factor of playback speed over simulated time."
        ),
    ] = 1.0,
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Film an agent: the first episodes of the evaluation with the same --seed.

    In a game the agent sits in both seats. Exit code 1 if it fails an episode.
    """
    chosen = task_named(task)
    from pkubench.agents.resolve.loading import resolve_agent
    from pkubench.cli.filming import FORMATS, filmed_episode, frames_per_second, reel
    from pkubench.evaluation.run.harness import folder_name
    from pkubench.tasks.scoring import Episodes

    name = f"{folder_name(Path(agent).name)}-{short(chosen.id)}"
    path = out or Path("videos") / f"{name}.mp4"
    if path.suffix not in FORMATS:
        raise ConfigError(f"--out {path}: films are {' or '.join(FORMATS)} files")
    with Output(json=json, quiet=quiet) as output, sigterm_as_interrupt():
        run = resolve_agent(agent, chosen, trust=trust).runs[0]
        fps = frames_per_second(chosen)
        records = []
        title = f"filming {agent} on {short(chosen.id)}"
        with reel(path, fps, speed) as film, Meter(title, quiet=quiet, unit="steps") as meter:
            for planned in Episodes().plan(chosen, seed, episodes):

                def on_step(step: int, before: int = planned.number) -> None:
                    # The length of an episode without a time limit is unknown.
                    limit = chosen.protocol.horizon or step
                    meter.update(before * limit + step, episodes * limit)

                entrant = run.load()
                records.append(filmed_episode(entrant, chosen, planned, film, on_step))
                on_step(chosen.protocol.horizon or records[-1].length)
        if json:
            facts = {"film": str(path), "agent": agent, "run": run.label, "task": chosen.id}
            output.document({**facts, "episodes": [_facts(record) for record in records]})
        else:
            output.show(str(path), "", _table(output, records), "")
            output.next(command("evaluate", agent, short(chosen.id)))
    if any(record.failure for record in records):
        raise typer.Exit(1)


def _facts(record: EpisodeRecord) -> dict[str, Any]:
    return {
        "seed": record.seed,
        "return": record.return_,
        "cost": record.cost,
        "length": record.length,
        "failure": record.failure,
    }


def _table(output: Output, records: Sequence[EpisodeRecord]) -> Any:
    columns = [
        Column("seed", style="bold"),
        Column("return", right=True),
        *([Column("cost", right=True, rank=1)] if _any(records, "cost") else []),
        Column("steps", right=True),
        *([Column("failure", wraps=True)] if _any(records, "failure") else []),
    ]
    rows = [
        [
            str(record.seed),
            number(record.return_),
            *([number(record.cost)] if _any(records, "cost") else []),
            number(record.length),
            *([record.failure or ""] if _any(records, "failure") else []),
        ]
        for record in records
    ]
    return output.table("", columns, rows)


def _any(records: Sequence[EpisodeRecord], name: str) -> bool:
    return any(getattr(record, name) is not None for record in records)
