"""Agents that meet each other in a game: what each wins, computed on the whole game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pkubench.agents.contract import Entrant
from pkubench.errors import ConfigError, RecordError
from pkubench.evaluation.ratings.tables import AgentRuns
from pkubench.tasks.exact import Exact, realization_plans
from pkubench.tasks.task import Task


def cross_play(entrants: Mapping[str, Sequence[Entrant]], task: Task) -> AgentRuns:
    """Return the mean payoff of every run against every other, over both seats.

    Args:
        entrants: agent -> its runs.
        task: A task that is scored on the whole game.

    Raises:
        ConfigError: The task is not one.
        RecordError: There are fewer than two agents.
        AgentError: An agent cannot return its action probabilities.
    """
    if not isinstance(task.scoring, Exact):
        raise ConfigError(
            f"{task.id} is not a game that is scored exactly, in which agents meet each other; "
            "rate folders of results instead"
        )
    if len(entrants) < 2:
        raise RecordError("ratings compare agents; name two or more")
    from pkubench.envs.games.trees import registered_game

    game = registered_game(task.id)
    plans = [realization_plans(run, game) for runs in entrants.values() for run in runs]
    first, second = (np.stack(seat) for seat in zip(*plans, strict=True))
    won = game.payoffs(first, second)
    ends = np.cumsum([len(runs) for runs in entrants.values()])
    of = np.split(np.arange(len(plans)), ends[:-1])
    return AgentRuns(tuple(entrants), "payoffs", tuple(of), ((won - won.T) / 2.0)[None])
