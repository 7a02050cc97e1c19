"""Actors: networks with an action distribution as output."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from pkubench.agents.nn.distributions import (
    Categorical,
    DiagonalGaussian,
    Distribution,
    MultiCategorical,
)
from pkubench.agents.nn.modules import EncodedNet, EncodedSpec, States
from pkubench.agents.nn.networks import MLP, NetworkSpec
from pkubench.errors import ConfigError

StdKind = Literal["sigmoid", "log"]
ActionMap = Literal["clip", "affine"]


class Actor(nn.Module):
    """A network with a categorical head (Discrete), several (MultiDiscrete), or a Gaussian (Box).

    The Gaussian's deviation does not depend on the state. ``std="sigmoid"`` is HARL's
    ``0.5 * sigmoid(log_std)`` with log_std starting at 1 (0.3655); ``std="log"`` is
    ``exp(log_std)`` with log_std starting at ``log_std_init`` (OmniSafe: 0).
    """

    def __init__(
        self,
        spec: NetworkSpec | EncodedSpec,
        space: spaces.Space[Any],
        std: StdKind,
        log_std_init: float,
        generator: torch.Generator,
    ) -> None:
        """Build the actor for one action ``space``; ``spec.outputs`` must fit it."""
        super().__init__()
        self.net: MLP | EncodedNet
        if isinstance(spec, NetworkSpec):
            self.net = MLP(spec, generator)
        else:
            self.net = EncodedNet(spec, generator)
        self.std_kind: StdKind = std
        self.counts = counts_of(space)
        self.discrete = isinstance(space, spaces.Discrete) or bool(self.counts)
        if not self.discrete:
            start = 1.0 if std == "sigmoid" else log_std_init
            self.log_std = nn.Parameter(torch.full((spec.outputs,), start))

    def std(self) -> Tensor:
        """Return the standard deviations, (d,)."""
        return std_of(self.log_std, self.std_kind)

    def forward(self, observations: Tensor, mask: Tensor | None = None) -> Distribution:
        """Return the distribution over actions for observations (B, inputs)."""
        return self._head(self.net(observations), mask)

    @property
    def units(self) -> int:
        """Size of the hidden state, 0 without memory."""
        return 0 if isinstance(self.net, MLP) else self.net.units

    def sequence(
        self, observations: Tensor, first: Tensor, hidden: Tensor, mask: Tensor | None = None
    ) -> tuple[Distribution, States]:
        """Return the distributions of T * N steps, time first, and the hidden states after each.

        Args:
            observations: (T, N, inputs).
            first: (T, N) bool, whether a step is the first one of its episode.
            hidden: (N, units), before the first step.
            mask: (T * N, n) of legal actions.
        """
        assert isinstance(self.net, EncodedNet)
        out, states = self.net.sequence(observations, first, hidden)
        return self._head(out.flatten(0, 1), mask), states

    def _head(self, out: Tensor, mask: Tensor | None) -> Distribution:
        if self.counts:
            return MultiCategorical.from_logits(out, self.counts, mask)
        if self.discrete:
            return Categorical.from_logits(out, mask)
        return DiagonalGaussian(out, self.std())


def std_of(log_std: Tensor, kind: StdKind) -> Tensor:
    """Return the standard deviation of a parameter."""
    return 0.5 * torch.sigmoid(log_std) if kind == "sigmoid" else log_std.exp()


def counts_of(space: spaces.Space[Any]) -> tuple[int, ...]:
    """Return the number of actions of each choice of a MultiDiscrete space; () of other spaces.

    Raises:
        ConfigError: the choices are not in a row, or do not count from 0.
    """
    if not isinstance(space, spaces.MultiDiscrete):
        return ()
    if space.nvec.ndim != 1 or np.any(space.start):
        raise ConfigError(f"learners act in MultiDiscrete spaces of a row from 0, not {space}")
    return tuple(int(n) for n in space.nvec)


def output_size(space: spaces.Space[Any]) -> int:
    """Return the number of outputs that an ``Actor`` needs for ``space``.

    Raises:
        ConfigError: no head supports the action space.
    """
    return sum(counts_of(space)) or action_size(space)


def action_size(space: spaces.Space[Any]) -> int:
    """Return the number of actions, or dimensions, of a Discrete or Box space.

    Raises:
        ConfigError: the space is neither Discrete nor a bounded one-dimensional Box.
    """
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise ConfigError(f"the action space {space} has no bounds")
        return int(math.prod(space.shape))
    raise ConfigError(f"learners act in Discrete and one-dimensional Box spaces, not {space}")
