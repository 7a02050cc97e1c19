"""Retention over agents and time (Mahjoub et al., ICML 2025; Sun et al. 2023), in two forms.

A chunk of T steps is one product: ``y = ((Q K^T) * D) V + xi * (Q h)``, with D the decay
``kappa^(t_i - t_j)`` from token j to token i, equal for all agents of a step, and cut where an
episode begins. The recurrent form keeps ``h``, decays it once per step, and adds each agent's key
and value in order. Both give the same numbers (a test compares them).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Decay(NamedTuple):
    """Decays of a chunk of T steps of n agents in N environments, for each of H heads."""

    within: Tensor
    """(N, H, T n, T n), from the second token to the first."""
    before: Tensor
    """(N, H, T n, 1), of the state before the chunk."""
    after: Tensor
    """(N, H, T n, 1), from a token to the state after the chunk."""
    whole: Tensor
    """(N, H, 1, 1), of the state before the chunk in the one after it."""

    @staticmethod
    def of(first: Tensor, agents: int, kappa: Tensor, is_ordered: bool) -> Decay:
        """Return the decays.

        Args:
            first: (T, N) bool, whether a step is the first one of its episode.
            agents: n.
            kappa: (H,).
            is_ordered: within a step, agents see those before them and themselves alone.
        """
        steps = len(first)
        time = torch.arange(steps, device=first.device).repeat_interleave(agents)
        place = torch.arange(agents, device=first.device).repeat(steps)
        episode = first.long().cumsum(0).t().repeat_interleave(agents, 1)  # (N, T n)
        gap = time[:, None] - time[None, :]
        seen = gap > 0
        if is_ordered:
            seen = seen | ((gap == 0) & (place[:, None] >= place[None, :]))
        else:
            seen = seen | (gap == 0)
        same = episode[:, :, None] == episode[:, None, :]
        powers = kappa[:, None, None] ** gap.clamp(min=0)
        last = episode[:, -1:]
        is_last, is_old = episode == last, episode == 0
        return Decay(
            (seen & same)[:, None] * powers,
            is_old[:, None, :, None] * kappa[:, None, None] ** (time[:, None] + 1),
            is_last[:, None, :, None] * kappa[:, None, None] ** (steps - 1 - time[:, None]),
            (last == 0)[:, None, :, None] * kappa[:, None, None] ** steps,
        )


class Retention(nn.Module):
    """Multi-scale retention with a gate."""

    def __init__(self, width: int, heads: int, generator: torch.Generator) -> None:
        """Build; weights are drawn from N(0, 1 / width)."""
        super().__init__()
        self.heads, self.width = heads, width
        self.kappa: Tensor
        scales = torch.linspace(math.log(1 / 32), math.log(1 / 512), heads)
        self.register_buffer("kappa", 0.8 * (1.0 - scales.exp()), persistent=False)
        layers = [nn.Linear(width, width, bias=False) for _ in range(5)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=width**-0.5, generator=generator)
        self.query, self.key, self.value, self.gate, self.mix = layers
        self.norm = nn.GroupNorm(heads, width)

    def chunk(
        self, query: Tensor, key: Tensor, value: Tensor, decay: Decay, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return outputs (N, L, E) and the state (N, H, D, D) after a chunk of L = T n tokens.

        Args:
            query: (N, L, E).
            key: (N, L, E).
            value: (N, L, E).
            decay: of the chunk.
            state: (N, H, D, D) before it.
        """
        q, k, v = self._split(query, key, value)
        y = ((q @ k.mT) * decay.within) @ v + decay.before * (q @ state)
        after = k.mT @ (v * decay.after) + decay.whole * state
        return self._out(y, key), after

    def step(
        self, query: Tensor, key: Tensor, value: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return outputs (N, m, E) of some agents of a step that see each other, and the state.

        The state (N, H, D, D) has been decayed to this step (see ``decayed``).
        """
        q, k, v = self._split(query, key, value)
        state = state + k.mT @ v
        return self._out(q @ state, key), state

    def decayed(self, state: Tensor, first: Tensor) -> Tensor:
        """Return the state a step later, zero where a new episode has begun; ``first``: (N,)."""
        kept = (~first).to(state.dtype)[:, None, None, None]
        return state * self.kappa.to(state.dtype)[:, None, None] * kept

    def _split(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        parts = (self.query(query), self.key(key), self.value(value))
        return tuple(p.view(*p.shape[:2], self.heads, -1).transpose(1, 2) for p in parts)

    def _out(self, y: Tensor, key: Tensor) -> Tensor:
        flat = y.transpose(1, 2).flatten(2)
        normed = self.norm(flat.flatten(0, 1)).view(flat.shape)
        return self.mix(functional.silu(self.gate(key)) * normed)  # type: ignore[no-any-return]
