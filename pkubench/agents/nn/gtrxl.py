"""The module of a gated transformer with an episodic memory (Parisotto et al., ICML 2020).

The form of MarcoMeter/episodic-transformer-memory-ppo: one query, the present step, over the
inputs that each block had in the last M steps of the episode. Two departures: within a rollout
these inputs are computed with the present weights, as a GRU's hidden states are, where that code
stores them; and a step without a past has an attention of zero, where that code averages over blank
entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.modules import MemoryModule, States

if TYPE_CHECKING:
    from pkubench.agents.nn.memory.gtrxl import GTrXLMemory


class GatedTransformer(MemoryModule):
    """Gated blocks over the last M steps of an episode.

    The hidden state has the block inputs of M steps, oldest first, and a number for each of these
    that is 1 where there was such a step.
    """

    def __init__(self, settings: GTrXLMemory, features: int, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.length, self.width, self.layers = settings.length, settings.width, settings.layers
        self.features = settings.width
        self.units = self.length * (self.layers * self.width + 1)
        self.embed = _linear(features, self.width, generator)
        self.blocks = nn.ModuleList(
            _Block(self.width, settings.heads, settings.gate_bias, generator)
            for _ in range(self.layers)
        )

    def forward(self, features: Tensor, first: Tensor, hidden: Tensor) -> tuple[Tensor, States]:
        """Return outputs (T, N, E) and the hidden states after each step.

        Args:
            features: (T, N, features).
            first: (T, N) bool, whether a step is the first one of its episode.
            hidden: (N, units), before the first step.
        """
        steps, copies = first.shape
        past, there = hidden[:, : -self.length], hidden[:, -self.length :]
        past = past.view(copies, self.length, self.layers, self.width)
        # the episode that each entry is of, counted from 0, what the hidden state holds
        number = first.long().cumsum(0).t()
        blank = torch.where(there > 0.5, 0, -1)
        episode = torch.cat([blank, number], 1)  # (N, M + T)
        at, entry = torch.arange(steps)[:, None], torch.arange(self.length + steps)
        is_recent = ((entry >= at) & (entry < at + self.length)).to(hidden.device)
        mask = is_recent & (episode[:, None, :] == number[:, :, None])  # (N, T, M + T)
        x = torch.relu(self.embed(features)).transpose(0, 1)
        inputs = []
        for k, block in enumerate(self.blocks):
            entries = torch.cat([past[:, :, k], x.detach()], 1)
            inputs.append(entries)
            x = block(x, entries, mask)
        return x.transpose(0, 1), _Windows(torch.stack(inputs, 2), episode, self.length)


class _Windows:
    """Hidden states after each step, computed for those that are asked for."""

    def __init__(self, inputs: Tensor, episode: Tensor, length: int) -> None:
        """Keep block inputs (N, M + T, layers, E) and the episode of each entry (N, M + T)."""
        self.inputs, self.episode, self.length = inputs, episode, length

    def __getitem__(self, index: int | Tensor) -> Tensor:
        """Return (N, units) of a step, or (K, units) of a mask (T, N)."""
        copies, total = self.episode.shape
        if isinstance(index, int):
            step = range(total - self.length)[index]
            steps, rows = torch.full((copies,), step), torch.arange(copies)
        else:
            steps, rows = index.cpu().nonzero().unbind(1)
        entries = steps[:, None] + 1 + torch.arange(self.length)
        entries, rows = entries.to(self.inputs.device), rows[:, None].to(self.inputs.device)
        now = self.episode[rows[:, 0], entries[:, -1]]
        there = (self.episode[rows, entries] == now[:, None]).to(self.inputs.dtype)
        found = self.inputs[rows, entries] * there[..., None, None]
        return torch.cat([found.flatten(1), there], 1)


class _Block(nn.Module):
    """``h = g(x, attention(norm(x); norm(memory)))``, then ``g(h, relu(linear(norm(h))))``."""

    def __init__(self, width: int, heads: int, bias: float, generator: torch.Generator) -> None:
        super().__init__()
        self.heads, self.scale = heads, width**-0.5
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query = _linear(width, width, generator, has_bias=False)
        self.key = _linear(width, width, generator, has_bias=False)
        self.value = _linear(width, width, generator, has_bias=False)
        self.mix = _linear(width, width, generator)
        self.inner = _linear(width, width, generator)
        self.gates = nn.ModuleList(_Gate(width, bias, generator) for _ in range(2))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Map (N, T, E) to (N, T, E), given (N, L, E) and what may be attended to (N, T, L)."""
        seen = self.norms[1](memory)
        parts = (self.query(self.norms[0](x)), self.key(seen), self.value(seen))
        query, key, value = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        has_past = mask.any(-1, keepdim=True)
        found = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=(mask | ~has_past)[:, None], scale=self.scale
        )
        found = self.mix(found.transpose(1, 2).flatten(2)) * has_past
        h = self.gates[0](x, found)
        return self.gates[1](h, torch.relu(self.inner(self.norms[2](h))))  # type: ignore[no-any-return]


class _Gate(nn.Module):
    """The GRU's gate between what passes through a layer, x, and what it adds, y."""

    def __init__(self, width: int, bias: float, generator: torch.Generator) -> None:
        super().__init__()
        self.of_y = _linear(width, 3 * width, generator, has_bias=False, parts=3)
        self.of_x = _linear(width, 2 * width, generator, has_bias=False, parts=2)
        self.of_both = _linear(width, width, generator, has_bias=False)
        self.bias = nn.Parameter(torch.full((width,), bias))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        (r, z, h), (r_x, z_x) = self.of_y(y).chunk(3, -1), self.of_x(x).chunk(2, -1)
        z = torch.sigmoid(z + z_x - self.bias)
        new = torch.tanh(h + self.of_both(torch.sigmoid(r + r_x) * x))
        return (1.0 - z) * x + z * new


def _linear(
    inputs: int, outputs: int, generator: torch.Generator, *, has_bias: bool = True, parts: int = 1
) -> nn.Linear:
    """Return a layer with Xavier's uniform weights, of each of several ``parts`` of its outputs."""
    made = nn.Linear(inputs, outputs, bias=has_bias)
    for part in made.weight.detach().chunk(parts):
        nn.init.xavier_uniform_(part, generator=generator)
    if has_bias:
        nn.init.zeros_(made.bias)
    return made
