"""Which agents train on which tasks: by suite, by what their family needs, by what they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.registry import (
    DELAYED,
    LIMITED,
    SUGGESTED,
    TEAM,
    Preset,
    family_of,
    import_function,
    prefixes,
    preset,
    presets,
)
from pkubench.agents.requirements import is_delayed, num_agents
from pkubench.envs.core.delayed_reward import DELAY

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def is_meant_for(agent: Preset, task: Task) -> bool:
    """Return whether an agent is meant for a task's suite or its delayed rewards, trained or not.

    A suite that no agent of the same package names is unknown to that package, and open to its
    agents. A preset that starts from another one may be of any package, and speaks for itself only.
    """
    if not agent.suites or task.suite in agent.suites:
        return True
    if DELAYED in agent.tags and is_delayed(task):
        return True
    package = family_of(agent).package
    return not any(  # the cheapest condition first: this is asked for each task of a site
        task.suite in other.suites and not other.base and family_of(other).package == package
        for other in presets().values()
    )


def untrained(task: Task) -> list[str]:
    """Return the spellings of known agents that play a task without training."""
    named = [name for name, agent in presets().items() if family_of(agent).make is not None]
    for of in prefixes().values():
        if of.names:
            named += [f"{of.prefix}:{name}" for name in import_function(of.names)(task)]
    return named


def why_not(agent: Preset, task: Task) -> str:
    """Return why an agent cannot train on a task; "" if it can.

    Raises:
        UnknownName: the task's environment is not registered.
    """
    family = family_of(agent)
    if not family.is_trained:
        return "it is not trained"
    if not is_meant_for(agent, task):
        *most, last = agent.suites
        known = f"{', '.join(most)} and {last}" if most else last
        also = f" and where rewards are delayed (+{DELAY}=...)" if DELAYED in agent.tags else ""
        return f"it trains on {known} tasks{also}, and this is one of {task.suite}"
    return family.fits(task) or _misfit(agent, task)


def _misfit(agent: Preset, task: Task) -> str:
    """Return why an agent, or one that it starts from, cannot train on a task that others can."""
    why = agent.fits(task)
    return why or (_misfit(preset(agent.base), task) if agent.base else "")


def can_train(agent: Preset, task: Task) -> bool:
    """Return whether an agent can train on a task."""
    return not why_not(agent, task)


def trainable(task: Task) -> list[Preset]:
    """Return the agents that can train on a task, in the order in which to try them.

    Learners of teams come first where there is a team, the others where there is not; those that
    hold its cost limit before unconstrained ones, and those for delayed rewards before others where
    rewards are; official settings last.
    """
    fitting = [agent for agent in presets().values() if can_train(agent, task)]
    is_team, is_late = num_agents(task) > 1, is_delayed(task)

    def rank(agent: Preset) -> tuple[bool, ...]:
        return (
            agent.is_official,
            (TEAM in agent.tags) != is_team,
            (LIMITED in agent.tags) != (task.cost_limit is not None),
            (DELAYED in agent.tags) != is_late,
            SUGGESTED not in agent.tags,
        )

    return sorted(fitting, key=rank)
