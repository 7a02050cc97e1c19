"""The rewards and costs that an on-policy learner is trained on: after credit, and scaled."""

from __future__ import annotations

import numpy as np
import torch

from pkubench.agents.nn.normalisers import ObservationNorm
from pkubench.agents.rl.credit.base import CreditContext
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.rollout import Array, Rollout


class Signals:
    """The credit step, and the running moments of rewards and costs with ``signal_norm``."""

    def __init__(
        self,
        context: CreditContext,
        config: OnPolicyConfig,
        is_shared: bool,
        generator: torch.Generator,
    ) -> None:
        """Start the credit model.

        Args:
            context: what it is made for.
            config: the learner's settings.
            is_shared: one stream of rewards is for all agents.
            generator: the learner's.
        """
        self.config = config
        self.credit = config.credit.start(context, generator)
        self.streams = ["rewards"] if is_shared else [f"rewards.{a}" for a in context.agents]
        """Names of the streams of rewards: one, or one per agent."""
        names = [*self.streams, "costs"] if config.signal_norm else []
        self.norms = {name: ObservationNorm(1) for name in names}
        """By stream, and ``costs``: running moments; empty without ``signal_norm``."""

    def learn(self, data: Rollout) -> dict[str, float]:
        """Let the credit model learn from a rollout; return its figures for the curve."""
        self.credit.update(data)
        return self.credit.metrics()

    def __call__(self, data: Rollout) -> tuple[list[Array], list[Array]]:
        """Return the rewards of each stream, and the costs of each source: float32 (T, N).

        They are standardised and scaled by the settings; the moments are of the steps that count.
        """
        credited, costs = self.credit(data), [data.costs]
        if data.sources is not None:
            costs = [data.sources[..., k] for k in range(data.sources.shape[-1])]
        rewards = [credited[..., k].astype(np.float32) for k in range(len(self.streams))]
        if self.norms:
            ends = self.config.credit.ends_at_death
            for k, name in enumerate(self.streams):
                counted = data.usable(k) if ends else data.valid
                rewards[k] = self.norms[name].in_steps(rewards[k], counted)
            costs = [self.norms["costs"].in_steps(column, data.valid) for column in costs]
        return [column * np.float32(self.config.reward_scale) for column in rewards], costs
