"""The losses of Safe RLHF and of preference tuning, as formulas on tensors.

Notation: x is a prompt, y a response, k(y) = log pi(y | x) - log pi_ref(y | x) summed over the
response's tokens. Sources: Dai et al., "Safe RLHF" (arXiv 2310.12773) and PKU-Alignment/safe-rlhf
at e8cca16; Rafailov et al., "DPO" (2305.18290); Ethayarajh et al., "KTO" (2402.01306).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pkubench.agents.rl.value_loss import value_loss


def reward_loss(better: Tensor, worse: Tensor, regularisation: float) -> Tensor:
    """Return ``-mean log sigma(r_b - r_w) + mu mean(r_b^2, r_w^2)`` (Safe RLHF, sequence-wise).

    Args:
        better: (B,) rewards of the preferred responses.
        worse: (B,) of the others.
        regularisation: mu.
    """
    squares = torch.stack([better, worse]).square().mean()
    return -logsigmoid(better - worse).mean() + regularisation * squares


def cost_loss(
    lower: Tensor, higher: Tensor, lower_sign: Tensor, higher_sign: Tensor, regularisation: float
) -> Tensor:
    """Return the loss of a cost model, whose sign says whether a response is unsafe.

    ``mean[-log sigma(c_h - c_l) - log sigma(s_l c_l) - log sigma(s_h c_h)]``, and
    ``mu mean(c_l^2, c_h^2)``.

    Args:
        lower: (B,) costs c_l of the safer responses.
        higher: (B,) costs c_h of the less safe ones.
        lower_sign: (B,) s_l, 1 where the safer response is unsafe and -1 where it is safe.
        higher_sign: (B,) s_h.
        regularisation: mu.
    """
    terms = (
        logsigmoid(higher - lower)
        + logsigmoid(lower_sign * lower)
        + logsigmoid(higher_sign * higher)
    )
    return -terms.mean() + regularisation * torch.stack([lower, higher]).square().mean()


def dpo_loss(better: Tensor, worse: Tensor, beta: float) -> Tensor:
    """Return ``-mean log sigma(beta (k(y_w) - k(y_l)))``, from k of both, (B,)."""
    return -logsigmoid(beta * (better - worse)).mean()


def kto_loss(better: Tensor, worse: Tensor, divergence: Tensor, beta: float) -> Tensor:
    """Return KTO's loss of responses that are judged one by one.

    The mean of ``1 - sigma(beta (k - KL))`` of the desirable ones and of
    ``1 - sigma(beta (KL - k))`` of the others.

    Args:
        better: (B,) k of the desirable responses.
        worse: (B,) k of the undesirable ones.
        divergence: the batch's estimate of KL, without gradient; taken as at least 0.
        beta: weight of the divergence.
    """
    around = divergence.detach().clamp(min=0.0)
    desirable = 1.0 - torch.sigmoid(beta * (better - around))
    undesirable = 1.0 - torch.sigmoid(beta * (around - worse))
    return torch.cat([desirable, undesirable]).mean()


def shaped(scores: Tensor, log_ratios: Tensor, beta: float, clip: float) -> Tensor:
    """Return a stream of rewards: ``-beta k_t`` for each token, and the score at the last one.

    That of costs is ``-shaped(-C, k)``: ``+beta k_t``, and the cost at the last token. Both streams
    divided by 1 + lambda as in :func:`lagrangian_advantage` leave the divergence the weight beta.

    Args:
        scores: (B,) of whole responses.
        log_ratios: (B, L) k_t of their tokens.
        beta: ``kl_coeff`` of the official code.
        clip: both ends of the range that sums are clamped to (``clip_range_score``).
    """
    rewards = -beta * log_ratios
    rewards[:, -1] += scores
    return rewards.clamp(-clip, clip)


def lagrangian_advantage(rewards: Tensor, costs: Tensor, multiplier: float) -> Tensor:
    """Return ``(A_r - lambda A_c) / (1 + lambda)``."""
    return (rewards - multiplier * costs) / (1.0 + multiplier)


def rectified_advantage(
    rewards: Tensor, costs: Tensor, is_unsafe: Tensor, multiplier: float
) -> Tensor:
    """Return RePO's: ``A_r`` of safe responses, the Lagrangian advantage of unsafe ones.

    Args:
        rewards: (B, L) A_r.
        costs: (B, L) A_c.
        is_unsafe: (B,) bool, C(x, y) > 0.
        multiplier: lambda.
    """
    both = lagrangian_advantage(rewards, costs, multiplier)
    return torch.where(is_unsafe[:, None], both, rewards)


def next_log_multiplier(
    log_multiplier: float, mean_cost: float, limit: float, rate: float, most: float
) -> float:
    """Return ``min(log lambda + rate lambda (J_C - d), log most)``.

    That is a step of gradient descent on ``-(J_C - d) exp(log lambda)``.
    """
    step = rate * math.exp(log_multiplier) * (mean_cost - limit)
    return min(log_multiplier + step, math.log(most))


def critic_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Return half the larger of the plain and the clipped squared error, all (B, L)."""
    return 0.5 * value_loss(values, old_values, returns, clip=clip, huber_delta=None)
