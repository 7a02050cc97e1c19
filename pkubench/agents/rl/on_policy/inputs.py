"""Network inputs from an environment's arrays: flat, in the networks' dtype, normalised."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pkubench.agents.nn.normalisers import ObservationNorm
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.networks import seen_of, state_seen
from pkubench.agents.rl.rollout import Array
from pkubench.envs.core.batch import BatchEnv


class Inputs:
    """Turns observations and states into network inputs; see ``rl.behaviour.Prepare``."""

    def __init__(self, env: BatchEnv, config: OnPolicyConfig) -> None:
        """Start without data for the running moments, if observations are normalised at all."""
        self.agents, self.encoder = env.agents, config.encoder
        self.has_states = config.critic == "state"
        seen = {a: seen_of(env.observation_spaces[a], config) for a in self.agents}
        state = state_seen(env, seen, config)
        self.has_byte_states = state.is_bytes and not config.encoder.mismatch(state.shape)
        """Whether the critics of states take bytes; others take bytes as numbers in [0, 1]."""
        self.norms: dict[str, ObservationNorm] = {}
        """By agent, and ``state``: running moments of observations. Agents that share an actor
        share them too: by its own moments each agent would look like the others."""
        if config.observation_norm:
            # the budget of Saute comes last and keeps its scale
            kept = config.constraint.observed
            self.norms = {a: ObservationNorm(int(np.prod(seen[a].shape)), kept) for a in seen}
            if config.shared:
                self.norms = dict.fromkeys(seen, self.norms[self.agents[0]])
            if self.has_states and (env.state_space is not None or len(self.agents) > 1):
                self.norms["state"] = ObservationNorm(int(np.prod(state.shape)), kept)

    def __call__(
        self,
        observations: Mapping[str, Array],
        state: Array,
        fresh: bool | Array,
        alive: Array | None = None,
    ) -> tuple[dict[str, Array], Array]:
        """Return network inputs (N, numbers), updating the running moments with fresh ones.

        They are float32, except bytes for an encoder of images.
        """
        flat = {a: o.reshape(len(o), -1) for a, o in observations.items()}
        if not self.norms:
            return {a: self._numbers(o) for a, o in flat.items()}, self._state_numbers(state)
        if fresh is not False:
            counted = {name: slice(None) if fresh is True else fresh for name in self.norms}
            if alive is not None:
                counted |= {a: alive[:, k] & fresh for k, a in enumerate(self.agents)}
            for name, norm in self.norms.items():
                norm.update((state if name == "state" else flat[name])[counted[name]])
        inputs = {a: self.norms[a](o) for a, o in flat.items()}
        if not self.has_states:
            return inputs, state
        if "state" in self.norms:
            return inputs, self.norms["state"](state)
        return inputs, inputs[self.agents[0]]

    def _numbers(self, array: Array) -> Array:
        if array.dtype == np.uint8 and not self.encoder.is_flat:
            return array
        return array.astype(np.float32, copy=False)

    def _state_numbers(self, state: Array) -> Array:
        numbers = self._numbers(state)
        if numbers.dtype != np.uint8 or self.has_byte_states:
            return numbers
        return numbers.astype(np.float32) / np.float32(255.0)
