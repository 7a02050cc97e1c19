"""From the advantages of reward and cost to the one that actors ascend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from pkubench.agents.nn.normalisers import standardise
from pkubench.agents.rl.constraints.base import CostConstraint
from pkubench.agents.rl.constraints.scale import AdvantageScale
from pkubench.agents.rl.on_policy.batches import Advantages
from pkubench.agents.rl.on_policy.config import OnPolicyConfig


class Estimated(NamedTuple):
    """The estimated advantages of an agent, or of all where the critics are shared."""

    usable: Tensor | None
    """(T * N,) bool: the steps that moments are taken of; None: all."""
    reward: Tensor
    """(T * N,), in the units of rewards."""
    cost: Tensor | None = None
    """(T * N,), in the units of costs; None without a critic of cost."""

    def variance(self, of: Tensor) -> float:
        """Return the population variance over the usable steps."""
        return float((of if self.usable is None else of[self.usable]).var(correction=0))


def mixed(
    estimates: Sequence[Estimated],
    constraint: CostConstraint | None,
    scale: AdvantageScale,
    config: OnPolicyConfig,
    measured: tuple[float, float],
) -> Advantages:
    """Update the constraint and return the advantages to ascend.

    Args:
        estimates: one for each agent, or for all.
        constraint: updated with ``measured``; None without one.
        scale: counts these advantages, where the multiplier is in the reward's unit.
        config: the learner's settings.
        measured: mean cost and length of recent episodes; NaN without a new one.
    """
    epsilon, is_raw = config.advantage_epsilon, config.constraint.mixes_raw_advantages
    if constraint is None:
        return Advantages([standardise(of.reward, epsilon, of.usable) for of in estimates], None)
    price = None
    if is_raw:
        scale.add(
            float(np.mean([of.variance(of.reward) for of in estimates])),
            float(np.mean([of.variance(_cost(of)) for of in estimates])),
        )
        price = scale.price(cost_at_limit(constraint.limit, measured[1], config))
    constraint.update(*measured, price)
    by_reward, by_cost = constraint.weights()
    to_ascend, of_cost = [], []
    for of in estimates:
        cost = _cost(of)
        cost = cost - (cost if of.usable is None else cost[of.usable]).mean()
        if is_raw:
            total = standardise(by_reward * of.reward + by_cost * cost, epsilon, of.usable)
        else:
            total = by_reward * standardise(of.reward, epsilon, of.usable) + by_cost * cost
        to_ascend.append(total)
        of_cost.append(cost)
    return Advantages(to_ascend, of_cost)


def cost_at_limit(limit: float, episode_length: float, config: OnPolicyConfig) -> float:
    """Return the cost within an advantage's horizon, ``1 / (1 - gamma cost_lam)`` steps.

    Of a policy whose episodes of ``episode_length`` steps cost ``limit``, evenly spread.
    """
    decay = 1.0 - config.gamma * config.cost_lam
    return limit / max(episode_length * decay, 1.0)


def _cost(of: Estimated) -> Tensor:
    assert of.cost is not None
    return of.cost
