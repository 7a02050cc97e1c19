"""From the advantages of reward and cost to the one that actors ascend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.nn.normalisers import centred, standardise
from pkubench.agents.rl.constraints.base import CostConstraint
from pkubench.agents.rl.constraints.multiplier import SeveralMultipliers
from pkubench.agents.rl.constraints.scale import AdvantageScale
from pkubench.agents.rl.on_policy.batches import Advantages
from pkubench.agents.rl.on_policy.config import OnPolicyConfig


class Estimated(NamedTuple):
    """The estimated advantages of an agent, or of all where the critics are shared."""

    usable: Tensor | None
    """(T * N,) bool: the steps that moments are taken of; None: all."""
    reward: Tensor
    """(T * N,), in the units of rewards."""
    costs: Sequence[Tensor] = ()
    """(T * N,) each, in the units of costs; one per critic of cost."""

    def variance(self, of: Tensor) -> float:
        """Return the population variance over the usable steps."""
        return float((of if self.usable is None else of[self.usable]).var(correction=0))


def mixed(
    estimates: Sequence[Estimated],
    constraint: CostConstraint | SeveralMultipliers | None,
    scales: Sequence[AdvantageScale],
    config: OnPolicyConfig,
    measured: tuple[Sequence[float], float],
) -> Advantages:
    """Update the constraint and return the advantages to ascend.

    Agents that share an actor are standardised by the moments of all of them: by its own, one that
    earned next to nothing would weigh as much as the others.

    Args:
        estimates: one for each agent, or for all.
        constraint: updated with ``measured``; None without one.
        scales: of each source of cost; these advantages are counted.
        config: the learner's settings.
        measured: mean cost of recent episodes by source, and their mean length; NaN without a new
            episode.
    """
    if constraint is None:
        return Advantages(_standardised([of.reward for of in estimates], estimates, config), None)
    is_raw = config.constraint.mixes_raw_advantages
    parts: list[CostConstraint] = (
        [*constraint.parts.values()] if isinstance(constraint, SeveralMultipliers) else [constraint]
    )
    counted = [of for of in estimates if of.usable is None or bool(of.usable.any())]
    of_reward = [of.variance(of.reward) for of in counted]
    for k, (part, scale, cost) in enumerate(zip(parts, scales, measured[0], strict=True)):
        if counted:
            spread = [of.variance(of.costs[k]) for of in counted]
            scale.add(float(np.mean(of_reward)), float(np.mean(spread)))
        price = config.constraint.price(scale, cost_at_limit(part.limit, measured[1], config))
        part.update(cost, measured[1], price)
    by_reward, by_cost = parts[0].weights()
    weights = [by_cost]
    if isinstance(constraint, SeveralMultipliers):
        by_reward, weights = 1.0, [-part.multiplier for part in constraint.parts.values()]
    to_ascend, centred_costs = [], []
    rewards = [of.reward for of in estimates]
    if not is_raw:
        rewards = _standardised(rewards, estimates, config)
    for reward, of in zip(rewards, estimates, strict=True):
        costs = [centred(cost, of.usable) for cost in of.costs]
        total = reward if by_reward == 1.0 else reward * by_reward
        for weight, of_cost in zip(weights, costs, strict=True):
            total = total + weight * of_cost
        to_ascend.append(total)
        centred_costs.append(costs[0])
    if is_raw:
        to_ascend = _standardised(to_ascend, estimates, config)
    return Advantages(to_ascend, centred_costs)


def _standardised(
    advantages: Sequence[Tensor], estimates: Sequence[Estimated], config: OnPolicyConfig
) -> list[Tensor]:
    """Return advantages (T * N,) of each agent, standardised: together where they share an actor.

    Their moments are of the usable steps of ``estimates``.
    """
    epsilon, usable = config.advantage_epsilon, [of.usable for of in estimates]
    if not config.shared or len(advantages) == 1:
        return [standardise(a, epsilon, u) for a, u in zip(advantages, usable, strict=True)]
    chosen = None
    if any(u is not None for u in usable):
        everywhere = torch.ones_like(advantages[0], dtype=torch.bool)
        chosen = torch.cat([everywhere if u is None else u for u in usable])
    return list(standardise(torch.cat(list(advantages)), epsilon, chosen).chunk(len(advantages)))


def cost_at_limit(limit: float, episode_length: float, config: OnPolicyConfig) -> float:
    """Return the cost within an advantage's horizon, ``1 / (1 - gamma cost_lam)`` steps.

    Of a policy whose episodes of ``episode_length`` steps cost ``limit``, evenly spread.
    """
    decay = 1.0 - config.gamma * config.cost_lam
    return limit / max(episode_length * decay, 1.0)
