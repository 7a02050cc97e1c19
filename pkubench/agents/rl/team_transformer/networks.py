"""The Multi-Agent Transformer's networks (Wen et al., NeurIPS 2022; PKU-MARL code).

One step of a team is a sequence over its agents. The encoder attends to all agents and has no
identities, so that permuting agents permutes its outputs; the decoder reads the actions of the
agents before. Blocks are normalised after each layer.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.distributions import Categorical, DiagonalGaussian
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

GAIN = 0.01
"""Of the orthogonal initial weights of layers that no activation follows."""
MAX_LAYERS = 100
"""Bounds what a saved description can make a loader build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamSpec:
    """Shape of the networks of a team."""

    agents: int
    observations: int
    """Numbers of an agent's observation."""
    actions: int
    """Dimensions of an agent's action, or number of discrete actions."""
    is_discrete: bool
    width: int
    layers: int
    heads: int
    is_decentralised: bool
    shared: bool
    has_memory: bool = False
    """Whether it is Sable's network."""

    def __post_init__(self) -> None:
        """Check the domains."""
        sizes = ("agents", "observations", "actions", "width", "layers", "heads")
        check_domains(self, at_least_one=sizes)
        if self.width % self.heads or self.layers > MAX_LAYERS:
            raise ConfigError(
                f"no transformer has width {self.width}, {self.heads} heads and "
                f"{self.layers} layers"
            )
        if self.has_memory and self.is_decentralised:
            raise ConfigError("a team with a memory acts together: it is not decentralised")

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return asdict(self)


class TeamTransformer(nn.Module):
    """Values and action distributions of all agents."""

    def __init__(self, spec: TeamSpec, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec, generator)
        self.decoder = None if spec.is_decentralised else Decoder(spec, generator)
        count = 0 if not spec.is_decentralised else 1 if spec.shared else spec.agents
        self.actors = nn.ModuleList(Actor(spec, generator) for _ in range(count))
        self.distribution = TeamHead(spec)

    def values(self, observations: Tensor) -> Tensor:
        """Return each agent's value (B, n) of observations (B, n, d)."""
        return self.encoder(observations)[1]  # type: ignore[no-any-return]

    def evaluate(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what an update needs of B steps, in one parallel pass.

        Args:
            observations: (B, n, d).
            actions: (B, n) int64 or (B, n, d_a).

        Returns:
            Log-probabilities (B, n, 1), or of each dimension (B, n, d_a); entropies (B, n); values
            (B, n).
        """
        features, values = self.encoder(observations)
        if self.decoder is None:
            outputs = self._local(observations)
        else:
            outputs = self.decoder(features, shifted(actions, self.spec))
        return *self.distribution.log_probs(outputs, actions), values

    @torch.no_grad()
    def act(self, observations: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample actions, agent by agent; return them and their log-probabilities, as above."""

        def sample(agent: int, outputs: Tensor) -> Tensor:
            return self.distribution.sample(outputs, generator)

        outputs, actions = self.one_by_one(observations, sample)
        return actions, self.distribution.log_probs(outputs, actions)[0]

    def one_by_one(self, observations: Tensor, choose: Any) -> tuple[Tensor, Tensor]:
        """Return outputs (B, n, A) and actions where agents act in order.

        ``choose(agent, outputs)`` returns the action (B,) or (B, d_a) of an agent; later agents are
        given it as it is, before any clipping.
        """
        batch, agents, spec = len(observations), self.spec.agents, self.spec
        shape = (batch, agents) if spec.is_discrete else (batch, agents, spec.actions)
        kind = torch.int64 if spec.is_discrete else observations.dtype
        actions = torch.zeros(shape, dtype=kind, device=observations.device)
        if self.decoder is None:
            outputs = self._local(observations)
            for agent in range(agents):
                actions[:, agent] = choose(agent, outputs[:, agent])
            return outputs, actions
        features, _ = self.encoder(observations)
        rows = []
        for agent in range(agents):
            before = shifted(actions[:, : agent + 1], spec)
            rows.append(self.decoder(features[:, : agent + 1], before)[:, agent])
            actions[:, agent] = choose(agent, rows[-1])
        return torch.stack(rows, 1), actions

    def _local(self, observations: Tensor) -> Tensor:
        """Return the outputs (B, n, A) of decentralised actors."""
        if self.spec.shared:
            return self.actors[0](observations)  # type: ignore[no-any-return]
        return torch.stack([of(observations[:, k]) for k, of in enumerate(self.actors)], 1)


class TeamHead(nn.Module):
    """Action distributions: categorical, or normal with a deviation that all states share."""

    def __init__(self, spec: TeamSpec) -> None:
        """Start at a deviation of 0.5 sigmoid(1)."""
        super().__init__()
        self.is_discrete = spec.is_discrete
        self.log_std = None if spec.is_discrete else nn.Parameter(torch.ones(spec.actions))

    def std(self) -> Tensor:
        """Return the standard deviations (d_a,)."""
        assert self.log_std is not None
        return 0.5 * torch.sigmoid(self.log_std)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions (B,) or (B, d_a) of outputs (B, A)."""
        if self.is_discrete:
            return Categorical.from_logits(outputs).sample(generator)
        return DiagonalGaussian(outputs, self.std()).sample(generator)

    def log_probs(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (..., 1) or (..., d_a), and entropies (...)."""
        if self.is_discrete:
            log_p = outputs.log_softmax(-1)
            entropy = -(log_p.exp() * log_p).sum(-1)
            return log_p.gather(-1, actions.unsqueeze(-1)), entropy
        std = self.std()
        z = (actions - outputs) / std
        constant = 0.5 * math.log(2.0 * math.pi)
        entropy = (std.log() + constant + 0.5).sum().expand(outputs.shape[:-1])
        return -0.5 * z * z - std.log() - constant, entropy


class Encoder(nn.Module):
    """Features (B, n, E) and values (B, n) of all agents' observations."""

    def __init__(self, spec: TeamSpec, generator: torch.Generator) -> None:
        """Build and initialise."""
        super().__init__()
        width = spec.width
        self.embed = nn.Sequential(
            nn.LayerNorm(spec.observations),
            linear(spec.observations, width, generator, is_activated=True),
            nn.GELU(),
            nn.LayerNorm(width),
        )
        self.blocks = nn.ModuleList(_Block(spec, generator) for _ in range(spec.layers))
        self.head = _head(width, 1, generator)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, n, d) to features and values."""
        x = self.embed(observations)
        for block in self.blocks:
            x = block(x)
        return x, self.head(x)[..., 0]


class Decoder(nn.Module):
    """Outputs (B, n, A) of agents, each given the actions of those before it."""

    def __init__(self, spec: TeamSpec, generator: torch.Generator) -> None:
        """Build and initialise."""
        super().__init__()
        width, inputs = spec.width, spec.actions + spec.is_discrete
        self.embed = nn.Sequential(
            linear(inputs, width, generator, is_activated=True, has_bias=not spec.is_discrete),
            nn.GELU(),
            nn.LayerNorm(width),
        )
        self.blocks = nn.ModuleList(_DecoderBlock(spec, generator) for _ in range(spec.layers))
        self.head = _head(width, spec.actions, generator)

    def forward(self, features: Tensor, before: Tensor) -> Tensor:
        """Return outputs (B, n, A) given features (B, n, E) and shifted actions (B, n, inputs)."""
        x = self.embed(before.to(features.dtype))
        for block in self.blocks:
            x = block(x, features)
        return self.head(x)  # type: ignore[no-any-return]


class Actor(nn.Sequential):
    """A decentralised actor: from an agent's own observation to its outputs."""

    def __init__(self, spec: TeamSpec, generator: torch.Generator) -> None:
        """Build and initialise."""
        width = spec.width
        super().__init__(
            nn.LayerNorm(spec.observations),
            linear(spec.observations, width, generator, is_activated=True),
            nn.GELU(),
            nn.LayerNorm(width),
            linear(width, width, generator, is_activated=True),
            nn.GELU(),
            nn.LayerNorm(width),
            linear(width, spec.actions, generator),
        )


def shifted(actions: Tensor, spec: TeamSpec) -> Tensor:
    """Return the decoder's inputs (B, n, inputs): the action of the agent before.

    Discrete actions are one-hot after a column of their own for the first agent, which has none
    before it; continuous ones are zeros there.
    """
    if not spec.is_discrete:
        return torch.cat([torch.zeros_like(actions[:, :1]), actions[:, :-1]], 1)
    one_hot = functional.one_hot(actions[:, :-1], spec.actions)
    before = functional.pad(one_hot, (1, 0, 1, 0)).to(torch.get_default_dtype())
    before[:, 0, 0] = 1.0
    return before


class _Attention(nn.Module):
    def __init__(self, spec: TeamSpec, generator: torch.Generator, is_masked: bool) -> None:
        super().__init__()
        self.heads, self.is_masked = spec.heads, is_masked
        layers = [linear(spec.width, spec.width, generator) for _ in range(4)]
        self.query, self.key, self.value, self.mix = layers

    def forward(self, query: Tensor, other: Tensor) -> Tensor:
        parts = (self.query(query), self.key(other), self.value(other))
        q, k, v = (part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in parts)
        is_causal = self.is_masked and query.shape[1] > 1
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        return self.mix(found.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, spec: TeamSpec, generator: torch.Generator) -> None:
        super().__init__()
        self.attention = _Attention(spec, generator, is_masked=False)
        self.norms = nn.ModuleList(nn.LayerNorm(spec.width) for _ in range(2))
        self.inner = _inner(spec.width, generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](x + self.attention(x, x))
        return self.norms[1](x + self.inner(x))  # type: ignore[no-any-return]


class _DecoderBlock(nn.Module):
    def __init__(self, spec: TeamSpec, generator: torch.Generator) -> None:
        super().__init__()
        self.own = _Attention(spec, generator, is_masked=True)
        self.other = _Attention(spec, generator, is_masked=True)
        self.norms = nn.ModuleList(nn.LayerNorm(spec.width) for _ in range(3))
        self.inner = _inner(spec.width, generator)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        x = self.norms[0](x + self.own(x, x))
        # the residual is of the encoder's features, as in the official code
        x = self.norms[1](features + self.other(features, x))
        return self.norms[2](x + self.inner(x))  # type: ignore[no-any-return]


def _inner(width: int, generator: torch.Generator) -> nn.Sequential:
    first = linear(width, width, generator, is_activated=True)
    return nn.Sequential(first, nn.GELU(), linear(width, width, generator))


def _head(width: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    first = linear(width, width, generator, is_activated=True)
    last = linear(width, outputs, generator)
    return nn.Sequential(first, nn.GELU(), nn.LayerNorm(width), last)


def linear(
    inputs: int,
    outputs: int,
    generator: torch.Generator,
    *,
    is_activated: bool = False,
    has_bias: bool = True,
) -> nn.Linear:
    """Return a layer with orthogonal weights, of a small gain where no activation follows."""
    made = nn.Linear(inputs, outputs, bias=has_bias)
    gain = math.sqrt(2.0) if is_activated else GAIN
    nn.init.orthogonal_(made.weight, gain=gain, generator=generator)
    if has_bias:
        nn.init.zeros_(made.bias)
    return made
