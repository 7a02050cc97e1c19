"""Straight-through Gumbel-softmax (Jang et al. 2017), with its gradient by hand.

The action is the one-hot ``argmax(logits + gumbel)``, an exact sample of softmax(logits); its
gradient is that of the soft ``softmax((logits + gumbel) / temperature)``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class HardSample(NamedTuple):
    """A one-hot action and what led to it."""

    action: Tensor
    """(..., n), one-hot."""
    log_prob: Tensor
    """(...,): log softmax(logits) of the action."""
    log_p: Tensor
    """(..., n): log softmax(logits)."""
    soft: Tensor
    """(..., n): the relaxed sample."""
    temperature: float


def sample(logits: Tensor, exponential: Tensor, temperature: float = 1.0) -> HardSample:
    """Draw one-hot actions (..., n) from logits.

    Args:
        logits: (..., n).
        exponential: (..., n), standard exponential numbers E; ``-log E`` is a Gumbel number.
        temperature: of the relaxation; the action itself does not depend on it.
    """
    perturbed = logits - exponential.log()
    action = one_hot(perturbed)
    log_p = torch.log_softmax(logits, dim=-1)
    soft = torch.softmax(perturbed / temperature, dim=-1)
    return HardSample(action, (action * log_p).sum(-1), log_p, soft, temperature)


def one_hot(scores: Tensor) -> Tensor:
    """Return the indicator of the largest score, (..., n) float32."""
    return functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)


def actor_gradient(drawn: HardSample, q_gradient: Tensor, alpha: Tensor | None) -> Tensor:
    """Return the gradient of ``mean_B[alpha log pi(a) - Q(a)]`` by the logits, (..., B, n).

    ``log pi(a) = sum_k a_k log p_k`` depends on the logits through ``a`` (straight through) and
    through ``log p``, as in the official code. With ``w = alpha log p - dQ/da`` and the soft
    sample ``y``: ``y (w - <y, w>) / temperature + alpha (a - p)``.

    Args:
        drawn: what ``sample`` returned.
        q_gradient: (..., B, n), dQ/da.
        alpha: broadcast against (..., B, n); None: no entropy term (DDPG, TD3).
    """
    w = -q_gradient if alpha is None else alpha * drawn.log_p - q_gradient
    y = drawn.soft
    g = y * (w - (y * w).sum(-1, keepdim=True)) / drawn.temperature
    if alpha is not None:
        g = g + alpha * (drawn.action - drawn.log_p.exp())
    return g / y.shape[-2]
