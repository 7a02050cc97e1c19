"""Multi-head attention (Vaswani et al. 2017), for any family of agents that attends."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.dropout import Dropout
from pkubench.agents.nn.networks import initialise


class KeyValues:
    """Keys and values of the tokens that one layer has processed; tokens are appended."""

    def __init__(self) -> None:
        """Start with no token."""
        self._room: Tensor | None = None
        self.length = 0
        """Number of tokens."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add tokens (B, H, n, D); return keys and values of all tokens, (B, H, length, D)."""
        end = self.length + key.shape[2]
        if self._room is None or end > self._room.shape[3]:
            # twice what is needed, so that tokens are moved a logarithmic number of times
            wider = key.new_empty(2, *key.shape[:2], 2 * end, key.shape[3])
            if self._room is not None:
                wider[:, :, :, : self.length] = self._room[:, :, :, : self.length]
            self._room = wider
        self._room[0, :, :, self.length : end] = key
        self._room[1, :, :, self.length : end] = value
        self.length = end
        return self._room[0, :, :, :end], self._room[1, :, :, :end]

    def select(self, rows: Tensor) -> None:
        """Keep the sequences ``rows`` (B',), repeated or left out."""
        if self._room is not None:
            self._room = self._room[:, rows]


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
        self.drop = Dropout(dropout)
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
        query, key, value = self._by_head(parts, 3)
        allowed = None if mask is None else mask.reshape(-1, 1, length, length)
        found = self._attended(query, key, value, allowed, is_causal and length > 1)
        return found.view(x.shape)

    def causal(
        self,
        x: Tensor,
        *,
        queries: slice | None = None,
        hidden: slice | None = None,
        before: KeyValues | None = None,
    ) -> Tensor:
        """Map (B, L, E) to (B, Q, E): no position attends to a later one.

        Args:
            x: the sequences.
            queries: the positions whose outputs are wanted; None: all, Q = L.
            hidden: the positions that nothing attends to, not even they themselves; never the first
                token of all.
            before: keys and values of the tokens before ``x``, to which those of ``x`` are added
                that are not hidden.
        """
        length, start = x.shape[1], 0 if before is None else before.length
        asking = range(length)[queries or slice(None)]
        if len(asking) == length:
            query, key, value = self._by_head(self.attend(x), 3)
        else:
            inner = self.heads * self.head_width
            weight, bias = self.attend.weight, self.attend.bias
            parts = functional.linear(x[:, queries], weight[:inner], bias[:inner])
            (query,) = self._by_head(parts, 1)
            parts = functional.linear(x, weight[inner:], bias[inner:])
            key, value = self._by_head(parts, 2)
        unseen = range(length)[hidden] if hidden is not None else range(0)
        if unseen:
            left = [k for k in range(length) if k not in unseen]
            shown = torch.tensor(left, dtype=torch.int64, device=x.device)
            key, value = key[:, :, shown], value[:, :, shown]
        if before is not None:
            key, value = before.append(key, value)
        if self.training and self.dropout:
            mask = causal_mask(asking, length, start, unseen).to(x.device)
            return self._attended_with_dropout(query, key, value, mask)
        if len(asking) == length > 1 and not start and not unseen:
            return self._attended(query, key, value, is_causal=True)
        if asking == range(length - 1, length):  # the last one attends to all that is shown
            return self._attended(query, key, value)
        mask = causal_mask(asking, length, start, unseen).to(x.device)
        return self._attended(query, key, value, mask)

    def _by_head(self, parts: Tensor, count: int) -> list[Tensor]:
        """Return (B, H, L, D) of each of ``count`` parts of (B, L, count * H * D)."""
        split = parts.view(*parts.shape[:2], count, self.heads, self.head_width)
        return [part.transpose(1, 2) for part in split.unbind(2)]

    def _attended_with_dropout(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor
    ) -> Tensor:
        """Attend by products, as the fused call does where it drops weights, with other draws."""
        scores = query @ key.mT
        bias = torch.zeros(mask.shape, dtype=scores.dtype, device=mask.device)
        bias.masked_fill_(~mask, -torch.inf)
        weights = torch.add(bias, scores, alpha=self.head_width**-0.5).softmax(-1)
        found = self.drop(weights) @ value
        mixed: Tensor = self.mix(found.transpose(1, 2).flatten(2))
        return mixed

    def _attended(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        found = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=is_causal,
        )
        mixed: Tensor = self.mix(found.transpose(1, 2).flatten(2))
        return mixed


@functools.lru_cache(maxsize=256)
def causal_mask(asking: range, length: int, start: int, unseen: range = range(0)) -> Tensor:
    """Return (Q, K) bool: which tokens the positions ``asking`` may attend to.

    Args:
        asking: positions among the ``length`` new tokens.
        length: number of new tokens.
        start: number of tokens before them.
        unseen: positions among the new tokens that have no key.
    """
    keys = [*range(-start, 0), *(k for k in range(length) if k not in unseen)]
    return torch.tensor(asking)[:, None] >= torch.tensor(keys, dtype=torch.int64)
