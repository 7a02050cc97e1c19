"""The random agent: uniform over the (legal) actions; no agent should score less."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import (
    Agent,
    Array,
    BoolArray,
    FloatArray,
    IntArray,
    MaskedObservation,
    Team,
)
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.seeding import RandomStreams
from pkubench.errors import AgentError


class RandomAgent:
    """Acts uniformly at random in one action space, legal actions only where there is a mask.

    Bounded ``Box`` dimensions are uniform between their bounds, unbounded ones standard normal.
    Each episode draws from its own stream, so it does not depend on the batch it runs in.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        """Act in ``space``.

        Raises:
            AgentError: no uniform distribution is defined for it (text, for example).
        """
        if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.Box):
            raise AgentError(f"the random agent cannot act in {space}")
        self.space = space
        self._low: Any
        self._range: Any
        self._shape: tuple[int, ...] = space.shape or ()
        self._size = int(np.prod(space.shape or (1,)))
        if isinstance(space, spaces.Box):
            self._bounded = bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())
            self._low = space.low.astype(np.float64)
            self._range = space.high.astype(np.float64) - self._low if self._bounded else self._low
        elif isinstance(space, spaces.Discrete):
            self._low, self._range = np.float64(space.start), np.float64(space.n)
        else:
            self._low, self._range = space.start, space.nvec.astype(np.float64)

    def begin(self, seeds: IntArray) -> RandomStreams:
        """Start one random stream per episode."""
        return RandomStreams.started(seeds)

    def act(
        self, observation: Any, state: RandomStreams, active: BoolArray
    ) -> tuple[Array, RandomStreams]:
        """Return actions (episodes, ...) of the space's dtype."""
        episodes = np.arange(len(active))
        if isinstance(observation, MaskedObservation):
            legal = np.cumsum(observation.action_mask != 0, axis=1)
            # The k-th legal action, k uniform: the first with more than k legal ones up to it.
            wanted = np.floor(state.uniform(episodes, 1) * legal[:, -1:])
            return (legal > wanted).argmax(axis=1) + int(self._low), state
        if isinstance(self.space, spaces.Box) and not self._bounded:
            draws = self._unbounded(state, episodes)
        else:
            draws = state.uniform(episodes, self._size)
            draws = draws.reshape(len(episodes), *self._shape) * self._range
            if not isinstance(self.space, spaces.Box):
                return np.floor(draws).astype(np.int64) + np.int64(self._low), state
            draws += self._low
        return draws.astype(self.space.dtype), state

    def action_probabilities(self, observation: Array, action_mask: Array) -> FloatArray:
        """Return equal probabilities for all legal actions, (batch, actions)."""
        legal = (np.asarray(action_mask) != 0).astype(np.float64)
        probabilities: FloatArray = legal / legal.sum(axis=1, keepdims=True)
        return probabilities

    def _unbounded(self, state: RandomStreams, episodes: IntArray) -> FloatArray:
        assert isinstance(self.space, spaces.Box)
        low, high = self.space.low, self.space.high
        draws = state.normal(episodes, self._size).reshape(len(episodes), *self.space.shape)
        uniform = state.uniform(episodes, self._size).reshape(draws.shape)
        both = np.isfinite(low) & np.isfinite(high)
        width = np.where(both, high.astype(np.float64) - np.where(both, low, 0.0), 1.0)
        bounded = np.where(both, low, 0.0) + uniform * width
        return np.where(both, bounded, np.clip(draws, low, high))


def random_entrant(env: BatchEnv) -> Agent | Team:
    """Return the random entrant of an environment: an agent, or a team where it has several."""
    members = {agent: RandomAgent(env.action_spaces[agent]) for agent in env.agents}
    return Team(members) if len(members) > 1 else members[env.agents[0]]
