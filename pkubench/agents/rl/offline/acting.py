"""Acting with a Decision Transformer: asked for a return, in double precision on one thread.

The first step is asked for the target return, and each reward is subtracted from what is asked
next. The network looks at the last K steps. As long as an episode is not longer than that, keys and
values of earlier tokens are cached, which gives the same numbers; from then on each window is
computed again: cached keys would still carry the steps that have left it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.contract import BoolArray, FloatArray, IntArray, Outcome
from pkubench.agents.nn.fast.policy import map_action
from pkubench.agents.nn.torch_policy import one_thread
from pkubench.agents.nn.transformer import Cache
from pkubench.agents.rl.offline.data import Array, flat_states
from pkubench.agents.rl.offline.models.decision import DecisionTransformer, Steps
from pkubench.envs.core.seeding import RandomStreams
from pkubench.errors import AgentError

MAX_UNIT = 1.0 - 1e-6
"""Bound of actions whose inverse hyperbolic tangent is needed."""


class DecisionSettings(NamedTuple):
    """How a Decision Transformer acts."""

    space: spaces.Space[Any]
    head: str
    """``tanh``, ``squashed`` (means and log-deviations before tanh) or ``categorical``."""
    context: int
    """Steps of a window, the present one included."""
    return_scale: float
    mean: Array
    """(d,) of the states."""
    std: Array
    """(d,) of the states."""


@dataclass
class Window:
    """What the policy remembers: the last steps of B episodes that began together."""

    to_go: FloatArray
    """(B,): what is asked for from here on, scaled."""
    random: RandomStreams | None
    cache: Cache | None
    """Tokens of all steps before; None once steps have left the window, or without a cache."""
    time: int = 0
    """Number of the next step."""
    returns: list[FloatArray] = field(default_factory=list)
    """(B,) of each step in the window."""
    states: list[FloatArray] = field(default_factory=list)
    """(B, d) of each step."""
    actions: list[Array] = field(default_factory=list)
    """(B, d_a) in [-1, 1] or (B,) int64 of each step; of the present one not yet."""


class DecisionPolicy:
    """An Agent on a Decision Transformer. Deterministic (the mode) unless ``stochastic``."""

    def __init__(
        self,
        net: DecisionTransformer,
        settings: DecisionSettings,
        target_return: float,
        *,
        stochastic: bool = False,
        is_cached: bool = True,
    ) -> None:
        """Make the policy.

        Args:
            net: taken over, and widened to double precision.
            settings: how outputs become actions.
            target_return: of an episode, in units of the reward.
            stochastic: sample actions (``squashed`` and ``categorical`` heads).
            is_cached: False computes every window from its first token on.
        """
        self.net, self.settings = net.double().eval(), settings
        self.target_return, self.is_cached = target_return, is_cached
        self.stochastic = stochastic and settings.head != "tanh"

    def begin(self, seeds: IntArray) -> Window:
        """Start episodes at the target return."""
        asked = np.full(len(seeds), self.target_return / self.settings.return_scale)
        random = RandomStreams.started(seeds) if self.stochastic else None
        return Window(asked, random, self.net.transformer.cache() if self.is_cached else None)

    def act(self, observation: Any, state: Window, active: BoolArray) -> tuple[Array, Window]:
        """Return actions (B,) int64 or (B, d_a) of the space's dtype."""
        numbers = self.net.spec.states
        seen = np.asarray(observation)
        if seen.size != len(state.to_go) * numbers:
            raise AgentError(f"the policy takes states of {numbers} numbers, got {seen.shape}")
        flat = flat_states(seen).astype(np.float64)
        state.returns.append(state.to_go)
        state.states.append((flat - self.settings.mean) / self.settings.std)
        if len(state.states) > self.settings.context:
            state.cache = None
            for kept in (state.returns, state.states, state.actions):
                del kept[0]
        with one_thread(), torch.no_grad():
            outputs = self._outputs(state, active)
        actions, unit = self._decide(outputs, state.random)
        state.actions.append(unit)
        state.time += 1
        return actions, state

    def observe(self, outcome: Outcome, state: Window) -> Window:
        """Ask for what remains after a step's reward."""
        state.to_go = state.to_go - outcome.reward / self.settings.return_scale
        return state

    def _outputs(self, state: Window, active: BoolArray) -> FloatArray:
        """Return the head's outputs (B, n) at the present step."""
        if state.cache is not None:
            count = min(len(state.states), 2)
            every = slice(None)
            found: FloatArray = self.net.extend(
                self._steps(state, count, every), state.cache
            ).numpy()[:, 0]
            return found
        rows = np.flatnonzero(active)
        outputs = np.zeros((len(active), self.net.spec.outputs))
        steps = self._steps(state, len(state.states), rows)
        outputs[rows] = self.net(steps, is_last_only=True).numpy()[:, 0]
        return outputs

    def _steps(self, state: Window, count: int, rows: Any) -> Steps:
        """Return the last ``count`` steps of some episodes; the present action is a zero."""
        blank: Array = np.zeros(self._blank_shape(len(state.to_go)), self._blank_dtype)
        actions = [*state.actions[len(state.actions) - count + 1 :], blank][-count:]

        def stacked(parts: list[Array]) -> Tensor:
            return torch.from_numpy(np.stack(parts, 1)[rows])

        returns = stacked(state.returns[-count:])
        times = torch.arange(state.time - count + 1, state.time + 1).expand(len(returns), -1)
        return Steps(returns, stacked(state.states[-count:]), stacked(actions), times)

    def _blank_shape(self, batch: int) -> tuple[int, ...]:
        return (batch,) if self.net.spec.is_discrete else (batch, self.net.spec.actions)

    @property
    def _blank_dtype(self) -> type:
        return np.int64 if self.net.spec.is_discrete else np.float64

    def _decide(self, outputs: FloatArray, random: RandomStreams | None) -> tuple[Array, Array]:
        """Return environment actions, and the same as the network sees them."""
        space, head = self.settings.space, self.settings.head
        rows = np.arange(len(outputs))
        if head == "categorical":
            assert isinstance(space, spaces.Discrete)
            if random is not None:
                draws = random.uniform(rows, outputs.shape[1])
                outputs = outputs - np.log(-np.log(np.maximum(draws, 1e-300)))
            chosen = outputs.astype(np.float32).argmax(-1)
            return chosen + int(space.start), chosen
        size = self.net.spec.actions
        mean = outputs[:, :size]
        if random is not None:
            std = np.exp(log_std_of(torch.from_numpy(outputs[:, size:])).numpy())
            mean = mean + std * random.normal(rows, size)
        unit = np.tanh(mean).astype(np.float32)
        if head == "squashed":
            unit = np.clip(unit, -MAX_UNIT, MAX_UNIT)
        return map_action(unit, space, "affine"), unit.astype(np.float64)


def log_std_of(raw: Tensor) -> Tensor:
    """Return log-deviations in [-5, 2]: -5 + 3.5 (tanh + 1), as Online Decision Transformer's."""
    return -5.0 + 3.5 * (raw.tanh() + 1.0)
