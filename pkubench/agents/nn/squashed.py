"""The squashed Gaussian of SAC (Haarnoja et al. 2018, appendix C); autograd differentiates it.

Its hand-written gradient is in ``nn/fast/actor_gradients.py``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pkubench.agents.nn.fast.stacked import tanh

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class Bounds(NamedTuple):
    """The interval an action is stretched to: ``middle + half * [-1, 1]``.

    The first two broadcast against actions (..., B, d), the third against (..., B).
    """

    middle: Tensor
    half: Tensor
    log_scale: Tensor
    """sum log half, the constant of the log-density; 0 where it is omitted."""


class Squashed(NamedTuple):
    """A sample ``a = middle + half tanh(u)`` with ``u = mean + std * noise``."""

    action: Tensor
    """(..., d)."""
    log_prob: Tensor
    """(...,): log-density of the action, summed over dimensions."""
    unit: Tensor
    """tanh(u)."""
    spread: Tensor
    """std * noise."""
    is_free: Tensor
    """Where log_std is not clipped to its bounds."""


def sample(outputs: Tensor, noise: Tensor, bounds: Bounds) -> Squashed:
    """Draw actions.

    ``log p(a) = log N(u; mean, std) - sum log(1 - tanh(u)^2) - sum log half``, with
    ``log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u))`` for large ``|u|``.

    Args:
        outputs: (..., 2d): means, then log-deviations before clipping to [-20, 2].
        noise: (..., d), standard normal.
        bounds: of the actions.
    """
    mean, raw = outputs.chunk(2, dim=-1)
    log_std = raw.clamp(LOG_STD_MIN, LOG_STD_MAX)
    spread = log_std.exp() * noise
    u = mean + spread
    unit = tanh(u)
    correction = (math.log(2.0) - u - functional.softplus(-2.0 * u)).mul_(2.0)
    per_dimension = (noise * noise).mul_(-0.5).sub_(log_std).sub_(correction)
    constant = bounds.log_scale + unit.shape[-1] * _LOG_SQRT_2PI
    log_prob = per_dimension.sum(-1) - constant
    action = torch.addcmul(bounds.middle, bounds.half, unit)
    return Squashed(action, log_prob, unit, spread, raw == log_std)


def mode(outputs: Tensor, bounds: Bounds) -> Tensor:
    """Return ``middle + half tanh(mean)``, (..., d): the action in evaluation."""
    return torch.addcmul(bounds.middle, bounds.half, tanh(outputs.chunk(2, dim=-1)[0]))


def deterministic(outputs: Tensor, bounds: Bounds) -> tuple[Tensor, Tensor]:
    """Return ``middle + half t`` and ``t = tanh(outputs)``, (..., d): the policy of DDPG."""
    unit = tanh(outputs)
    return torch.addcmul(bounds.middle, bounds.half, unit), unit
