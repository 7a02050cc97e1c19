"""A learned credit model as another package would bring it: importing this module registers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from pkubench.agents.components import register
from pkubench.agents.rl.credit.base import Credit, CreditContext, CreditModel
from pkubench.agents.rl.rollout import Array, Rollout
from pkubench.agents.rl.trainers import Trainer, flattened


class LinearRewards(CreditModel):
    """Rewards r_k(o, a), linear in both, whose sum over an episode is fitted to the return."""

    def __init__(self, context: CreditContext, lr: float, generator: torch.Generator) -> None:
        """Draw small weights for each agent."""
        self.context, self.generator, self.loss = context, generator, 0.0
        sizes = [
            int(np.prod(context.observation_shapes[agent])) + _size(context.action_spaces[agent])
            for agent in context.agents
        ]
        self.nets = [torch.nn.Linear(size, 1) for size in sizes]
        for net in self.nets:
            for parameter in net.parameters():
                torch.nn.init.normal_(parameter, std=0.1, generator=generator)
        self.flat, gradient = flattened([torch.nn.ModuleList(self.nets)])
        self.trainer = Trainer(self.flat, gradient, lr=lr, epsilon=1e-8, max_grad_norm=10.0)
        self.episodes = np.zeros(1, np.int64)

    def _rewards(self, rollout: Rollout) -> torch.Tensor:
        """Return (T, N, agents)."""
        columns = []
        for agent, net in zip(self.context.agents, self.nets, strict=True):
            seen, acted = (
                torch.from_numpy(a[agent]) for a in (rollout.observations, rollout.actions)
            )
            space = self.context.action_spaces[agent]
            if isinstance(space, spaces.Discrete):
                acted = torch.nn.functional.one_hot(acted, int(space.n))
            columns.append(net(torch.cat([seen, acted.to(seen.dtype)], -1)))
        return torch.cat(columns, -1)

    @torch.no_grad()
    def __call__(self, rollout: Rollout) -> Array:
        """Return the learned rewards."""
        return self._rewards(rollout).double().numpy()

    def update(self, rollout: Rollout) -> None:
        """Take a step on half of the whole episodes of a rollout, drawn at random."""
        ends = rollout.terminated | rollout.truncated
        whole = [
            (slice(begin, end + 1), n)
            for n in range(ends.shape[1])
            for begin, end in zip(
                np.flatnonzero(rollout.first[:, n]), np.flatnonzero(ends[:, n]), strict=False
            )
        ]
        drawn = torch.randperm(len(whole), generator=self.generator)[: len(whole) // 2].tolist()
        predicted, errors = self._rewards(rollout), []
        for k in drawn:
            errors.append(predicted[whole[k]].sum() - float(rollout.rewards[whole[k]].sum()))
        loss = torch.stack(errors).square().mean()
        self.trainer.adam.gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        self.trainer.step()
        self.loss = float(loss.detach())
        self.episodes += len(drawn)

    def metrics(self) -> dict[str, float]:
        """Return the squared error of the predicted returns."""
        return {"credit_loss": self.loss, "credit_episodes": float(self.episodes[0])}

    def learned(self) -> dict[str, Array]:
        """Return the weights."""
        return {"weights": self.flat.numpy().copy()}

    def load_learned(self, learned: Mapping[str, Array]) -> None:
        """Restore the weights."""
        self.flat.copy_(torch.from_numpy(np.array(learned["weights"])))

    def state(self) -> dict[str, Any]:
        """Return weights, moments and counts."""
        return {
            **self.learned(),
            "adam": self.trainer.state(),
            "episodes": self.episodes.copy(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.load_learned(state)
        self.trainer.load_state(state["adam"])
        self.episodes = state["episodes"].copy()


def _size(space: Any) -> int:
    return int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape))


@register("linear-rewards")
@dataclass(frozen=True, slots=True, kw_only=True)
class LinearCredit(Credit):
    """Rewards linear in observation and action."""

    credit_lr: float = 0.05
    """Adam's learning rate."""

    def start(self, context: CreditContext, generator: torch.Generator) -> LinearRewards:
        """Return the model with random weights."""
        return LinearRewards(context, self.credit_lr, generator)
