"""Hand-written gradients of off-policy actor losses with respect to the outputs.

They are those of ``mean_B[alpha log pi(a) - Q(a)]`` for the samples of ``nn/squashed.py`` and
``nn/gumbel.py``, given dQ/da. A test compares them with autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pkubench.agents.nn.gumbel import HardSample
from pkubench.agents.nn.squashed import Squashed


def gaussian(drawn: Squashed, q_gradient: Tensor, alpha: Tensor, half: Tensor) -> Tensor:
    """Return the gradient w.r.t. means and log-deviations, (..., B, 2d).

    With ``t = tanh(u)``: ``dlog p/du = 2t`` and ``da/du = half (1 - t^2)``, so
    ``g_u = 2 alpha t - dQ/da half (1 - t^2)``; w.r.t. the mean it is ``g_u``, w.r.t. the
    log-deviation ``g_u std noise - alpha``.

    Args:
        drawn: what ``squashed.sample`` returned.
        q_gradient: (..., B, d), dQ/da of each sample.
        alpha: temperature, broadcast against (..., B, d).
        half: (d,), half the interval of each dimension.
    """
    t = drawn.unit
    g = (2.0 * alpha) * t - q_gradient * half * (1.0 - t * t)
    by_log_std = (g * drawn.spread - alpha) * drawn.is_free
    return torch.cat([g, by_log_std], dim=-1).div_(t.shape[-2])


def deterministic(unit: Tensor, q_gradient: Tensor, half: Tensor) -> Tensor:
    """Return the gradient of ``-mean_B[Q(a)]`` w.r.t. the outputs, (..., B, d)."""
    return (q_gradient * half * (1.0 - unit * unit)).div_(-unit.shape[-2])


def categorical(drawn: HardSample, q_gradient: Tensor, alpha: Tensor | None) -> Tensor:
    """Return the gradient w.r.t. the logits, (..., B, n).

    ``log pi(a) = sum_k a_k log p_k`` depends on the logits through ``a`` (straight-through) and
    through ``log p``, as in the official code. With ``w = alpha log p - dQ/da`` and the soft
    sample ``y``: ``y (w - <y, w>) / temperature + alpha (a - p)``.

    Args:
        drawn: what ``gumbel.sample`` returned.
        q_gradient: (..., B, n), dQ/da.
        alpha: broadcast against (..., B, n); None: no entropy term (DDPG, TD3).
    """
    w = -q_gradient if alpha is None else alpha * drawn.log_p - q_gradient
    y = drawn.soft
    g = y * (w - (y * w).sum(-1, keepdim=True)) / drawn.temperature
    if alpha is not None:
        g = g + alpha * (drawn.action - drawn.log_p.exp())
    return g / y.shape[-2]
