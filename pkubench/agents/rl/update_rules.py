"""Policy and value losses as pure functions of tensors; each can be fed numbers by hand.

Training descends them by the derivatives in ``loss_gradients.py``; these are the formulas, for
readers, for steps in a trust region, and for the tests that hold the two together.
"""

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


def focops(
    ratio: Tensor, advantage: Tensor, factor: Tensor, kl: Tensor, *, trusted: float, softness: float
) -> Tensor:
    """Return FOCOPS' loss ``mean[1(KL <= eta) (KL - M r A / lam)]`` (Zhang et al. 2020).

    Its gradient points from the present policy to ``pi_old exp(A / lam)``, the best one without
    limits on its form; states whose KL has left the trusted region no longer pull.

    Args:
        ratio: (B,), pi_new / pi_old.
        advantage: (B,), of reward and cost together.
        factor: (B,), as in ``ppo_clip``.
        kl: (B,), KL(new || old).
        trusted: eta.
        softness: lam.
    """
    inside = (kl.detach() <= trusted).to(kl.dtype)
    return (inside * (kl - factor * ratio * advantage / softness)).mean()


def exact_penalty(
    ratio: Tensor,
    cost_advantage: Tensor,
    factor: Tensor,
    *,
    clip: float | None,
    excess: float,
    weight: float,
) -> Tensor:
    """Return P3O's penalty ``kappa max(0, mean[M r A_C] + excess)`` (Zhang et al. 2022).

    Args:
        ratio: (B,), pi_new / pi_old.
        cost_advantage: (B,).
        factor: (B,), as in ``ppo_clip``.
        clip: eps of the pessimistic ``max(r A_C, clip(r) A_C)``; None leaves ``r A_C`` (OmniSafe).
        excess: mean episode cost minus the limit, over the mean episode length. The paper has
            discounted costs and the factor ``1 - gamma`` here.
        weight: kappa; large enough, the loss has the constrained problem's solution.
    """
    change = ratio * cost_advantage
    if clip is not None:
        change = torch.maximum(change, ratio.clamp(1.0 - clip, 1.0 + clip) * cost_advantage)
    return weight * torch.relu((factor * change).mean() + excess)


def cup_correction(
    ratio: Tensor, cost_advantage: Tensor, factor: Tensor, kl: Tensor, weight: float
) -> Tensor:
    """Return the loss of CUP's second phase ``mean[nu c M r A_C + KL]`` (Yang et al. 2022).

    Args:
        ratio: (B,), pi_new / pi_old, of the policy that collected the data.
        cost_advantage: (B,).
        factor: (B,), as in ``ppo_clip``.
        kl: (B,), KL(new || the policy after the first phase).
        weight: the multiplier nu times ``c = (1 - gamma lam) / (1 - gamma)``.
    """
    return (weight * factor * ratio * cost_advantage + kl).mean()


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
