"""The scores of TAR2 (Kapoor et al. 2025): STAS's layers, the outcome, and inverse dynamics."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.rl.credit.episodes import Layout
from pkubench.agents.rl.credit.models.base import Batch
from pkubench.agents.rl.credit.models.layers import CoalitionLayer, TimeLayer, linear
from pkubench.agents.rl.credit.models.stas import CoalitionNetwork

if TYPE_CHECKING:
    from pkubench.agents.rl.credit.tar2 import TAR2Credit


class TAR2Network(CoalitionNetwork):
    """Scores c_{i,t} that depend on the episode's outcome: they are not causal."""

    settings: TAR2Credit

    def __init__(self, settings: TAR2Credit, layout: Layout, generator: torch.Generator) -> None:
        """Build and initialise from ``generator``."""
        super().__init__(settings, layout, generator)
        width, heads, rate = settings.width, settings.heads, settings.dropout
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    TimeLayer(width, heads, rate, generator),
                    CoalitionLayer(width, heads, self.number, rate, generator),
                ]
            )
            for _ in range(settings.layers)
        )
        all_layers = width * settings.layers
        self.score = _mlp((2 * all_layers, width, width, 1), generator)
        self.dynamics = _mlp((2 * width + all_layers, width, width, layout.actions), generator)
        self.is_discrete = layout.is_discrete

    def contexts(self, batch: Batch) -> Tensor:
        """Return the outputs of all layers, concatenated, (B, n, L, layers E)."""
        x, mask = self.tokens(batch), self.time_mask(batch)
        outputs = []
        layers: Any = self.layers
        for over_time, over_agents in layers:
            x = over_agents(over_time(x, mask), self.coalitions(), self.order())
            outputs.append(x)
        return torch.cat(outputs, -1)

    def scores(self, contexts: Tensor, batch: Batch) -> Tensor:
        """Return scores (B, n, L) of contexts and of the outcome, which has no gradient."""
        if self.settings.reads_outcome:
            place = (batch.lengths - 1)[:, None, None, None]
            last = contexts.gather(2, place.expand(-1, contexts.shape[1], 1, contexts.shape[3]))
            outcome = last.mean(1, keepdim=True).detach().expand_as(contexts)
        else:
            outcome = torch.zeros_like(contexts)
        return batch.masked(self.score(torch.cat([contexts, outcome], -1))[..., 0])

    def shares(self, batch: Batch) -> Tensor:
        """Return the scores (B, n, L), which the settings turn into shares of the return."""
        return self.scores(self.contexts(batch), batch)

    def loss(self, batch: Batch) -> Tensor:
        """Return Huber's loss of the scores' sum, and with its weight that of inverse dynamics."""
        contexts = self.contexts(batch)
        total = self.scores(contexts, batch).sum((1, 2))
        loss = functional.huber_loss(total, batch.returns)
        weight = self.settings.inverse_dynamics
        return loss + weight * self.dynamics_loss(contexts, batch) if weight else loss

    def dynamics_loss(self, contexts: Tensor, batch: Batch) -> Tensor:
        """Return the error of actions predicted from the team's observations around them.

        The inputs are the mean embeddings of step t and of what follows it, and the agent's own
        context of step t - 1. Cross-entropy of discrete actions, squared error of boxes.
        """
        seen = self.tokens.observe(batch.observations).mean(1, keepdim=True)
        number, length = contexts.shape[1:3]
        around = torch.cat([seen[:, :, :-1], seen[:, :, 1:]], -1).expand(-1, number, -1, -1)
        before = functional.pad(contexts[:, :, :-1], (0, 0, 1, 0))
        guesses = self.dynamics(torch.cat([around, before], -1))
        if self.is_discrete:
            errors = functional.cross_entropy(
                guesses.flatten(0, 2), batch.actions.flatten(), reduction="none"
            ).view(batch.actions.shape)
        else:
            errors = (guesses - batch.actions).square().mean(-1)
        counted = batch.valid[:, None].expand(-1, number, -1)
        if self.settings.mode == "repo":
            # flattened step by step, against errors that are flattened agent by agent
            counted = counted.transpose(1, 2).reshape(-1, number, length)
        return (errors * counted).sum() / counted.sum()


def _mlp(sizes: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [linear(a, b, generator), nn.GELU()]
    return nn.Sequential(*layers[:-1])
