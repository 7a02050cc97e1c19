"""Advantage estimation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


def gae(
    rewards: FloatArray,
    values: FloatArray,
    next_values: FloatArray,
    terminated: BoolArray,
    truncated: BoolArray,
    *,
    gamma: float,
    lam: float,
    bootstrap_truncated: bool = True,
) -> FloatArray:
    """Return generalized advantage estimates (Schulman et al. 2016, eq. 16), time on axis 0.

    ``delta_t = r_t + gamma (1 - terminated_t) V(s_{t+1}) - V(s_t)``,
    ``A_t = delta_t + gamma lam (1 - done_t) A_{t+1}``.

    Args:
        rewards: (T, N).
        values: (T, N), V(s_t).
        next_values: (T, N), V(s_{t+1}) of the successor state: at the end of an episode its final
            state, never the first one of the next.
        terminated: (T, N), the episode terminated: no bootstrap.
        truncated: (T, N), the time limit was reached: bootstraps from the final state.
        gamma: discount.
        lam: mixing weight.
        bootstrap_truncated: False is HARL's ``use_proper_time_limits``: the advantage of a
            truncated step is 0 (its return is V(s_t)) instead of a bootstrapped one.

    Returns:
        (T, N) advantages; add ``values`` for the returns.
    """
    going_on = (~terminated).astype(rewards.dtype)
    delta = rewards + gamma * going_on * next_values - values
    chain = gamma * lam * (~(terminated | truncated)).astype(rewards.dtype)
    cut = (
        np.ones_like(delta)
        if bootstrap_truncated
        else (~truncated | terminated).astype(delta.dtype)
    )
    advantages = np.empty_like(delta)
    running = np.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        running = (delta[t] + chain[t] * running) * cut[t]
        advantages[t] = running
    return advantages
