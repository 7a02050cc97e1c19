"""Multi-head attention (Vaswani et al. 2017), for any family of agents that attends."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.networks import initialise


class MultiHeadAttention(nn.Module):
    """Self-attention over the second last axis: one product for Q, K and V, and one fused call."""

    def __init__(
        self,
        width: int,
        heads: int,
        generator: torch.Generator,
        *,
        head_width: int | None = None,
        has_bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """Build and initialise from ``generator`` alone.

        Args:
            width: E, of inputs and outputs.
            heads: H.
            generator: source of the initial weights (torch's own for linear layers).
            head_width: D, of one head's queries, keys and values; None: E / H.
            has_bias: whether Q, K and V have one; the output always has.
            dropout: rate, of attention weights in training.
        """
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.head_width = width // heads if head_width is None else head_width
        inner = heads * self.head_width
        self.attend = nn.Linear(width, 3 * inner, bias=has_bias)
        self.mix = nn.Linear(inner, width)
        for linear in (self.attend, self.mix):
            initialise(linear, "kaiming", 1.0, generator)

    def forward(self, x: Tensor, mask: Tensor | None = None, *, is_causal: bool = False) -> Tensor:
        """Map (..., L, E) to (..., L, E).

        Args:
            x: the sequences.
            mask: (..., 1, L, L) float, added to the scores of all heads.
            is_causal: no position attends to a later one; without a ``mask``.
        """
        length = x.shape[-2]
        parts = self.attend(x.reshape(-1, *x.shape[-2:]))  # fused kernels take four axes
        parts = parts.unflatten(-1, (3, self.heads, self.head_width))
        query, key, value = (part.transpose(1, 2) for part in parts.unbind(2))
        found = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if mask is None else mask.reshape(-1, 1, length, length),
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=is_causal and length > 1,
        )
        mixed: Tensor = self.mix(found.transpose(1, 2).flatten(2))
        return mixed.view(x.shape)
