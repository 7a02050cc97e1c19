"""Self-imitation (Oh et al. 2018): gradient steps of the actors on batches of past episodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from pkubench.agents.rl.constraints.none import NoConstraint
from pkubench.agents.rl.credit.episodes import Episodes
from pkubench.agents.rl.objective import Objective
from pkubench.agents.rl.rollout import Array
from pkubench.agents.rl.samples import Samples
from pkubench.agents.rl.update_rules.a2c import A2C
from pkubench.agents.rl.update_rules.base import CostTerms

if TYPE_CHECKING:
    from pkubench.agents.rl.on_policy.learner import OnPolicyLearner

_LOSS = Objective(A2C(entropy=0.0), NoConstraint(), CostTerms())
"""``-mean[r A]``, whose gradient at a ratio of 1 is that of ``-mean[log pi(a|o) A]``."""


def imitate(learner: OnPolicyLearner, batches: Iterable[Episodes]) -> dict[str, float]:
    """Take a step of each actor on every batch; return the mean of max(R - V, 0) and its share.

    The loss is ``-mean[log pi(a|o) max(R_t - V(s_t), 0)]`` over the steps of a batch, with the
    discounted return R_t to go of the team's return at the end of the episode.
    """
    gains, shares = [], []
    for episodes in batches:
        ahead = _advantages(learner, episodes)
        counted = np.broadcast_to(episodes.valid[:, None], ahead.shape)
        gains.append(ahead[counted].mean())
        shares.append((ahead[counted] > 0.0).mean())
        for name in learner.actors:
            members = [k for k, a in enumerate(learner.agents) if learner.actor_names[a] == name]
            _step(learner, name, members, episodes, ahead)
    if not gains:
        return {}
    return {"imitation_gain": float(np.mean(gains)), "imitated": float(np.mean(shares))}


def _step(
    learner: OnPolicyLearner, name: str, members: list[int], episodes: Episodes, ahead: Array
) -> None:
    actor, device = learner.actors[name], learner.device
    size = int(np.prod(learner.seen[learner.agents[members[0]]].shape))

    def chosen(array: Array) -> torch.Tensor:
        """Return the valid steps of the members, (B, ...)."""
        return torch.from_numpy(np.concatenate([array[:, k][episodes.valid] for k in members])).to(
            device
        )

    seen = chosen(episodes.observations[:, :, :-1, :size])
    actions, advantage = chosen(episodes.actions), chosen(ahead)
    if actions.ndim == 2:
        space = learner.action_spaces[learner.agents[members[0]]]
        actions = actions[:, : (space.shape or (1,))[0]]
    with torch.no_grad():
        log_probs = actor(seen, None).log_prob(actions)
    samples = Samples(
        seen, None, actions, log_probs, advantage, torch.ones_like(advantage), None, None
    )
    learner.trainers[name].passes(
        samples, _LOSS, epochs=1, parts=1, target_kl=None, generator=learner.generator
    )


def _advantages(learner: OnPolicyLearner, episodes: Episodes) -> Array:
    """Return max(R - V, 0) of each agent and step, (B, n, L) float32."""
    config, valid = learner.config, episodes.valid
    to_go = (episodes.lengths[:, None] - 1 - np.arange(valid.shape[1])).clip(0)
    returns = config.gamma**to_go * episodes.returns[:, None] * config.reward_scale
    found = np.zeros(episodes.actions.shape[:3], np.float32)
    for k, agent in enumerate(learner.agents):
        critic = learner.stack_of(k).members[0]
        states = episodes.states
        if learner.local:
            states = episodes.observations[:, k, :-1, : int(np.prod(learner.seen[agent].shape))]
        assert states is not None
        values = critic.denormalise(critic.values(np.ascontiguousarray(states), learner.device))
        found[:, k] = np.where(valid, np.maximum(returns - values, 0.0), 0.0)
    return found
