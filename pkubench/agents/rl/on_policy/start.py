"""Beginning with what another run has learned: its actors, and its critics where it kept them.

Optimizers, the order of samples and episodes are those of a new run. A run that begins so keeps its
critics beside its agent, so that one may follow another (curricula, specialists).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pkubench.agents.nn.fast.policy import saved_floats
from pkubench.agents.rl.on_policy.critic import Critic
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Array
from pkubench.agents.saved.files import has_extra, load_extra, load_saved
from pkubench.errors import ConfigError, WeightsError

INPUT = "start"
"""Name of the input."""
CRITICS = "critics"
"""File of the critics, without its suffix."""


def begin_from(learner: OnPolicyLearner, folder: Path) -> None:
    """Take over the networks of a saved run.

    Raises:
        ConfigError: they are of another shape, or observations are normalized, in either of them.
        WeightsError: the folder is not a saved agent with such networks.
    """
    saved = load_saved(folder)
    members = saved.config.get("members")
    if not isinstance(members, dict) or set(members) != set(learner.agents):
        raise ConfigError(f"{folder} has no actors of {', '.join(learner.agents)} to start from")
    if learner.inputs.norms or any(m.get("observation_norm") for m in members.values()):
        raise ConfigError(
            "a run that starts from another one cannot take over its moments of observations: "
            "train both with observation_norm=false"
        )
    for agent, name in learner.actor_names.items():
        actor, member = learner.actors[name], members[agent]
        if not actor.discrete and member.get("std") != learner.config.std:
            raise ConfigError(f"{folder} was trained with std={member.get('std')}: set the same")
        kept = {
            key: f"{member.get('network')}.{key.removeprefix('net.')}" for key in actor.state_dict()
        }
        _fill(actor, saved.tensors, kept, folder)
    if has_extra(folder, CRITICS):
        tensors = load_extra(folder, CRITICS)
        for name, critic in _critics(learner):
            _fill(critic.net, tensors, {k: f"{name}.{k}" for k in critic.net.state_dict()}, folder)
            if (critic.norm is None) == (f"{name}.norm" in tensors):
                other = "true" if critic.norm is None else "false"
                raise ConfigError(f"{folder} has critics trained with value_norm={other}: set it")
            if critic.norm is not None:
                critic.norm.sums = _sums(tensors[f"{name}.norm"], folder)


def critics_of(learner: OnPolicyLearner) -> dict[str, Array]:
    """Return the critics as ``begin_from`` reads them."""
    found: dict[str, Array] = {}
    for name, critic in _critics(learner):
        for key, tensor in critic.net.state_dict().items():
            found[f"{name}.{key}"] = tensor.cpu().numpy().copy()
        if critic.norm is not None:
            found[f"{name}.norm"] = critic.norm.sums.copy()
    return found


def _critics(learner: OnPolicyLearner) -> Iterator[tuple[str, Critic]]:
    for k, stack in enumerate(learner.stacks):
        for row, critic in enumerate(stack.members):
            yield f"critic{k}.{row}", critic


def _sums(saved: Array, folder: Path) -> Array:
    if saved.shape != (3,) or not np.isfinite(saved).all():
        raise WeightsError(f"{folder} has critics whose moments of returns are not three numbers")
    return saved.astype(np.float64)


def _fill(module: Any, tensors: Mapping[str, Array], keys: Mapping[str, str], folder: Path) -> None:
    """Copy saved tensors into a module, whose parameters stay where they are in memory."""
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    try:
        state = {k: torch.from_numpy(saved_floats(tensors, keys[k], shapes[k])) for k in shapes}
    except WeightsError as error:
        raise ConfigError(f"{folder} has networks of another shape: {error}") from error
    module.load_state_dict(state)
