"""The loss of a critic."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def value_loss(
    value: Tensor,
    old_value: Tensor,
    target: Tensor,
    *,
    clip: float | None,
    huber_delta: float | None,
) -> Tensor:
    """Return the critic's loss.

    Args:
        value: (B,), V(s) now.
        old_value: (B,), V(s) when the data was collected.
        target: (B,), returns on the same (normalised) scale.
        clip: half-width of the clipping interval around ``old_value``; the larger of the clipped
            and the plain loss is taken (PPO2, HARL); None: plain.
        huber_delta: error beyond which the loss is linear (HARL: 10); None: squared error without
            the factor one half (OmniSafe).
    """

    def loss(prediction: Tensor) -> Tensor:
        if huber_delta is None:
            return (prediction - target) ** 2
        return functional.huber_loss(prediction, target, reduction="none", delta=huber_delta)

    if clip is None:
        return loss(value).mean()
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum(loss(value), loss(clipped)).mean()
