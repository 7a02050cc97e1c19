"""Untrained agents by name."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gymnasium.spaces import Discrete

from pkubench.agents.contract import Agent, Entrant
from pkubench.agents.families.scripted.policies import (
    EQUILIBRIUM,
    KNOWN_BY_ENVIRONMENTS,
    SCRIPTED,
    brought_by,
    scripted_agent,
)
from pkubench.agents.families.scripted.random import RandomAgent, random_entrant
from pkubench.agents.resolve.sources import AgentRun, AgentSource
from pkubench.envs.core.registry import env_class, make_batch, traits
from pkubench.envs.core.registry import resolve as resolve_environment
from pkubench.errors import AgentError, MissingExtra, UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def make(name: str, task: Task) -> Entrant:
    """Return the random entrant of a task's environment (for a game, one policy for both seats).

    Raises:
        AgentError: no uniform distribution is defined for its actions.
    """
    if traits(task.id, **task.env_kwargs).is_zero_sum_game:
        # Equal probabilities need no table, so the tree is not built for them.
        from pkubench.envs.games.trees import registered_actions

        return RandomAgent(Discrete(registered_actions(task.id)))
    env = make_batch(task.id, 1, **task.env_kwargs)
    try:
        return random_entrant(env)
    finally:
        env.close()


def resolve(name: str, task: Task | None, trust: bool) -> AgentSource:
    """Return the source of ``scripted:NAME``.

    Raises:
        UnknownName: no such agent.
        AgentError: no task is given.
    """
    if task is None:
        if name not in SCRIPTED:
            raise UnknownName("scripted agent", name, SCRIPTED)
        raise AgentError(f"agent 'scripted:{name}' depends on the task; name one")
    own = own_strategies(task.id)
    if name in own:
        run = AgentRun("run", own_strategy, (name, task.id))
    elif name in SCRIPTED:
        run = AgentRun("run", scripted_agent, (name, task.id))
    else:
        raise UnknownName("scripted agent", name, [*SCRIPTED, *own])
    return AgentSource(f"scripted:{name}", "scripted", (run,))


def names_for(task: Task) -> list[str]:
    """Return the names of the scripted agents that play a task; none without its simulator."""
    found = list(own_strategies(task.id))
    if traits(task.id, **task.env_kwargs).is_zero_sum_game:
        return [*found, EQUILIBRIUM]  # computed only when it is asked for
    try:
        env = make_batch(task.id, 1, **task.env_kwargs)
    except MissingExtra:
        return found
    brought = brought_by(env)
    env.close()
    for name, factory in SCRIPTED.items():
        if name in KNOWN_BY_ENVIRONMENTS or name == EQUILIBRIUM:
            found += [name] if name in brought else []
            continue
        with contextlib.suppress(AgentError, MissingExtra):
            factory(task.id)
            found.append(name)
    return found


def own_strategies(task_id: str) -> Mapping[str, Agent]:
    """Return the scripted agents that an environment brings along, by name."""
    found: Mapping[str, Agent] = getattr(env_class(resolve_environment(task_id)), "strategies", {})
    return found


def own_strategy(name: str, task_id: str) -> Agent:
    """Return a scripted agent that an environment brings along."""
    return own_strategies(task_id)[name]
