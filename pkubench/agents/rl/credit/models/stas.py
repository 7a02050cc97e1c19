"""The reward models of STAS and STAS-ML (Chen et al. 2024), as published and corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pkubench.agents.rl.credit.episodes import Layout
from pkubench.agents.rl.credit.models.base import Batch, CreditNetwork
from pkubench.agents.rl.credit.models.coalitions import (
    Coalitions,
    drawn,
    for_evaluation,
    for_training,
)
from pkubench.agents.rl.credit.models.layers import (
    CoalitionLayer,
    TimeLayer,
    Tokens,
    linear,
    mixed_up_mask,
)

if TYPE_CHECKING:
    from pkubench.agents.rl.credit.stas import CoalitionCredit, STASCredit


PADDING = 4
"""The action of steps behind the end in the published code, a real one where there are five."""


class CoalitionNetwork(CreditNetwork):
    """What networks with coalition layers share: which coalitions they see, and when."""

    def __init__(
        self, settings: CoalitionCredit, layout: Layout, generator: torch.Generator
    ) -> None:
        """Enumerate, or draw from a fixed seed, the coalitions of evaluation."""
        super().__init__()
        self.settings, self.generator, self.number = settings, generator, len(layout.agents)
        self.tokens = Tokens(layout, settings.width, generator)
        if settings.mode == "repo" and layout.is_discrete:
            self.tokens.padding = min(PADDING, layout.actions)
        fixed = for_evaluation(settings.sampler, self.number)
        self.register_buffer("fixed_members", fixed.members, persistent=False)
        self.register_buffer("fixed_weights", fixed.weights, persistent=False)

    def coalitions(self) -> Coalitions:
        """Return those of a forward pass: random ones in training, the same ones in evaluation.

        ``mode=repo`` draws in evaluation as well.
        """
        settings, device = self.settings, self.tokens.positions.device
        if settings.mode == "repo":
            found = drawn(settings.sampler, self.number, settings.coalitions, self.generator)
            return found.to(device)
        if self.training:
            how = (settings.sampler, self.number, settings.coalitions, self.generator)
            random = for_training(*how)
            if random is not None:
                return random.to(device)
        members, weights = self.get_buffer("fixed_members"), self.get_buffer("fixed_weights")
        return Coalitions(members, weights)

    def order(self) -> Tensor | None:
        """Return whose embedding each agent gets: its own, or with ``mode=repo`` a random one's."""
        if self.settings.mode != "repo":
            return None
        return torch.randperm(self.number, generator=self.generator)

    def time_mask(self, batch: Batch) -> Tensor | None:
        """Return the mask of attention over time; None is the causal one.

        Behind an episode's end nothing is attended to by a step of it, so lengths need no mask.
        """
        return mixed_up_mask(batch) if self.settings.mode == "repo" else None


class STASNetwork(CoalitionNetwork):
    """Attention over time, one coalition layer, and a linear head (STAS)."""

    settings: STASCredit

    def __init__(self, settings: STASCredit, layout: Layout, generator: torch.Generator) -> None:
        """Build and initialise from ``generator``."""
        super().__init__(settings, layout, generator)
        width, heads, rate = settings.width, settings.heads, settings.dropout
        self.layers = nn.ModuleList(
            TimeLayer(width, heads, rate, generator) for _ in range(settings.layers)
        )
        self.agents = CoalitionLayer(width, heads, self.number, rate, generator)
        self.head = linear(width, 1, generator)

    def shares(self, batch: Batch) -> Tensor:
        """Return shares (B, n, L) (see ``CreditNetwork``)."""
        x, mask = self.tokens(batch), self.time_mask(batch)
        for layer in self.layers:
            x = layer(x, mask)
        x = self.agents(x, self.coalitions(), self.order())
        return batch.masked(self.head(x)[..., 0])

    def loss(self, batch: Batch) -> Tensor:
        """Return the squared error, and the variance over steps with its weight."""
        shares = self.shares(batch)
        loss = (batch.returns - shares.sum((1, 2))).square().mean()
        weight = self.settings.variance
        return loss + weight * variance_over_steps(shares.sum(1), batch) if weight else loss


class STASMLNetwork(STASNetwork):
    """A coalition layer after each attention over time; the head sees all of them (STAS-ML)."""

    def __init__(self, settings: STASCredit, layout: Layout, generator: torch.Generator) -> None:
        """Build and initialise from ``generator``; without the published code's unused block."""
        super().__init__(settings, layout, generator)
        width, heads, rate = settings.width, settings.heads, settings.dropout
        more = [
            CoalitionLayer(width, heads, self.number, rate, generator)
            for _ in range(settings.layers - 1)
        ]
        self.between = nn.ModuleList(more)
        self.head = linear(width * settings.layers, 1, generator)

    def shares(self, batch: Batch) -> Tensor:
        """Return shares (B, n, L) (see ``CreditNetwork``)."""
        x, mask = self.tokens(batch), self.time_mask(batch)
        outputs = []
        for over_time, over_agents in zip(self.layers, [self.agents, *self.between], strict=True):
            x = over_agents(over_time(x, mask), self.coalitions(), self.order())
            outputs.append(x)
        return batch.masked(self.head(torch.cat(outputs, -1))[..., 0])


def variance_over_steps(rewards: Tensor, batch: Batch) -> Tensor:
    """Return the variance over an episode's steps of rewards (B, L), a mean over episodes."""
    count = batch.lengths.to(rewards.dtype)
    mean = rewards.sum(1) / count
    off = torch.where(batch.valid, rewards - mean[:, None], 0.0)
    return (off.square().sum(1) / count).mean()
