"""From an actor's outputs to actions: Gaussian, deterministic and categorical heads.

Arrays are (R, B, ...): R networks in a stack, B samples. Samples are differentiable w.r.t. the
outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.nn import gumbel, squashed
from pkubench.agents.nn.gumbel import HardSample
from pkubench.agents.nn.squashed import Bounds, Squashed
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.rules import NoiseKind


class Exact(NamedTuple):
    """An action without noise, and before it is stretched from [-1, 1]; (R, B, d) each."""

    action: Tensor
    unit: Tensor
    log_prob: None = None


Drawn = Squashed | HardSample | Exact


def rows_of(drawn: Drawn, start: int, stop: int) -> Drawn:
    """Return the samples of some of the networks."""
    parts: list[Any] = [f[start:stop] if isinstance(f, Tensor) else f for f in drawn]
    return type(drawn)(*parts)


class Head(ABC):
    """How the networks of similar agents act."""

    kind: ClassVar[str]
    """Its name in saved agents."""
    is_discrete: ClassVar[bool] = False
    noise: ClassVar[NoiseKind | None]
    """Kind of noise that ``sample`` takes."""
    sampling_noise: ClassVar[NoiseKind] = "normal"
    """Kind of the exploration noise."""
    size: int
    """Dimensions of an action."""
    outputs: int
    """Outputs of a network."""
    bounds: Bounds
    """Box: bounds of actions, one row per network."""

    @abstractmethod
    def sample(self, outputs: Tensor, noise: Tensor | None) -> Drawn:
        """Return actions (R, B, d), with log-probabilities if the head has them."""

    @abstractmethod
    def mode(self, outputs: Tensor) -> Tensor:
        """Return the most likely actions (R, B, d)."""

    def act(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return only the actions of ``sample``."""
        return self.sample(outputs, noise).action

    def rows(self, which: slice) -> Head:
        """Return the head of some of the networks."""
        return self

    def clipped(self, actions: Tensor) -> Tensor:
        """Return Box actions clipped to their bounds."""
        middle, half, _ = self.bounds
        return actions.clamp(middle - half, middle + half)


class Categorical(Head):
    """One-hot actions by the straight-through Gumbel-softmax; outputs are logits."""

    kind = "categorical"
    is_discrete = True
    noise = sampling_noise = "exponential"

    def __init__(self, actions: int, temperature: float) -> None:
        """Make the head of ``actions`` actions; ``temperature`` is that of the relaxation."""
        self.size = self.outputs = actions
        self.temperature = temperature

    def sample(self, outputs: Tensor, noise: Tensor | None) -> HardSample:
        """Draw from the categorical distribution."""
        assert noise is not None
        return gumbel.sample(outputs, noise, self.temperature)

    def mode(self, outputs: Tensor) -> Tensor:
        """Return the indicator of the largest logit."""
        return gumbel.one_hot(outputs)

    def act(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return the actions of ``sample``."""
        return gumbel.one_hot(outputs - noise.log())


class _Box(Head):
    def __init__(self, size: int, bounds: Bounds) -> None:
        self.size, self.bounds = size, bounds
        self.outputs = size

    def rows(self, which: slice) -> Head:
        """Return the head of some of the networks."""
        return type(self)(self.size, Bounds(*(part[which] for part in self.bounds)))


class Gaussian(_Box):
    """The squashed Gaussian; outputs are means, then log-deviations."""

    kind = "gaussian"
    noise = "normal"

    def __init__(self, size: int, bounds: Bounds) -> None:
        """Act in ``bounds``."""
        super().__init__(size, bounds)
        self.outputs = 2 * size

    def sample(self, outputs: Tensor, noise: Tensor | None) -> Squashed:
        """Draw from the squashed Gaussian."""
        assert noise is not None
        return squashed.sample(outputs, noise, self.bounds)

    def mode(self, outputs: Tensor) -> Tensor:
        """Return the squashed mean."""
        return squashed.mode(outputs, self.bounds)


class Deterministic(_Box):
    """``tanh(outputs)``, stretched to the bounds."""

    kind = "deterministic"
    noise = None

    def sample(self, outputs: Tensor, noise: Tensor | None) -> Exact:
        """Return the action."""
        return Exact(*squashed.deterministic(outputs, self.bounds))

    def mode(self, outputs: Tensor) -> Tensor:
        """Return the action."""
        return squashed.deterministic(outputs, self.bounds)[0]


def head_of(
    group: Sequence[spaces.Space[Any]], seeds: int, config: OffPolicyConfig, device: str
) -> Head:
    """Return the head of a group of agents with equal action spaces, ``seeds`` networks each."""
    space = group[0]
    if isinstance(space, spaces.Discrete):
        return Categorical(int(space.n), config.temperature)
    assert isinstance(space, spaces.Box)
    each = np.array([box_bounds(s, config.bounds) for s in group]).transpose(1, 0, 2)
    middle, half, constant = each

    def rows(values: Any) -> Tensor:
        wide = torch.from_numpy(np.asarray(values, dtype=np.float32)).to(torch.get_default_dtype())
        return wide.repeat_interleave(seeds, 0)[:, None].to(device)

    bounds = Bounds(rows(middle), rows(half), rows(constant.sum(-1)))
    kind = Gaussian if config.rule.is_stochastic else Deterministic
    return kind(int(space.shape[0]), bounds)


def box_bounds(space: spaces.Space[Any], how: str) -> tuple[Any, Any, Any]:
    """Return middle, half and log half of the interval of each action dimension.

    ``official``: [-high, high] with ``high`` of the first dimension, and no constant (HASAC).
    """
    assert isinstance(space, spaces.Box)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if how == "official":
        half = np.full_like(high, high[0])
        return np.zeros_like(half), half, np.zeros_like(half)
    half = (high - low) / 2
    return (high + low) / 2, half, np.log(half)


def log_scale(space: spaces.Space[Any], how: str) -> float:
    """Return the decrease of a Box action's log-density by stretching from [-1, 1]."""
    return float(box_bounds(space, how)[2].sum()) if isinstance(space, spaces.Box) else 0.0
