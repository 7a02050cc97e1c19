"""What ``pkubench evaluate --responses`` does: a lower bound where no tree can be built."""

from __future__ import annotations

import numpy as np

from pkubench.cli.names import short
from pkubench.cli.output import Output
from pkubench.tasks.task import Task


def show_bound(
    output: Output, agent: str, task: Task, plays: int, seed: int, *, trust: bool
) -> None:
    """Learn a response to each seat of an agent and show what NashConv is at least.

    Raises:
        AgentError, ConfigError, GameError, PolicyError: As ``response_bound``.
    """
    from pkubench.agents.loading import load_unbuilt, resolve_agent
    from pkubench.agents.psro.response_bound import response_bound
    from pkubench.envs.games.trees import openspiel_name

    game = openspiel_name(task.id)
    entrant = load_unbuilt(resolve_agent(agent, task, trust=trust), game)
    bound = response_bound(entrant, game, plays, seed)
    if output.json:
        output.document({"task": task.id, "agent": agent, "seed": seed, **bound.to_json()})
        return
    output.show(
        f"{agent} on {short(task.id)}: LOWER BOUND of exploitability, no exact score",
        f"  exploitability is at least {bound.nash_conv_low / 2:.4g} (NashConv "
        f"{bound.nash_conv_low:.4g}) with 95 % confidence",
        f"  responses win {bound.wins[0]:.4g} in the first seat, {bound.wins[1]:.4g} in the "
        f"second: an estimate of half their sum, {bound.estimate / 2:.4g}, with standard error "
        f"{np.hypot(*bound.errors) / 2:.2g}",
        f"  budget: {bound.plays:,} plays of learning and {bound.scored:,} of scoring a seat; more "
        "may find more",
    )
