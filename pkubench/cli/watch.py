"""``pkubench watch``: film an agent at work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pkubench.cli.interrupt import sigterm_as_interrupt
from pkubench.cli.names import command, own_task, short, task_named
from pkubench.cli.options import (
    AgentName,
    Json,
    OwnTaskName,
    Quiet,
    Seed,
    Trust,
    count,
    verb_app,
)
from pkubench.cli.output import Column, Output, number
from pkubench.cli.progress import Meter
from pkubench.errors import AgentError, ConfigError
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.task import Task

if TYPE_CHECKING:
    from pkubench.agents.contract import Entrant, FloatArray
    from pkubench.envs.core.recording import Recording
    from pkubench.evaluation.figures.strip import CreditStrip
    from pkubench.tasks.scoring import Episode

app = verb_app()


@app.command()
def watch(
    agent: AgentName,
    task: OwnTaskName = None,
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

    In a game the agent sits in both seats. Where the run folder has a learned credit model, its
    credit for the episode is drawn below the frames; what an agent looked up is shown beside them.
    Exit code 1 if it fails an episode.
    """
    chosen = own_task(agent, "watch") if task is None else task_named(task)
    from pkubench.agents.resolve.loading import resolve_agent
    from pkubench.agents.resolve.saved import learned_credit_of
    from pkubench.cli.filming import FORMATS, filmed_episode, frames_per_second, reel
    from pkubench.evaluation.run.harness import folder_name
    from pkubench.tasks.scoring import Episodes

    name = f"{folder_name(Path(agent).name)}-{short(chosen.id)}"
    path = out or Path("videos") / f"{name}.mp4"
    if path.suffix not in FORMATS:
        raise ConfigError(f"--out {path}: films are {' or '.join(FORMATS)} files")
    with Output(json=json, quiet=quiet) as output, sigterm_as_interrupt():
        run = resolve_agent(agent, chosen, trust=trust).runs[0]
        assign = learned_credit_of(agent, run)
        fps = frames_per_second(chosen)
        records = []
        title = f"filming {agent} on {short(chosen.id)}"
        with reel(path, fps, speed) as film, Meter(title, quiet=quiet, unit="steps") as meter:
            for planned in Episodes().plan(chosen, seed, episodes):

                def on_step(step: int, before: int = planned.number) -> None:
                    # The length of an episode without a time limit is unknown.
                    limit = chosen.protocol.horizon or step
                    meter.update(before * limit + step, episodes * limit)

                # Credit is of whole episodes: one is played first, and then again for the film.
                strip = None if assign is None else _strip(assign, run.load(), chosen, planned)
                entrant = run.load()
                records.append(filmed_episode(entrant, chosen, planned, film, on_step, strip))
                on_step(chosen.protocol.horizon or records[-1].length)
        if json:
            facts = {"film": str(path), "agent": agent, "run": run.label, "task": chosen.id}
            output.document({**facts, "episodes": [_facts(record) for record in records]})
        else:
            output.show(str(path), "", _table(output, records), "")
            output.next(command("evaluate", agent, short(chosen.id)))
    if any(record.failure for record in records):
        raise typer.Exit(1)


def _strip(
    assign: Callable[[Recording], FloatArray], entrant: Entrant, task: Task, episode: Episode
) -> CreditStrip | None:
    """Return the credit of an episode to be filmed; None if the agent fails it."""
    from pkubench.evaluation.credit_quality import recorded_as_planned
    from pkubench.evaluation.figures.strip import CreditStrip

    try:
        recording = recorded_as_planned(entrant, task, [episode])
    except AgentError:  # the film shows how far it comes
        return None
    return CreditStrip(recording, assign(recording))


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
