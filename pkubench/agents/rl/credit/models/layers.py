"""Layers of STAS and TAR2: tokens, attention over time, attention over coalitions of agents."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.attention import MultiHeadAttention
from pkubench.agents.nn.networks import initialise
from pkubench.agents.rl.credit.episodes import Layout
from pkubench.agents.rl.credit.models.base import Batch
from pkubench.agents.rl.credit.models.coalitions import Coalitions

MASKED = -1e9
"""Score of a masked position, as in the original code."""
LARGEST = 60.0
"""Scores exceed an agent's score of itself by this at most: e^60 is still a float32."""
FEW = 3
"""Most agents whose pairs are multiplied number by number, which is faster than matrix products of
two or three rows."""


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with torch's own initial weights, from ``generator``."""
    layer = nn.Linear(inputs, outputs)
    initialise(layer, "kaiming", 1.0, generator)
    return layer


def table(rows: int, width: int, generator: torch.Generator) -> nn.Parameter:
    """Return an embedding table with torch's own initial weights, N(0, 1)."""
    return nn.Parameter(torch.randn(rows, width, generator=generator))


class Tokens(nn.Module):
    """``x_t^i = W o_t^i + embedding(a_t^i) + position(t)``, shared by all agents."""

    def __init__(self, layout: Layout, width: int, generator: torch.Generator) -> None:
        """Build for a team's episodes; a discrete action is a row of a table, a box is mapped."""
        super().__init__()
        self.observe = linear(layout.observation, width, generator)
        self.is_discrete = layout.is_discrete
        self.padding = 0
        """The discrete action of steps behind the end, where they are attended to at all."""
        if layout.is_discrete:
            # the last row is that of padding, in the original code
            self.actions = table(layout.actions + 1, width, generator)
        else:
            self.act = linear(layout.actions, width, generator)
        self.positions = table(layout.horizon, width, generator)

    def acted(self, actions: Tensor) -> Tensor:
        """Return embeddings of actions, (..., E)."""
        if self.is_discrete:
            return functional.embedding(actions, self.actions)
        return self.act(actions)  # type: ignore[no-any-return]

    def forward(self, batch: Batch) -> Tensor:
        """Return tokens (B, n, L, E)."""
        length = batch.actions.shape[2]
        seen: Tensor = self.observe(batch.observations[:, :, :length])
        actions = batch.actions
        if self.padding:
            actions = actions.masked_fill(~batch.valid[:, None], self.padding)
        return seen + self.acted(actions) + self.positions[:length]


class TimeLayer(nn.Module):
    """``u = attention(x); h = norm(x + u); y = norm(f(h) + 2 u)`` over an agent's steps.

    The second residual is u twice, not h, as in the original code; f is E -> E -> E with GELU.
    """

    def __init__(self, width: int, heads: int, dropout: float, generator: torch.Generator) -> None:
        """Build and initialise from ``generator``."""
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, generator, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-12) for _ in range(2))
        self.inner, self.outer = (linear(width, width, generator) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (..., L, E) to (..., L, E); causal, unless there is a mask (see the attention)."""
        u = self.dropout(self.attention(x, mask, is_causal=mask is None))
        h = self.norms[0](x + u)
        f = self.dropout(self.outer(functional.gelu(self.inner(h))))
        return self.norms[1](f + 2.0 * u)  # type: ignore[no-any-return]


class CoalitionLayer(nn.Module):
    """Attention over the agents of a step, averaged over coalitions that each agent sees.

    Agent i has its own map of queries; keys, values and outputs are shared. All coalitions share
    one set of scores, so that an average over M of them is two small products: with
    e_ij = exp(s_ij - s_ii) and the coalition matrices c, the mean of the masked softmaxes is
    ``p_ij = e_ij sum_m w_mi c_mij / sum_k c_mik e_ik``, and values and outputs, which are linear,
    are computed once.
    """

    def __init__(
        self, width: int, heads: int, agents: int, dropout: float, generator: torch.Generator
    ) -> None:
        """Build and initialise from ``generator``."""
        super().__init__()
        self.heads, self.width, self.rate = heads, width, dropout
        queries = [linear(width, width, generator) for _ in range(agents)]
        self.query = nn.Parameter(torch.stack([q.weight.detach().T for q in queries]))
        self.query_bias = nn.Parameter(torch.stack([q.bias.detach() for q in queries]))
        self.key_value = linear(width, 2 * width, generator)
        self.out = linear(width, width, generator)
        self.agents = table(agents, width, generator)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, coalitions: Coalitions, order: Tensor | None = None) -> Tensor:
        """Map (B, n, L, E) to (B, n, L, E).

        Args:
            x: tokens.
            coalitions: the same for all episodes and steps.
            order: (n,), whose embedding each agent gets; None: its own.
        """
        batch, number, length, width = x.shape
        named = self.agents if order is None else self.agents[order]
        by_agent = (x + named[:, None]).transpose(0, 1).reshape(number, -1, width)
        query = torch.baddbmm(self.query_bias[:, None], by_agent, self.query)
        maps = zip(self.key_value.weight.chunk(2), self.key_value.bias.chunk(2), strict=True)
        key, value = (functional.linear(by_agent, *of) for of in maps)
        q, k, v = (
            part.view(number, -1, self.heads, width // self.heads) for part in (query, key, value)
        )
        is_dropped = self.training and self.rate > 0.0
        attend = self._by_pairs if number <= FEW and not is_dropped else self._by_products
        mixed = self.dropout(self.out(attend(q, k, v, coalitions).flatten(-2)))
        return mixed.unflatten(1, (batch, length)).transpose(0, 1)  # type: ignore[no-any-return]

    def _by_pairs(self, query: Tensor, key: Tensor, value: Tensor, of: Coalitions) -> Tensor:
        """Return the mean attention over coalitions, (n, B L, H, D) like the arguments."""
        scores = (query[:, None] * key).sum(-1) / math.sqrt(key.shape[-1])  # (n, n, B L, H)
        own = scores.diagonal(dim1=0, dim2=1).movedim(-1, 0)[:, None]
        e = (scores - own).clamp(max=LARGEST).exp()
        members, flat = of.members.transpose(0, 1), e.flatten(2)  # (n, M, n), (n, n, B L H)
        sums = members @ flat  # (n, M, B L H)
        share = members.transpose(1, 2) @ (of.weights.T[..., None] / sums)  # (n, n, B L H)
        return ((flat * share).view_as(e)[..., None] * value).sum(1)

    def _by_products(self, query: Tensor, key: Tensor, value: Tensor, of: Coalitions) -> Tensor:
        """Return what ``_by_pairs`` does, with matrix products of all agents of a step."""
        q, k, v = (part.permute(1, 2, 0, 3) for part in (query, key, value))  # (B L, H, n, D)
        scores = q @ k.transpose(-1, -2) / math.sqrt(k.shape[-1])
        return (self._averaged(scores, of) @ v).permute(2, 0, 1, 3)

    def _averaged(self, scores: Tensor, coalitions: Coalitions) -> Tensor:
        """Return the mean over coalitions of attention weights (B L, H, n, n)."""
        members, weights = coalitions
        own = scores.diagonal(dim1=-2, dim2=-1)[..., None]
        e = (scores - own).clamp(max=LARGEST).exp()
        if self.training and self.rate:  # each coalition's weights are dropped on their own
            e = e[..., None, :, :] * members
            p = functional.dropout(e / e.sum(-1, keepdim=True), self.rate)
            return (p * weights[..., None]).sum(-3)
        by_agent = e.movedim(-2, 0)  # (n, B L, H, n)
        sums = by_agent.flatten(1, 2) @ members.permute(1, 2, 0)  # (n, B L H, M)
        share = (weights.T[:, None] / sums) @ members.transpose(0, 1)  # (n, B L H, n)
        return e * share.view_as(by_agent).movedim(0, -2)


def mixed_up_mask(batch: Batch) -> Tensor:
    """Return the additive time mask of the original code, (B, n, 1, L, L).

    The masks of the B episodes are repeated n times as a block, whereas tokens are ordered episode
    by episode: with unequal lengths an agent gets another episode's mask, and a step that is
    masked as a query attends to all steps, later ones included.
    """
    count, number, length = batch.actions.shape[:3]
    valid = batch.valid.float()
    allowed = (valid[:, :, None] * valid[:, None, :]).tril()
    rows = allowed.repeat(number, 1, 1).view(count, number, 1, length, length)
    return (1.0 - rows) * MASKED
