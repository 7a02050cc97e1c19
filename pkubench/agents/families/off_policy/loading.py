"""Loads saved off-policy agents as actors, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gymnasium import spaces

from pkubench.agents.contract import Agent, Team
from pkubench.agents.nn.fast.policy import Layers, NetworkPolicy, NetworkSettings
from pkubench.agents.nn.fast.squashed_policy import SquashedPolicy
from pkubench.agents.saved.files import SavedAgent
from pkubench.agents.saved.team import is_sampled, read_team
from pkubench.errors import AgentError, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

KIND = "off-policy"
"""The ``kind`` of these agents' ``config.json``."""
HEADS = ("gaussian", "deterministic", "categorical")
"""What an actor's outputs mean: SAC's means and log-deviations, DDPG's actions, logits."""


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Agent | Team:
    """Return the actor (one agent) or the team a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        acting: ``{"mode": "sampled"}`` samples from the policy instead of taking its mode.

    Raises:
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
) -> NetworkPolicy:
    head, spec, bounds = member["head"], member["spec"], member["bounds"]
    if head not in HEADS:
        raise WeightsError(f"{agent}: unknown head {head!r}")
    if bounds not in ("rescale", "official"):
        raise WeightsError(f"{agent}: unknown bounds {bounds!r}")
    wanted: int | None = None
    if isinstance(space, spaces.Discrete) and head == "categorical":
        wanted = int(space.n)
    elif isinstance(space, spaces.Box) and len(space.shape) == 1 and head != "categorical":
        wanted = space.shape[0] * (2 if head == "gaussian" else 1)
    if spec["inputs"] != seen or spec["outputs"] != wanted:
        raise AgentError(
            f"{agent}: the network maps {spec['inputs']} numbers to {spec['outputs']} outputs of a "
            f"{head} head, the task's observation has {seen} and its action space is {space}"
        )
    layers = Layers.read(saved.tensors, member["network"], spec)
    how = "affine" if bounds == "rescale" else "high"
    settings = NetworkSettings(space, None, how, None, None)
    if isinstance(space, spaces.Discrete):
        return NetworkPolicy(layers, settings, stochastic=stochastic)
    return SquashedPolicy(layers, settings, head, stochastic=stochastic)
