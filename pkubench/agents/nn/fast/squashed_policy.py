"""Actions bounded by tanh, in NumPy: the policies of SAC, DDPG and TD3."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pkubench.agents.contract import BoolArray
from pkubench.agents.nn.fast.policy import Array, Layers, NetworkPolicy, NetworkSettings, map_action
from pkubench.envs.core.seeding import RandomStreams

_LOG_STD_RANGE = (-20.0, 2.0)


class SquashedPolicy(NetworkPolicy):
    """An Agent with a tanh from outputs to bounded actions.

    Deterministic (tanh of the mean) unless ``stochastic``; DDPG's and TD3's policies always are.
    """

    def __init__(
        self, layers: Layers, settings: NetworkSettings, head: str, *, stochastic: bool = False
    ) -> None:
        """Make the policy; ``head`` is ``gaussian`` or ``deterministic``."""
        super().__init__(layers, settings, stochastic=stochastic and head == "gaussian")
        self.head = head

    @property
    def size(self) -> int:
        """Dimensions of an action."""
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
