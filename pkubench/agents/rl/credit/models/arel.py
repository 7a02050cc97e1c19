"""The reward model of AREL (Xiao et al. 2022): attention over time and over agents in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.attention import MultiHeadAttention
from pkubench.agents.rl.credit.episodes import Layout
from pkubench.agents.rl.credit.models.base import Batch, CreditNetwork
from pkubench.agents.rl.credit.models.layers import linear, table
from pkubench.agents.rl.credit.models.stas import variance_over_steps

if TYPE_CHECKING:
    from pkubench.agents.rl.credit.arel import ARELCredit

HEAD = 50
"""Width of the two layers of each agent before the sum."""


class Block(nn.Module):
    """Attention of heads of full width, and ReLU of four times the width; norms after each."""

    def __init__(self, width: int, heads: int, generator: torch.Generator) -> None:
        """Build and initialise from ``generator``."""
        super().__init__()
        self.attention = MultiHeadAttention(
            width, heads, generator, head_width=width, has_bias=False
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.widen = linear(width, 4 * width, generator)
        self.narrow = linear(4 * width, width, generator)

    def forward(self, x: Tensor, *, is_causal: bool) -> Tensor:
        """Map (..., L, E) to (..., L, E)."""
        x = self.norms[0](self.attention(x, is_causal=is_causal) + x)
        return self.norms[1](self.narrow(functional.relu(self.widen(x))) + x)  # type: ignore[no-any-return]


class ARELNetwork(CreditNetwork):
    """Rewards of the team from the observations that follow each step; actions are not read."""

    def __init__(self, settings: ARELCredit, layout: Layout, generator: torch.Generator) -> None:
        """Build and initialise from ``generator``."""
        super().__init__()
        width = min(layout.observation, settings.widest)
        self.number, self.weight = len(layout.agents), settings.variance_weight
        self.compress = linear(layout.observation, width, generator)
        self.positions = table(layout.horizon, width, generator)
        pairs = [
            nn.ModuleList(Block(width, settings.heads, generator) for _ in range(2))
            for _ in range(settings.layers)
        ]
        self.layers = nn.ModuleList(pairs)
        self.first, self.second = linear(width, HEAD, generator), linear(HEAD, HEAD, generator)
        self.head = linear(HEAD, 1, generator)

    def team(self, batch: Batch) -> Tensor:
        """Return the team's reward of each step, (B, L)."""
        x = self.compress(batch.observations[:, :, 1:])
        x = x + self.positions[: x.shape[2]]
        layers: Any = self.layers
        for over_time, over_agents in layers:
            x = over_time(x, is_causal=True)
            x = over_agents(x.transpose(1, 2), is_causal=False).transpose(1, 2)
        found = self.head(self.second(self.first(x)).sum(1))[..., 0]
        return found.masked_fill(~batch.valid, 0.0)  # type: ignore[no-any-return]

    def shares(self, batch: Batch) -> Tensor:
        """Return equal shares of the team's rewards, (B, n, L)."""
        return self.team(batch)[:, None].repeat(1, self.number, 1) / self.number

    def loss(self, batch: Batch) -> Tensor:
        """Return the squared error and the weighted variance over steps."""
        rewards = self.team(batch)
        error = (batch.returns - rewards.sum(1)).square().mean()
        return error + self.weight * variance_over_steps(rewards, batch)
