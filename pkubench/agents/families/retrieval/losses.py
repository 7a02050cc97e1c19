"""The critic's loss with a memory, and PPO's of the policy."""

from __future__ import annotations

import torch
from torch import Tensor

from pkubench.agents.families.retrieval.reading import Read
from pkubench.agents.rl.value_loss import value_loss


def corrected_value_loss(
    value: Tensor,
    old_value: Tensor,
    target: Tensor,
    read: Read | None,
    *,
    clip: float,
    floor: float,
) -> Tensor:
    """Return the critic's loss, ``mean(max(l1, l2))``.

    ``l1 = (1 - lambda) (V - R)^2 + lambda (V - V_mem)^2`` with ``lambda`` at least ``floor``, and
    ``l2 = (V_old + clip(V - V_old) - R)^2``. Without a memory, and for samples for which nothing
    could be read, lambda is 0 and this is PPO's clipped value loss.

    Args:
        value: (B,), V(s) now.
        old_value: (B,), V(s) when the data was collected.
        target: (B,), R, the returns.
        read: what the memory says; None: there is nothing in it.
        clip: half-width of the interval around ``old_value``.
        floor: alpha; a confidence below it is replaced, and has no gradient.
    """
    if read is None:
        return value_loss(value, old_value, target, clip=clip, huber_delta=None)
    weight = memory_weight(read, floor)
    plain = (1.0 - weight) * (value - target) ** 2 + weight * (value - read.value) ** 2
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum(plain, (clipped - target) ** 2).mean()


def memory_weight(read: Read, floor: float) -> Tensor:
    """Return lambda (B,): the confidence, at least ``floor``; 0 where nothing was read."""
    return read.confidence.clamp(min=floor) * read.found


def policy_loss(log_probs: Tensor, before: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return PPO's clipped surrogate loss; all are (B,)."""
    ratio = (log_probs - before).exp()
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()
