"""Acting greedily on saved utilities, in double precision on one thread."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import BoolArray, FloatArray, IntArray, MaskedObservation
from pkubench.agents.nn.fast.policy import NetworkPolicy, NetworkSettings
from pkubench.agents.nn.torch_policy import TorchNetwork
from pkubench.errors import AgentError


class Remembered(NamedTuple):
    """The state of an agent between steps."""

    hidden: FloatArray
    """(episodes, units)."""
    last: FloatArray
    """(episodes, actions), the previous action, one-hot; no columns where it is not an input."""


class GreedyPolicy:
    """An Agent that takes the legal action with the largest utility."""

    def __init__(
        self, network: TorchNetwork, space: spaces.Discrete, last_action: bool, who: FloatArray
    ) -> None:
        """Make the policy.

        Args:
            network: from observation, previous action and ``who`` to utilities.
            space: of the actions.
            last_action: whether the previous action is an input.
            who: the agent's place in its group, one-hot; empty for an agent alone.
        """
        self.network, self.space, self.who = network, space, who
        self.actions = int(space.n) if last_action else 0
        self.seen = network.inputs - self.actions - len(who)
        self.policy = NetworkPolicy(network, NetworkSettings(space, None, "clip", None, None))

    def begin(self, seeds: IntArray) -> Remembered:
        """Start episodes with a memory of zeros."""
        count = len(seeds)
        return Remembered(
            np.zeros((count, self.network.net.units)), np.zeros((count, self.actions))
        )

    def act(
        self, observation: Any, state: Remembered, active: BoolArray
    ) -> tuple[IntArray, Remembered]:
        """Return actions (episodes,)."""
        mask = None
        if isinstance(observation, MaskedObservation):
            observation, mask = observation
        x = np.asarray(observation, np.float64)
        x = x.reshape(len(x), -1)
        if x.shape[1] != self.seen:
            raise AgentError(f"the policy takes {self.seen} numbers, got {x.shape[1]}")
        inputs = np.concatenate([x, state.last, np.tile(self.who, (len(x), 1))], 1)
        if self.network.net.units:
            out, hidden = self.network.step(inputs, state.hidden)
        else:
            out, hidden = self.network(inputs), state.hidden
        actions, _ = self.policy.choose(out, mask, None)
        last = np.eye(int(self.space.n))[actions - int(self.space.start)][:, : self.actions]
        return actions, Remembered(hidden, last)
