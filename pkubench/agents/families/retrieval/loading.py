"""Loads saved agents of many grid worlds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces

from pkubench.agents.components import changed
from pkubench.agents.contract import Agent
from pkubench.agents.families.retrieval.acting import ActingNetwork
from pkubench.agents.families.retrieval.networks import (
    SIDE,
    WIDTH,
    Policy,
    Spec,
    TaskLayer,
    spec_of,
)
from pkubench.agents.families.retrieval.setup import missions_of
from pkubench.agents.families.retrieval.showing import (
    ShowingPolicy,
    ShowingRecurrentPolicy,
    recall_of,
)
from pkubench.agents.nn.fast.policy import NetworkPolicy, NetworkSettings, saved_floats
from pkubench.agents.nn.memory.base import Memory
from pkubench.agents.nn.memory.none import NoMemory
from pkubench.agents.nn.torch_policy import RecurrentPolicy
from pkubench.agents.saved.files import SavedAgent
from pkubench.agents.saved.team import is_sampled
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, ConfigError, UnknownName, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    memory: Memory = NoMemory()  # noqa: RUF009 - frozen


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Agent:
    """Return the agent that a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        acting: ``{"mode": "sampled"}`` samples from the policy instead of taking its mode.

    Raises:
        ConfigError: unknown acting setting or mode.
        WeightsError: the weights do not fit their own description.
        AgentError: the task asks other missions, or has other spaces.
    """
    stochastic = is_sampled(acting or {})
    try:
        settings = {k: v for k, v in saved.config["settings"].items() if k.startswith("memory")}
        spec = spec_of(saved.config["spec"], changed(_Slot(), settings).memory)
        missions = tuple(map(str, saved.config["missions"]))
        trained_on = str(saved.config["task"])
        if min(spec.tasks, spec.actions) < 1 or len(missions) != spec.tasks or spec.channels > 4:
            raise ConfigError(f"{spec.tasks} tasks, {spec.actions} actions, missions {missions}")
        with torch.device("meta"):
            shapes = Policy(spec, torch.Generator()).state_dict()
    except _INCOMPLETE as error:
        raise WeightsError(f"the saved agent is incomplete: {error}") from error
    space = _space(spec, missions, trained_on, task)
    tensors = {
        key: torch.from_numpy(saved_floats(saved.tensors, key, tuple(value.shape)))
        for key, value in shapes.items()
    }
    net = Policy(spec, torch.Generator())
    net.load_state_dict(tensors)
    layer = None
    if spec.task_layer == "hypernetwork":
        weight = saved_floats(saved.tensors, "layer.weight", (spec.tasks, WIDTH, WIDTH))
        bias = saved_floats(saved.tensors, "layer.bias", (spec.tasks, WIDTH))
        layer = TaskLayer(torch.from_numpy(weight), torch.from_numpy(bias))
    network: Any = ActingNetwork(net, layer)
    made = NetworkSettings(space, None, "clip", None, None)
    recall = recall_of(saved, network)
    if recall is None:
        kind = RecurrentPolicy if net.units else NetworkPolicy
        return kind(network, made, stochastic=stochastic)
    showing = ShowingRecurrentPolicy if net.units else ShowingPolicy
    agent = showing(network, made, stochastic=stochastic)
    agent.recall = recall
    return agent


def _space(
    spec: Spec, missions: tuple[str, ...], trained_on: str, task: Task | None
) -> spaces.Discrete:
    """Return the action space of the task to act in."""
    settings = {} if task is None else dict(task.env_kwargs)
    env = make_batch(trained_on if task is None else task.id, 1, **settings)
    try:
        try:
            asked = missions_of(env)
        except ConfigError as error:
            raise AgentError(str(error)) from error
        if asked != missions:
            raise AgentError(
                f"the agent was trained on the missions {_quoted(missions)}; here they are "
                f"{_quoted(asked)}"
            )
        space, seen = env.action_spaces[SOLE_AGENT], env.observation_spaces[SOLE_AGENT]
        wanted = (SIDE, SIDE, spec.channels)
        if (
            not isinstance(space, spaces.Discrete)
            or space.n != spec.actions
            or seen.shape != wanted
        ):
            raise AgentError(
                f"the policy maps views of shape {wanted} to {spec.actions} actions; the task has "
                f"{seen} and {space}"
            )
        return space
    finally:
        env.close()


def _quoted(missions: tuple[str, ...]) -> str:
    return ", ".join(f"'{mission}'" for mission in missions)


_INCOMPLETE = (
    ArithmeticError,
    AttributeError,
    ConfigError,
    LookupError,
    RuntimeError,
    TypeError,
    UnknownName,
    ValueError,
)
