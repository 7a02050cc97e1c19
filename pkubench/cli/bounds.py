"""What ``pkubench evaluate --responses`` does: a lower bound where no tree can be built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pkubench.cli.names import short
from pkubench.cli.output import Column, Output, number
from pkubench.envs.core.registry import traits
from pkubench.errors import ConfigError
from pkubench.tasks.task import Task


def show_bound(
    output: Output,
    agent: str,
    task: Task,
    plays: int,
    seed: int,
    responder: str = "dqn",
    *,
    trust: bool,
) -> None:
    """Find a response to each seat of an agent and show a lower bound of NashConv.

    Raises:
        AgentError, ConfigError, GameError, PolicyError: As ``response_bound``.
    """
    from pkubench.agents.registry import families, import_function
    from pkubench.agents.resolve.loading import load_unbuilt, resolve_agent
    from pkubench.envs.games.trees import openspiel_name

    game = openspiel_name(task.id)
    entrant = load_unbuilt(resolve_agent(agent, task, trust=trust), game)
    (response_bound,) = (family.bound for family in families().values() if family.bound)
    bound = import_function(response_bound)(entrant, game, plays, seed, responder=responder)
    if output.json:
        output.document(
            {
                "task": task.id,
                "agent": agent,
                "seed": seed,
                "responder": responder,
                **bound.to_json(),
            }
        )
        return
    unit = task.ranking.unit
    columns = (
        Column(""),
        Column(unit, right=True),
        Column("standard error", right=True),
        Column("meaning", rank=1, wraps=True),
    )
    error = float(np.hypot(*bound.errors)) / 2.0
    rows = [
        *(
            (f"response in the {seat} seat", number(won), number(spread, 2), "what it wins")
            for seat, won, spread in zip(("first", "second"), bound.wins, bound.errors, strict=True)
        ),
        (
            "exploitability, estimate",
            number(bound.estimate / 2.0),
            number(error, 2),
            "their mean; luck can raise it above the exact value",
        ),
        (
            "exploitability, at least",
            number(bound.nash_conv_low / 2.0),
            "",
            "with 95 % confidence",
        ),
    ]
    title = f"{agent} on {short(task.id)}: LOWER BOUND of exploitability, no exact score"
    budget = (
        f"learned from {bound.plays:,} plays, scored by {bound.scored:,} per seat; more may find "
        "more"
        if bound.plays
        else f"local best responses, scored by {bound.scored:,} plays per seat; others may win more"
    )
    output.show("", output.table(title, columns, rows), budget, "")
    output.note("exploitability is the mean over the seats; --json has NashConv, their sum, too")


def check_responses(tasks: Sequence[Task], is_one: bool, out: Path | None) -> None:
    """Refuse options and tasks for which a lower bound of exploitability does not apply.

    Raises:
        ConfigError: one of the tasks is not a game; there are several evaluations, or a folder.
    """
    wrong = [task for task in tasks if not traits(task.id).is_zero_sum_game]
    if wrong:
        raise ConfigError(
            f"--responses bounds the exploitability of a game, and {short(wrong[0].id)} is not a "
            f"game: it is scored by {wrong[0].scoring.summary}; leave --responses out"
        )
    if not is_one:
        raise ConfigError("--responses takes one agent and one game; run it once for each")
    if out is not None:
        raise ConfigError(
            "--responses keeps no records; leave --out out, or print them with --json"
        )
