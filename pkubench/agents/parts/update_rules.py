"""Policy and value losses as pure functions of tensors; each can be fed numbers by hand."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def ppo_clip(ratio: Tensor, advantage: Tensor, factor: Tensor, clip: float) -> Tensor:
    """Return the clipped surrogate loss ``-mean[M min(r A, clip(r, 1-eps, 1+eps) A)]``.

    Args:
        ratio: (B,), pi_new(a|o) / pi_old(a|o) of the agent being updated.
        advantage: (B,), of the joint action.
        factor: (B,), HAPPO's M = product of the ratios of the agents updated before (HARL eq. 29);
            ones for a single agent or a simultaneous update. It multiplies outside the minimum.
        clip: eps.
    """
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)
    return -(factor * surrogate).mean()


def surrogate(ratio: Tensor, advantage: Tensor, factor: Tensor) -> Tensor:
    """Return the surrogate objective ``mean[M r A]``, to be maximised.

    HAA2C ascends it and HATRPO maximises it inside a KL ball. Its gradient at ``r = 1`` is that of
    the joint objective, given the agents behind ``M``; the arguments are those of ``ppo_clip``.
    """
    return (factor * ratio * advantage).mean()


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
        clip: half-width of the trusted interval round ``old_value``, the larger of the clipped
            and the plain loss counting (PPO2, HARL); None: plain.
        huber_delta: where the loss turns linear (HARL: 10); None: squared error without the
            factor one half (OmniSafe).
    """

    def loss(prediction: Tensor) -> Tensor:
        if huber_delta is None:
            return (prediction - target) ** 2
        return functional.huber_loss(prediction, target, reduction="none", delta=huber_delta)

    if clip is None:
        return loss(value).mean()
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum(loss(value), loss(clipped)).mean()
