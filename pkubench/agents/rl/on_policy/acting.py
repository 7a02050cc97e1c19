"""Loads saved on-policy agents as actors; those with an MLP without torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Agent, Team
from pkubench.agents.nn.fast.policy import (
    Array,
    Layers,
    NetworkPolicy,
    NetworkSettings,
    saved_floats,
)
from pkubench.agents.rl.budget import Budget, BudgetPolicy
from pkubench.agents.saved.files import SavedAgent, Tensors
from pkubench.agents.saved.team import is_sampled, read_team
from pkubench.errors import AgentError, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

KIND = "on-policy"
"""The ``kind`` of these agents' ``config.json``."""


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Agent | Team:
    """Return the actor (one agent) or the team a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        acting: ``{"mode": "sampled"}`` samples from the policy instead of taking its mode.

    Raises:
        ConfigError: unknown acting setting or mode.
        WeightsError: the weights do not fit their own description.
        AgentError: the task has other agents or spaces.
    """
    read = partial(_member, saved=saved, stochastic=is_sampled(acting or {}))
    return read_team(saved, task, KIND, read)


def _member(
    agent: str,
    member: dict[str, Any],
    space: spaces.Space[Any],
    seen: int,
    saved: SavedAgent,
    stochastic: bool,
) -> Agent:
    spec, tensors = member["spec"], saved.tensors
    budget = _budget(member)
    seen += budget is not None
    wanted: Any = space.shape if isinstance(space, spaces.Box) else None
    if isinstance(space, spaces.Discrete):
        wanted = (int(space.n),)
    elif isinstance(space, spaces.MultiDiscrete):
        wanted = (int(space.nvec.sum()),)
    outputs = (spec["outputs"],)
    name = member["network"]
    # A Gaussian head has a deviation; without this check 5 means would pass for 5 logits.
    is_gaussian = f"{name}.log_std" in tensors
    fits = is_gaussian is isinstance(space, spaces.Box)
    if spec["inputs"] != seen or outputs != wanted or not fits:
        head = "means of a Gaussian" if is_gaussian else "logits"
        raise AgentError(
            f"{agent}: the network maps {spec['inputs']} numbers to {spec['outputs']} "
            f"{head}, the task's observation has {seen} and its action space is {space}"
        )
    mean = deviation = None
    if member["observation_norm"]:
        mean = saved_floats(tensors, f"{agent}.observation_mean", (seen,))
        deviation = _positive(
            saved_floats(tensors, f"{agent}.observation_std", (seen,)),
            f"the observation deviations of {agent}",
        )
    if member["action_map"] not in ("clip", "affine"):
        raise WeightsError(f"{agent}: unknown action_map {member['action_map']!r}")
    settings = NetworkSettings(
        space, _std(tensors, name, member, space), member["action_map"], mean, deviation
    )
    policy = _policy(tensors, name, spec, settings, stochastic)
    return policy if budget is None else BudgetPolicy(policy, budget)


def _policy(
    tensors: Tensors,
    name: str,
    spec: Mapping[str, Any],
    settings: NetworkSettings,
    stochastic: bool,
) -> Agent:
    """Return the policy on a network: in NumPy for an MLP, in torch for the others."""
    if "encoder" not in spec:
        return NetworkPolicy(Layers.read(tensors, name, spec), settings, stochastic=stochastic)
    from pkubench.agents.nn.torch_policy import RecurrentPolicy, read_network

    network = read_network(tensors, name, spec)
    kind = RecurrentPolicy if network.net.units else NetworkPolicy
    return kind(network, settings, stochastic=stochastic)


def _budget(member: dict[str, Any]) -> Budget | None:
    """Return the budget of an agent trained under Saute."""
    if "budget" not in member:
        return None
    total, gamma = (float(member["budget"][name]) for name in Budget._fields)
    if not (0.0 < total < np.inf and 0.0 < gamma <= 1.0):
        raise WeightsError(f"a budget of {total:g} discounted by {gamma:g} is not valid")
    return Budget(total, gamma)


def _std(
    tensors: Tensors, name: str, member: dict[str, Any], space: spaces.Space[Any]
) -> Array | None:
    """Return the standard deviations of a Gaussian head, None for a categorical one."""
    if not isinstance(space, spaces.Box):
        return None
    log_std = saved_floats(tensors, f"{name}.log_std", space.shape or ())
    if member["std"] not in ("sigmoid", "log"):
        raise WeightsError(f"network {name!r} has an unknown kind of deviation {member['std']!r}")
    with np.errstate(over="ignore"):
        std = 0.5 / (1.0 + np.exp(-log_std)) if member["std"] == "sigmoid" else np.exp(log_std)
    return _positive(std, f"the action deviations of network {name!r}")


def _positive(values: Array, what: str) -> Array:
    if not ((values > 0.0) & np.isfinite(values)).all():
        raise WeightsError(f"{what} must be positive and finite")
    return values
