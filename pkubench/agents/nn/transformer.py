"""The causal transformer of the sequence models: GPT-2's blocks, normalised before each layer.

One module serves all of them, in three forms that give the same numbers (tests compare them): whole
sequences, whole sequences of which only some positions' outputs are wanted, and new tokens after
those whose keys and values are cached. What a token is, and where positions enter, is the model's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.attention import KeyValues, MultiHeadAttention
from pkubench.agents.nn.dropout import Dropout
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

MAX_LAYERS = 100
"""Bounds what a saved description can make a loader build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerSpec:
    """Shape of a transformer."""

    width: int
    layers: int
    heads: int
    activation: Literal["relu", "gelu"]
    dropout: float
    """Rate after the embedding, of attention weights and of each layer's output, in training."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("width", "heads", "layers"), shares=("dropout",))
        if self.layers > MAX_LAYERS:
            raise ConfigError(f"layers must be at most {MAX_LAYERS}, got {self.layers}")
        if self.width % self.heads:
            raise ConfigError(f"heads must divide width={self.width}, got {self.heads}")
        if self.activation not in ("relu", "gelu"):
            raise ConfigError(f"activation must be relu or gelu, got {self.activation!r}")

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return asdict(self)


class Transformer(nn.Module):
    """Causal blocks and a last LayerNorm, over embedded tokens.

    Weights are drawn from N(0, 0.02), biases are 0 (GPT-2; minGPT).
    """

    def __init__(self, spec: TransformerSpec, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.spec = spec
        self.blocks = nn.ModuleList(_Block(spec, generator) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.width)
        self.drop = Dropout(spec.dropout)

    def forward(
        self, x: Tensor, *, wanted: slice | None = None, hidden: slice | None = None
    ) -> Tensor:
        """Map tokens (B, L, E) to features (B, L', E).

        Args:
            x: embedded tokens. Sequences of different lengths are padded on the right, where
                nothing attends to the padding.
            wanted: the positions to return; the last block computes no others. None: all.
            hidden: the positions that nothing attends to.
        """
        x = self.drop(x)
        last = len(self.blocks) - 1
        for k, block in enumerate(self.blocks):
            x = block(x, queries=wanted if k == last else None, hidden=hidden)
        return self.norm(x)  # type: ignore[no-any-return]

    def extend(
        self,
        x: Tensor,
        cache: Cache,
        *,
        wanted: slice | None = None,
        hidden: slice | None = None,
    ) -> Tensor:
        """Map the tokens (B, n, E) that follow those in ``cache`` to features, and add them to it.

        Equal to ``forward`` of all tokens, as long as none of them has been dropped: the keys and
        values of later tokens depend on every earlier one.
        """
        last = len(self.blocks) - 1
        for k, block in enumerate(self.blocks):
            x = block(
                x, queries=wanted if k == last else None, hidden=hidden, before=cache.layers[k]
            )
        return self.norm(x)  # type: ignore[no-any-return]

    def cache(self) -> Cache:
        """Return a cache without tokens."""
        return Cache(len(self.blocks))


class Cache:
    """Keys and values of the tokens that a transformer has processed."""

    def __init__(self, layers: int) -> None:
        """Start with no token."""
        self.layers = [KeyValues() for _ in range(layers)]

    @property
    def length(self) -> int:
        """Number of tokens, without hidden ones."""
        return self.layers[0].length

    def select(self, rows: Tensor) -> None:
        """Keep the sequences ``rows`` (B',), repeated or left out."""
        for layer in self.layers:
            layer.select(rows)


class _Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``."""

    def __init__(self, spec: TransformerSpec, generator: torch.Generator) -> None:
        super().__init__()
        width = spec.width
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = MultiHeadAttention(width, spec.heads, generator, dropout=spec.dropout)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.activate = functional.relu if spec.activation == "relu" else functional.gelu
        self.drop = Dropout(spec.dropout)
        for linear in (self.attention.attend, self.attention.mix, self.widen, self.narrow):
            nn.init.normal_(linear.weight, std=0.02, generator=generator)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        x: Tensor,
        queries: slice | None = None,
        hidden: slice | None = None,
        before: KeyValues | None = None,
    ) -> Tensor:
        found = self.attention.causal(
            self.norms[0](x), queries=queries, hidden=hidden, before=before
        )
        x = (x if queries is None else x[:, queries]) + self.drop(found)
        inner = self.activate(self.widen(self.norms[1](x)))
        return x + self.drop(self.narrow(inner))  # type: ignore[no-any-return]
