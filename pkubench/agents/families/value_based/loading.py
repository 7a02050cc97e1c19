"""Loads saved value-based agents."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Agent, Team
from pkubench.agents.nn.fast.policy import NetworkPolicy, NetworkSettings
from pkubench.agents.nn.torch_policy import LocalNetwork, read_module, read_network
from pkubench.agents.rl.value_based.acting import GreedyPolicy
from pkubench.agents.rl.value_based.dueling import Dueling, DuelingSpec
from pkubench.agents.saved.files import SavedAgent
from pkubench.agents.saved.team import read_team
from pkubench.errors import AgentError, ConfigError, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

KIND = "value-based"
"""The ``kind`` of these agents' ``config.json``."""


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Agent | Team:
    """Return the actor (one agent) or the team a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        acting: nothing can be set: actions are greedy.

    Raises:
        WeightsError: the weights do not fit their own description.
        AgentError: the task has other agents or spaces.
    """
    return read_team(saved, task, KIND, partial(_member, saved=saved))


def _member(
    agent: str, member: dict[str, Any], space: spaces.Space[Any], seen: int, saved: SavedAgent
) -> Agent:
    if "dueling" in member:
        return _dueling(agent, member, space, seen, saved)
    spec, size, place = member["spec"], member["group_size"], member["place"]
    if not (type(size) is type(place) is int and 0 <= place < size <= len(saved.config["members"])):
        raise WeightsError(f"{agent} is number {place} of a group of {size}")
    is_told = member["last_action"] is True
    who = np.eye(size)[place] if size > 1 else np.zeros(0)
    if not isinstance(space, spaces.Discrete) or (
        (spec["inputs"], spec["outputs"])
        != (seen + int(space.n) * is_told + len(who), int(space.n))
    ):
        raise AgentError(
            f"{agent}: the network maps {spec['inputs']} numbers to {spec['outputs']} utilities, "
            f"the task's observation has {seen} and its action space is {space}"
        )
    network = read_network(saved.tensors, member["network"], spec)
    return GreedyPolicy(network, space, is_told, who)


def _dueling(
    agent: str, member: dict[str, Any], space: spaces.Space[Any], seen: int, saved: SavedAgent
) -> Agent:
    try:
        spec = DuelingSpec(**{**member["dueling"], "hidden": tuple(member["dueling"]["hidden"])})
    except ConfigError as error:
        raise WeightsError(f"{agent}: {error}") from error
    if not isinstance(space, spaces.Discrete) or (spec.inputs, spec.outputs) != (seen, space.n):
        raise AgentError(
            f"{agent}: the network maps {spec.inputs} numbers to {spec.outputs} values, the "
            f"task's observation has {seen} and its action space is {space}"
        )
    net = read_module(Dueling, spec, saved.tensors, member["network"])
    settings = NetworkSettings(space, None, "clip", None, None)
    return NetworkPolicy(LocalNetwork(net, spec.inputs), settings)
