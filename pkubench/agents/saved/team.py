"""Actors or teams from a saved agent's members, checked against the task to act in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Agent, Team
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, ConfigError, UnknownName, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

MemberReader = Callable[[str, dict[str, Any], "spaces.Space[Any]", int], Agent]
"""From an agent's name, its entry in ``members``, its action space and its observation size."""

ACTING: Mapping[str, Any] = {"mode": "mode"}
"""Acting settings and their defaults: ``mode`` is ``mode`` or ``sampled``."""


def is_sampled(acting: Mapping[str, Any]) -> bool:
    """Return whether actions are sampled.

    Raises:
        ConfigError: a setting other than ``mode``, or a mode other than ``mode`` and ``sampled``.
    """
    for name in acting:
        if name not in ACTING:
            raise UnknownName("acting setting", name, ACTING)
    mode = acting.get("mode", ACTING["mode"])
    if mode not in ("mode", "sampled"):
        raise ConfigError(f"mode must be 'mode' or 'sampled', got {mode!r}")
    return bool(mode == "sampled")


def read_team(saved: SavedAgent, task: Task | None, kind: str, read: MemberReader) -> Agent | Team:
    """Return the actor (one agent) or the team a folder holds, each member made by ``read``.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        kind: the agents' ``kind``, for errors.
        read: makes one member; may raise the errors of indexing for missing or wrong entries.

    Raises:
        WeightsError: the description is incomplete.
        AgentError: the task has other agents.
    """
    config = saved.config
    if not isinstance(config.get("members"), dict) or not isinstance(config.get("task"), str):
        raise WeightsError(f"config.json of an {kind} agent needs 'task' and 'members'")
    env = make_batch(config["task"] if task is None else task.id, 1)
    try:
        if set(env.agents) != set(config["members"]):
            raise AgentError(
                f"the agent was trained for {sorted(config['members'])}, "
                f"the task has {sorted(env.agents)}"
            )
        members = {}
        for agent, member in config["members"].items():
            seen = int(np.prod(env.observation_spaces[agent].shape or (1,)))
            members[agent] = read(agent, member, env.action_spaces[agent], seen)
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"the saved agent is incomplete: {error}") from error
    finally:
        env.close()
    return members[SOLE_AGENT] if set(members) == {SOLE_AGENT} else Team(members)
