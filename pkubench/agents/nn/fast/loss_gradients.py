"""Derivatives of the losses in ``update_rules.py``, sample by sample, in NumPy.

Autograd agrees with each of them (a test compares them).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def ppo_clip_slope(ratio: Array, weight: Array, clip: float) -> Array:
    """Return the derivative (B,) of the loss ``ppo_clip`` by each sample's log-probability.

    Args:
        ratio: (B,), r = pi_new(a|o) / pi_old(a|o).
        weight: (B,), M A, the factor times the advantage; the factor is not negative.
        clip: eps.
    """
    plain = ratio * weight
    clipped = np.minimum(np.maximum(ratio, 1.0 - clip), 1.0 + clip) * weight
    return plain * (plain <= clipped) * (-1.0 / len(ratio))


def surrogate_slope(ratio: Array, weight: Array) -> Array:
    """Return the derivative (B,) of minus ``surrogate``; the arguments are as above."""
    return ratio * weight * (-1.0 / len(ratio))


def focops_slopes(
    ratio: Array, weight: Array, kl: Array, *, trusted: float, softness: float
) -> tuple[Array, Array]:
    """Return the derivatives (B,) of ``focops`` by log-probability and by KL(new || old).

    Args:
        ratio: (B,), as above.
        weight: (B,), M A.
        kl: (B,), KL(new || old).
        trusted: eta.
        softness: lam.
    """
    inside = (kl <= trusted) * ratio.dtype.type(1.0 / len(ratio))
    return inside * ratio * weight * (-1.0 / softness), inside


def exact_penalty_slope(
    ratio: Array,
    cost_advantage: Array,
    factor: Array,
    *,
    clip: float | None,
    excess: float,
    weight: float,
) -> Array:
    """Return the derivative (B,) of ``exact_penalty`` by log-probability; its own arguments."""
    change = ratio * cost_advantage
    slope = change
    if clip is not None:
        clipped = np.minimum(np.maximum(ratio, 1.0 - clip), 1.0 + clip) * cost_advantage
        slope = change * (change >= clipped)
        change = np.maximum(change, clipped)
    if float((factor * change).mean()) + excess <= 0.0:
        return np.zeros_like(ratio)
    penalised: Array = factor * slope * (weight / len(ratio))
    return penalised


def cup_slopes(
    ratio: Array, cost_advantage: Array, factor: Array, weight: float
) -> tuple[Array, Array]:
    """Return the derivatives (B,) of ``cup_correction`` by log-probability and by its KL."""
    share = ratio.dtype.type(1.0 / len(ratio))
    return ratio * cost_advantage * factor * (weight / len(ratio)), np.full_like(ratio, share)


def value_loss_slope(
    value: Array,
    old_value: Array,
    target: Array,
    *,
    clip: float | None,
    huber_delta: float | None,
) -> tuple[Array, Array]:
    """Return ``value_loss`` of each critic (R,), and its derivatives by the values (R, B).

    The arguments are those of ``value_loss``, each (R, B). Where the plain and the clipped loss are
    equal the plain one counts; ``torch.maximum`` lets each count half.
    """
    error = value - target
    samples = value.shape[-1]
    if huber_delta is None:
        slope = error * (2.0 / samples)
        loss = np.multiply(error, error)
    else:
        bounded = np.minimum(np.maximum(error, -huber_delta), huber_delta)
        slope = bounded * (1.0 / samples)
        loss = bounded * (error - 0.5 * bounded)
    if clip is not None:
        moved = value - old_value
        kept = np.minimum(np.maximum(moved, -clip), clip)
        far = old_value + kept - target
        if huber_delta is None:
            other = np.multiply(far, far)
        else:
            bounded = np.minimum(np.maximum(far, -huber_delta), huber_delta)
            other = bounded * (far - 0.5 * bounded)
        slope *= (kept == moved) | (loss >= other)
        loss = np.maximum(loss, other)
    return np.add.reduce(loss, -1) / samples, slope
