"""Targets and losses of DDPG, TD3 and SAC as pure functions; each can be fed numbers by hand."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bootstrap_target(rewards: Tensor, discounts: Tensor, next_value: Tensor) -> Tensor:
    """Return ``y = r_n + gamma^k (1 - terminated) V'``; ``discounts`` is the factor of V'."""
    return torch.addcmul(rewards, discounts, next_value)


def next_value(q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
    """Return the value of the next state, (S, B).

    Args:
        q: (K, S, B), the K target critics at the next joint action. The smallest counts: one
            critic is DDPG, two are TD3's and SAC's clipped double Q (Fujimoto et al. 2018).
        log_prob: (S, B), summed over agents: HASAC's soft value ``min Q - alpha sum_i log pi^i``;
            None for DDPG and TD3.
        alpha: (S, 1), the critic's temperature.
    """
    value = q[0] if len(q) == 1 else torch.minimum(q[0], q[1])
    return value if log_prob is None or alpha is None else value - alpha * log_prob


def squared_error_gradient(q: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of ``sum_K mean_B (Q - y)^2`` by q (K, S, B)."""
    return (q - target).mul_(2.0 / q.shape[-1])


def chosen_twin(q: Tensor) -> Tensor:
    """Return the gradient of ``min(Q1, Q2)`` by q (2, S, B): 1 for the smaller, else 0."""
    is_first = (q[0] <= q[1]).to(q.dtype)
    return torch.stack([is_first, 1.0 - is_first])


def climbed(q: Tensor, costs: int = 0, weights: Tensor | None = None) -> Tensor:
    """Return the gradient of what an actor climbs by the critics' values q (K, S, B).

    That is ``Q``, or ``min(Q1, Q2)`` of twins (SAC), or with a multiplier lambda
    ``(Q - lambda Q_cost) / (1 + lambda)`` (OmniSafe, ``-Lag`` and ``-PID``), where ``Q_cost`` is
    one critic or the larger of twins.

    Args:
        q: the critics of cost first, then one of reward or twins.
        costs: how many of them are of cost.
        weights: (2, S, 1): 1/(1 + lambda) and -lambda/(1 + lambda); None without a cost.
    """
    by_reward = _by_estimate(q[costs:])
    if weights is None:
        return by_reward
    return torch.cat([weights[1] * _by_estimate(-q[:costs]), weights[0] * by_reward])


def _by_estimate(q: Tensor) -> Tensor:
    """Return the gradient of the one critic's value, or of the smaller of twins, by q (K, S, B)."""
    return torch.ones_like(q) if len(q) == 1 else chosen_twin(q)


def smoothing(noise: Tensor, half: Tensor, std: float, clip: float) -> Tensor:
    """Return TD3's target noise ``clip(std * noise, -clip, clip) * half``, (..., d)."""
    return (noise * std).clamp_(-clip, clip).mul_(half)


def temperature_gradient(log_prob: Tensor, target_entropy: Tensor) -> Tensor:
    """Return the gradient of ``-log_alpha mean_B(log pi + H_target)`` by log_alpha.

    ``log_prob`` (..., B), ``target_entropy`` (...,).
    """
    return -(log_prob.mean(-1) + target_entropy)


def target_entropy(
    actions: int, is_discrete: bool, official: bool, log_scale: float = 0.0
) -> float:
    """Return the entropy an agent's temperature aims at, in nats.

    Box: ``-dim`` for an action in [-1, 1], where the papers measure it; ``log_scale``, the sum of
    log half the width of the action's intervals, carries it over to the action's own units, in
    which its log-density is. Discrete: ``0.98 log n`` (Christodoulou 2019); the official HASAC
    takes ``-prod(shape)`` of a scalar's empty shape, computed as 0 here as there it forces the
    temperature down at every step.
    """
    if not is_discrete:
        return log_scale - float(actions)
    return 0.0 if official else 0.98 * math.log(actions)
