"""From an actor's outputs to actions and back: Gaussian, deterministic and categorical heads.

Arrays are (R, B, ...): R networks side by side, B samples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.nn import gumbel, squashed
from pkubench.agents.nn.gumbel import HardSample
from pkubench.agents.nn.squashed import Bounds, Squashed
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy_rules import smoothing


class Deterministic(NamedTuple):
    """A deterministic action and its place in [-1, 1], (R, B, d) each."""

    action: Tensor
    unit: Tensor


Drawn = Squashed | HardSample | Deterministic


def rows_of(drawn: Drawn, start: int, stop: int) -> Drawn:
    """Return what some of the networks drew."""
    parts: list[Any] = [f[start:stop] if isinstance(f, Tensor) else f for f in drawn]
    return type(drawn)(*parts)


class Head:
    """How the networks of one group of like agents act; ``size`` numbers an action."""

    def __init__(self, group: list[spaces.Space[Any]], seeds: int, config: OffPolicyConfig) -> None:
        """Take the action spaces of the group's agents; each has ``seeds`` networks."""
        space = group[0]
        self.config = config
        self.is_discrete = isinstance(space, spaces.Discrete)
        self.is_soft = config.rule == "sac"
        if isinstance(space, spaces.Discrete):
            self.size = self.outputs = int(space.n)
            return
        assert isinstance(space, spaces.Box)
        self.size = int(space.shape[0])
        self.outputs = 2 * self.size if self.is_soft else self.size
        middle, half, constant = np.array([box_bounds(s, config.bounds) for s in group]).transpose(
            1, 0, 2
        )

        def rows(values: Any) -> Tensor:
            each = torch.from_numpy(np.asarray(values, dtype=np.float32))
            return each.repeat_interleave(seeds, 0)[:, None]

        self.bounds = Bounds(rows(middle), rows(half), rows(constant.sum(-1)))

    def part(self, start: int, stop: int) -> Bounds:
        """Return the bounds of some of the networks."""
        return Bounds(*(part[start:stop] for part in self.bounds))

    @property
    def learning_noise(self) -> str | None:
        """What a sample to learn from needs: ``normal``, ``exponential`` numbers, or nothing."""
        if self.is_discrete:
            return "exponential"
        return "normal" if self.is_soft else None

    @property
    def target_noise(self) -> str | None:
        """What a target action needs."""
        if self.config.rule == "ddpg":
            return None
        return "exponential" if self.is_discrete else "normal"

    def draw(self, outputs: Tensor, noise: Tensor | None, start: int, stop: int) -> Drawn:
        """Return the present policies' actions, with what ``gradient`` needs."""
        if self.is_discrete:
            assert noise is not None
            return gumbel.sample(outputs, noise, self.config.temperature)
        bounds = self.part(start, stop)
        if self.is_soft:
            assert noise is not None
            return squashed.sample(outputs, noise, bounds)
        return Deterministic(*squashed.deterministic(outputs, bounds))

    def gradient(
        self, drawn: Drawn, q_gradient: Tensor, alpha: Tensor | None, start: int, stop: int
    ) -> Tensor:
        """Return the gradient of ``mean_B[alpha log pi - Q]`` by the outputs (R, B, outputs)."""
        if isinstance(drawn, HardSample):
            return gumbel.actor_gradient(drawn, q_gradient, alpha)
        half = self.bounds.half[start:stop]
        if isinstance(drawn, Squashed):
            assert alpha is not None
            return squashed.actor_gradient(drawn, q_gradient, alpha, half)
        return squashed.deterministic_gradient(drawn.unit, q_gradient, half)

    def target(self, outputs: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return actions (R, B, d) at the next state, and for SAC their log-probabilities.

        SAC samples. DDPG takes the mode. TD3 smooths: Box, clipped noise, then the bounds;
        Discrete, a sample.
        """
        if self.is_discrete:
            if noise is None:
                return gumbel.one_hot(outputs), None
            drawn = gumbel.sample(outputs, noise, self.config.temperature)
            return drawn.action, drawn.log_prob if self.is_soft else None
        if self.is_soft:
            assert noise is not None
            sample = squashed.sample(outputs, noise, self.bounds)
            return sample.action, sample.log_prob
        action, _ = squashed.deterministic(outputs, self.bounds)
        if noise is not None:
            middle, half, _ = self.bounds
            action = action + smoothing(
                noise, half, self.config.target_noise, self.config.noise_clip
            )
            action = action.clamp(middle - half, middle + half)
        return action, None

    def mode(self, outputs: Tensor) -> Tensor:
        """Return the likeliest actions (R, B, d), of all the group's networks."""
        if self.is_discrete:
            return gumbel.one_hot(outputs)
        if self.is_soft:
            return squashed.mode(outputs, self.bounds)
        return squashed.deterministic(outputs, self.bounds)[0]

    def explore(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return what to do in the world, (R, B, d), from networks of one training seed."""
        if self.is_discrete:
            return gumbel.one_hot(outputs - noise.log())
        every = self.bounds.middle.shape[0] // outputs.shape[0]
        bounds = Bounds(*(part[::every] for part in self.bounds))
        if self.is_soft:
            return squashed.sample(outputs, noise, bounds).action
        action, _ = squashed.deterministic(outputs, bounds)
        action = action + self.config.exploration * bounds.half * noise
        return action.clamp(bounds.middle - bounds.half, bounds.middle + bounds.half)


def box_bounds(space: spaces.Space[Any], how: str) -> tuple[Any, Any, Any]:
    """Return middle, half and log half of the interval of each number of an action.

    ``official``: [-high, high] with ``high`` of the first number, and no constant (HASAC).
    """
    assert isinstance(space, spaces.Box)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if how == "official":
        half = np.full_like(high, high[0])
        return np.zeros_like(half), half, np.zeros_like(half)
    half = (high - low) / 2
    return (high + low) / 2, half, np.log(half)


def log_scale(space: spaces.Space[Any], how: str) -> float:
    """Return by how much a Box action's log-density falls by being stretched from [-1, 1]."""
    return float(box_bounds(space, how)[2].sum()) if isinstance(space, spaces.Box) else 0.0
