"""The torch modules of moderators: from a reader's arrays to a logit for each label."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.families.moderation.models.transformer import PADDING
from pkubench.agents.nn.attention import MultiHeadAttention

_STD = 0.02
"""Of initial weights (GPT-2)."""


class WeightedTerms(nn.Module):
    """A linear model of sparse rows: the sum of weight x row of the term, and a bias."""

    def __init__(self, terms: int, labels: int) -> None:
        """Start at 0; term 0 stays there, it is padding."""
        super().__init__()
        self.table = nn.Embedding(terms + 1, labels, padding_idx=0)
        nn.init.zeros_(self.table.weight)
        self.bias = nn.Parameter(torch.zeros(labels))

    def forward(self, terms: Tensor, weights: Tensor) -> Tensor:
        """Map (n, k) terms and their weights to (n, labels)."""
        found: Tensor = (self.table(terms) * weights[..., None]).sum(1) + self.bias
        return found


class LinearHead(nn.Module):
    """A linear model of features, which are centred and scaled by those of the training set."""

    def __init__(self, features: int, labels: int) -> None:
        """Start at 0."""
        super().__init__()
        self.linear = nn.Linear(features, labels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.centre: Tensor
        self.scale: Tensor
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def standardise(self, features: Tensor) -> None:
        """Take centre and scale of the training set (n, features)."""
        self.centre.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp_min(1e-6))

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, features) to (n, labels)."""
        found: Tensor = self.linear((features - self.centre) / self.scale)
        return found


class PairTransformer(nn.Module):
    """Words of all texts attend to each other; the last token is mapped to the labels."""

    def __init__(
        self,
        *,
        tokens: int,
        positions: int,
        labels: int,
        width: int,
        layers: int,
        heads: int,
        generator: torch.Generator,
    ) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.words = nn.Embedding(tokens, width, padding_idx=PADDING)
        self.positions = nn.Embedding(positions, width)
        self.parts = nn.Embedding(2, width)
        self.blocks = nn.ModuleList(_Block(width, heads, generator) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, labels)
        for table in (self.words, self.positions, self.parts):
            nn.init.normal_(table.weight, std=width**-0.5, generator=generator)
        nn.init.normal_(self.head.weight, std=_STD, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, positions: Tensor, parts: Tensor) -> Tensor:
        """Map (n, k) tokens, their positions and parts to (n, labels)."""
        is_word = tokens != PADDING
        length = int(is_word.sum(1).max())
        tokens, is_word = tokens[:, :length], is_word[:, :length]
        x = self.words(tokens) + self.positions(positions[:, :length])
        x = x + self.parts(parts[:, :length])
        mask = torch.zeros_like(is_word, dtype=x.dtype).masked_fill_(~is_word, -torch.inf)
        mask = mask[:, None, None, :].expand(-1, 1, length, length)
        for block in self.blocks:
            x = block(x, mask)
        last = is_word.sum(1) - 1
        found: Tensor = self.head(self.norm(x[torch.arange(len(x), device=x.device), last]))
        return found


class _Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``."""

    def __init__(self, width: int, heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = MultiHeadAttention(width, heads, generator)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for linear in (self.widen, self.narrow):
            nn.init.normal_(linear.weight, std=_STD, generator=generator)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norms[0](x), mask)
        inner = functional.gelu(self.widen(self.norms[1](x)))
        return x + self.narrow(inner)  # type: ignore[no-any-return]
