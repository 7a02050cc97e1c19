"""Return differences in the way of RUDDER (Arjona-Medina et al. 2019): an LSTM predicts returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pkubench.agents.rl.credit.episodes import Layout
from pkubench.agents.rl.credit.models.base import Batch, CreditNetwork
from pkubench.agents.rl.credit.models.layers import linear

if TYPE_CHECKING:
    from pkubench.agents.rl.credit.rudder import RudderCredit


class RudderNetwork(CreditNetwork):
    """``g_t``, the predicted return after t steps; a step's credit is how it changes."""

    def __init__(self, settings: RudderCredit, layout: Layout, generator: torch.Generator) -> None:
        """Build and initialise from ``generator``."""
        super().__init__()
        self.number, self.settings = len(layout.agents), settings
        self.memory = nn.LSTM(
            self.number * layout.observation, settings.units, settings.layers, batch_first=True
        )
        bound = settings.units**-0.5  # torch's own, from our generator
        for parameter in self.memory.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        self.head = linear(settings.units, 1, generator)

    def predictions(self, batch: Batch) -> Tensor:
        """Return g (B, L + 1) of all agents' observations; g_0 is 0, or learned as published."""
        seen = batch.observations.transpose(1, 2).flatten(2)
        hidden, _ = self.memory(seen)
        g: Tensor = self.head(hidden)[..., 0]
        if self.settings.start_value == "zero":
            return torch.cat([torch.zeros_like(g[:, :1]), g[:, 1:]], 1)
        return g

    def shares(self, batch: Batch) -> Tensor:
        """Return equal shares of ``g_{t+1} - g_t``, (B, n, L): their sum is g_T - g_0."""
        g = self.predictions(batch)
        change = batch.masked((g[:, 1:] - g[:, :-1])[:, None])
        return change.repeat(1, self.number, 1) / self.number

    def loss(self, batch: Batch) -> Tensor:
        """Return the squared error at the end, and with its weight that of all predictions."""
        g, wanted = self.predictions(batch), batch.returns[:, None]
        last = g.gather(1, batch.lengths[:, None])
        squares = (g[:, 1:] - wanted).square().masked_fill(~batch.valid, 0.0)
        if self.settings.start_value == "learned":
            first = (g[:, :1] - wanted).square()
            early = (squares.sum(1) + first[:, 0]) / (batch.lengths + 1)
        else:
            early = squares.sum(1) / batch.lengths
        return (last - wanted).square().mean() + self.settings.early_weight * early.mean()
