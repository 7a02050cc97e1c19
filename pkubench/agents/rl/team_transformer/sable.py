"""Sable's network (Mahjoub et al., ICML 2025; instadeepai/Mava).

The Multi-Agent Transformer with retention over agents **and** time in place of attention over
agents. Agents are told apart by their numbers, one-hot at the end of each observation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.rl.team_transformer.networks import TeamHead, TeamSpec, linear, shifted
from pkubench.agents.rl.team_transformer.retention import Decay, Retention


class Memory(NamedTuple):
    """Retention states, (N, layers, H, D, D) each."""

    encoder: Tensor
    own: Tensor
    """Of the decoder's retention over actions."""
    other: Tensor
    """Of its retention from observations to actions."""


class Sable(nn.Module):
    """Values and action distributions of all agents, with a memory of the episode."""

    def __init__(self, spec: TeamSpec, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.spec = spec
        width = spec.width
        self.embed = nn.Sequential(
            nn.RMSNorm(spec.observations + spec.agents),
            linear(spec.observations + spec.agents, width, generator, is_activated=True),
            nn.GELU(),
            nn.RMSNorm(width),
        )
        layers = range(spec.layers)
        self.encoder: Any = nn.ModuleList(_EncoderBlock(spec, generator) for _ in layers)
        self.value_head = _head(width, 1, generator)
        inputs = spec.actions + spec.is_discrete
        self.embed_action = nn.Sequential(
            linear(inputs, width, generator, is_activated=True, has_bias=False),
            nn.GELU(),
            nn.RMSNorm(width),
        )
        self.decoder: Any = nn.ModuleList(_DecoderBlock(spec, generator) for _ in layers)
        self.head = _head(width, spec.actions, generator)
        self.distribution = TeamHead(spec)

    @property
    def units(self) -> int:
        """Numbers of a memory."""
        spec = self.spec
        return 3 * spec.layers * spec.width * spec.width // spec.heads

    def memory_of(self, flat: Tensor) -> Memory:
        """Return the memory in numbers (N, units)."""
        side = self.spec.width // self.spec.heads
        shape = (len(flat), 3, self.spec.layers, self.spec.heads, side, side)
        return Memory(*flat.view(shape).unbind(1))

    def with_encoder(self, flat: Tensor, encoder: Tensor) -> Tensor:
        """Return a memory in numbers with other encoder states (N, layers, H, D, D)."""
        kept = flat[:, self.units // 3 :]
        return torch.cat([encoder.flatten(1), kept], 1)

    # Chunks

    def evaluate(
        self, observations: Tensor, actions: Tensor, first: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probabilities, entropies and values of a chunk, (T, N, n, ...).

        Args:
            observations: (T, N, n, d).
            actions: (T, N, n) or (T, N, n, d_a).
            first: (T, N) bool.
            hidden: (N, units), before the chunk.
        """
        features, values, _ = self.encode(observations, first, hidden)
        before = shifted(actions.flatten(0, 1), self.spec)
        before = before.view(*actions.shape[:3], -1).to(features.dtype)
        x = _tokens(self.embed_action(before))
        of = _tokens(features)
        memory = self.memory_of(hidden)
        decay = self._decay(first, is_ordered=True)
        for k, block in enumerate(self.decoder):
            x = block.chunk(x, of, decay, memory.own[:, k], memory.other[:, k])
        outputs = _steps(self.head(x), len(first))
        return *self.distribution.log_probs(outputs, actions), values

    def encode(
        self, observations: Tensor, first: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return features (T, N, n, E), values (T, N, n) and encoder states after the chunk."""
        x = _tokens(self.embed(self._with_ids(observations)))
        decay, states = self._decay(first, is_ordered=False), []
        for k, block in enumerate(self.encoder):
            x, state = block.chunk(x, decay, self.memory_of(hidden).encoder[:, k])
            states.append(state)
        features = _steps(x, len(first))
        return features, self.value_head(features)[..., 0], torch.stack(states, 1)

    # Steps

    def step(
        self,
        observations: Tensor,
        first: Tensor,
        hidden: Tensor,
        choose: Callable[[int, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Act for one step, agent by agent; return outputs, actions, values and the new memory.

        Args:
            observations: (N, n, d).
            first: (N,) bool.
            hidden: (N, units).
            choose: from an agent's number and outputs (N, A) to its action.
        """
        memory, spec = self.memory_of(hidden), self.spec
        x = self.embed(self._with_ids(observations))
        encoders = []
        for k, block in enumerate(self.encoder):
            x, state = block.step(x, first, memory.encoder[:, k])
            encoders.append(state)
        values = self.value_head(x)[..., 0]
        owns = [b.own.decayed(memory.own[:, k], first) for k, b in enumerate(self.decoder)]
        others = [b.other.decayed(memory.other[:, k], first) for k, b in enumerate(self.decoder)]
        size = () if spec.is_discrete else (spec.actions,)
        kind = torch.int64 if spec.is_discrete else observations.dtype
        actions = torch.zeros(*observations.shape[:2], *size, dtype=kind, device=x.device)
        rows = []
        for agent in range(spec.agents):
            before = shifted(actions[:, : agent + 1], spec)[:, agent:].to(x.dtype)
            y, of = self.embed_action(before), x[:, agent : agent + 1]
            for k, block in enumerate(self.decoder):
                y, owns[k], others[k] = block.step(y, of, owns[k], others[k])
            rows.append(self.head(y)[:, 0])
            actions[:, agent] = choose(agent, rows[-1])
        stacked = [torch.stack(of, 1) for of in (encoders, owns, others)]
        after = torch.stack(stacked, 1).flatten(1)
        return torch.stack(rows, 1), actions, values, after

    def _with_ids(self, observations: Tensor) -> Tensor:
        ids = torch.eye(self.spec.agents, dtype=observations.dtype, device=observations.device)
        return torch.cat([observations, ids.expand(*observations.shape[:-1], -1)], -1)

    def _decay(self, first: Tensor, *, is_ordered: bool) -> Decay:
        block = self.encoder[0]
        return Decay.of(first, self.spec.agents, block.retention.kappa, is_ordered)


class _EncoderBlock(nn.Module):
    def __init__(self, spec: TeamSpec, generator: torch.Generator) -> None:
        super().__init__()
        self.retention = Retention(spec.width, spec.heads, generator)
        self.norms = nn.ModuleList(nn.RMSNorm(spec.width) for _ in range(2))
        self.inner = _SwiGLU(spec.width, generator)

    def chunk(self, x: Tensor, decay: Decay, state: Tensor) -> tuple[Tensor, Tensor]:
        found, state = self.retention.chunk(x, x, x, decay, state)
        return self._rest(x, found), state

    def step(self, x: Tensor, first: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        found, state = self.retention.step(x, x, x, self.retention.decayed(state, first))
        return self._rest(x, found), state

    def _rest(self, x: Tensor, found: Tensor) -> Tensor:
        x = self.norms[0](x + found)
        return self.norms[1](x + self.inner(x))  # type: ignore[no-any-return]


class _DecoderBlock(nn.Module):
    def __init__(self, spec: TeamSpec, generator: torch.Generator) -> None:
        super().__init__()
        self.own = Retention(spec.width, spec.heads, generator)
        self.other = Retention(spec.width, spec.heads, generator)
        self.norms = nn.ModuleList(nn.RMSNorm(spec.width) for _ in range(3))
        self.inner = _SwiGLU(spec.width, generator)

    def chunk(
        self, x: Tensor, features: Tensor, decay: Decay, own: Tensor, other: Tensor
    ) -> Tensor:
        x = self.norms[0](x + self.own.chunk(x, x, x, decay, own)[0])
        return self._rest(features, self.other.chunk(features, x, x, decay, other)[0])

    def step(
        self, x: Tensor, features: Tensor, own: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        found, own = self.own.step(x, x, x, own)
        x = self.norms[0](x + found)
        found, other = self.other.step(features, x, x, other)
        return self._rest(features, found), own, other

    def _rest(self, features: Tensor, found: Tensor) -> Tensor:
        # the query and the residual are the encoder's features
        x = self.norms[1](features + found)
        return self.norms[2](x + self.inner(x))  # type: ignore[no-any-return]


class _SwiGLU(nn.Module):
    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        layers = []
        for _ in range(3):
            layers.append(nn.Linear(width, width, bias=False))
            nn.init.normal_(layers[-1].weight, std=width**-0.5, generator=generator)
        self.gate, self.widen, self.narrow = layers

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(functional.silu(self.gate(x)) * self.widen(x))  # type: ignore[no-any-return]


def _head(width: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    first = linear(width, width, generator, is_activated=True)
    return nn.Sequential(first, nn.GELU(), nn.RMSNorm(width), linear(width, outputs, generator))


def _tokens(x: Tensor) -> Tensor:
    """Return (N, T n, E) of (T, N, n, E)."""
    return x.transpose(0, 1).flatten(1, 2)


def _steps(x: Tensor, steps: int) -> Tensor:
    """Return (T, N, n, E) of (N, T n, E)."""
    return x.view(len(x), steps, -1, x.shape[-1]).transpose(0, 1)
