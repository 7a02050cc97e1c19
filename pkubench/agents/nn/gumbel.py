"""Straight-through Gumbel-softmax (Jang et al. 2017); autograd differentiates it.

The action is the one-hot ``argmax(logits + gumbel)``, an exact sample of softmax(logits); its
gradient is that of the soft ``softmax((logits + gumbel) / temperature)``. A hand-written version is
in ``nn/fast/actor_gradients.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class HardSample(NamedTuple):
    """A one-hot action and intermediate results."""

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
        exponential: (..., n), standard exponential numbers E; ``-log E`` is Gumbel-distributed.
        temperature: of the relaxation; the action itself does not depend on it.
    """
    perturbed = logits - exponential.log()
    action = one_hot(perturbed)
    log_p = torch.log_softmax(logits, dim=-1)
    soft = torch.softmax(perturbed / temperature, dim=-1)
    if soft.requires_grad:
        action = action + (soft - soft.detach())  # straight-through: its value is still one-hot
    return HardSample(action, (action * log_p).sum(-1), log_p, soft, temperature)


def one_hot(scores: Tensor) -> Tensor:
    """Return the indicator of the largest score, (..., n) float32."""
    return functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)
