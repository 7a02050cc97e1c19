"""From the scores of a credit model to shares of a return, without gradients.

Scores and shares are (B, n, L): episodes, agents, steps; ``valid`` is (B, L), and shares are 0
where a step is not valid. All work in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

EPSILON = 1e-5
"""TAR2's, in its denominators."""


def with_remainder(scores: Array, returns: Array, valid: Array) -> FloatArray:
    """Return scores plus ``(R - sum of scores) / (n L)``: they sum to the return (efficiency).

    Args:
        scores: (B, n, L).
        returns: (B,).
        valid: (B, L).
    """
    masked = _masked(scores, valid)
    slots = scores.shape[1] * valid.sum(1)
    rest = (returns - masked.sum((1, 2))) / slots
    shares: FloatArray = masked + np.where(valid[:, None], rest[:, None, None], 0.0)
    return shares


def softmax_shares(scores: Array, returns: Array, valid: Array) -> FloatArray:
    """Return ``w_t w_{i|t} R`` with softmax weights, over steps and then agents: they sum to R.

    ``w_t`` is the softmax over steps of the team's scores, ``w_{i|t}`` that over the agents of a
    step. The arguments are those of ``with_remainder``. Of a negative return the step and the agent
    with the highest score, which is the best one, get the largest part of the loss.
    """
    masked = _masked(scores, valid)
    of_steps = _softmax(np.where(valid, masked.sum(1), -np.inf), 1)
    of_agents = _softmax(masked, 1)
    shares: FloatArray = of_steps[:, None] * of_agents * returns[:, None, None]
    return shares


def signed_softmax_shares(scores: Array, returns: Array, valid: Array) -> FloatArray:
    """Return softmax shares whose weights are of ``c sign(R)``, with the scores c.

    A higher score gets a higher share whatever the sign of the return; shares sum to R. The
    arguments are those of ``with_remainder``.
    """
    signs = np.where(np.asarray(returns) < 0.0, -1.0, 1.0)
    return softmax_shares(scores * signs[:, None, None], returns, valid)


def minimum_shift_shares(scores: Array, returns: Array, valid: Array) -> FloatArray:
    """Return TAR2's shares as its code computes them; they do not sum to R.

    With ``u_t`` the sum over agents, ``w_t = (u_t - min u) / (sum (u - min u) + 1e-5)`` and
    ``w_{i|t} = (c_it - min_i c_it) / (sum_i (c_it - min_i c_it) + 1e-5)``. So the lowest step and
    the lowest agent of every step get nothing: of two agents one takes everything. Where scores are
    equal the whole return is lost, and elsewhere a part, by the 1e-5. Of a negative return the
    highest scores get the largest losses, as with ``softmax_shares``. The arguments are those of
    ``with_remainder``.
    """
    masked = _masked(scores, valid)
    team = masked.sum(1)
    lowest = np.where(valid, team, np.inf).min(1, keepdims=True)
    above = np.where(valid, team - lowest, 0.0)
    of_steps = above / (above.sum(1, keepdims=True) + EPSILON)
    own = masked - masked.min(1, keepdims=True)
    of_agents = own / (own.sum(1, keepdims=True) + EPSILON)
    shares: FloatArray = of_steps[:, None] * of_agents * returns[:, None, None]
    return shares


def _masked(scores: Array, valid: Array) -> FloatArray:
    masked: FloatArray = np.where(valid[:, None], scores.astype(np.float64), 0.0)
    return masked


def _softmax(x: FloatArray, axis: int) -> FloatArray:
    weights = np.exp(x - x.max(axis, keepdims=True))
    found: FloatArray = weights / weights.sum(axis, keepdims=True)
    return found
