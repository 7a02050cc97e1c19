"""Saved off-policy agents back as actors, without torch."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Agent, BoolArray, Team
from pkubench.agents.nn.fast.policy import Array, Layers, NetworkPolicy, NetworkSettings, map_action
from pkubench.agents.saved.files import SavedAgent
from pkubench.agents.saved.team import read_team
from pkubench.envs.core.seeding import RandomStreams
from pkubench.errors import AgentError, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

KIND = "off-policy"
"""The ``kind`` of these agents' ``config.json``."""
HEADS = ("gaussian", "deterministic", "categorical")
"""What an actor's outputs mean: SAC's means and log-deviations, DDPG's actions, logits."""
_LOG_STD_RANGE = (-20.0, 2.0)


class SquashedPolicy(NetworkPolicy):
    """An Agent whose outputs go through tanh to a bounded action.

    Deterministic (tanh of the mean) unless ``stochastic``; DDPG's and TD3's have no noise of
    their own and always are.
    """

    def __init__(
        self, layers: Layers, settings: NetworkSettings, head: str, *, stochastic: bool = False
    ) -> None:
        """Make the policy; ``head`` is ``gaussian`` or ``deterministic``."""
        super().__init__(layers, settings, stochastic=stochastic and head == "gaussian")
        self.head = head

    @property
    def size(self) -> int:
        """Numbers in an action."""
        return int(math.prod(self.settings.space.shape or (1,)))

    def act(
        self, observation: Any, state: RandomStreams | None, active: BoolArray
    ) -> tuple[Array, RandomStreams | None]:
        """Return actions (B, d) of the space's dtype."""
        out = self._outputs(observation)
        mean = out[:, : self.size]
        if state is not None:
            noise = state.normal(np.arange(len(out)), self.size)
            mean = mean + np.exp(np.clip(out[:, self.size :], *_LOG_STD_RANGE)) * noise
        squashed = np.tanh(mean).astype(np.float32)
        return map_action(squashed, self.settings.space, self.settings.action_map), state


def load(saved: SavedAgent, task: Task | None = None, *, stochastic: bool = False) -> Agent | Team:
    """Return the actor (one agent) or the team a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        stochastic: sample from the policy in place of taking its mode.

    Raises:
        WeightsError: the weights do not fit their own description.
        AgentError: the task has other agents or spaces.
    """
    read = partial(_member, saved=saved, stochastic=stochastic)
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
