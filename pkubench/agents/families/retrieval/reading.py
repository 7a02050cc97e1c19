"""Reading the memory: a value and a confidence for each query.

``V_mem = sum_i a_i v_i`` and ``lambda = max_i a_i``, with weights ``a`` over the slots by attention
(``softmax(q . k_i)``) or by the kernel of Neural Episodic Control; the oracle reads the one slot
that is best. Where no slot can be read, both are 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pkubench.agents.families.retrieval.retrievers import AttentionRetriever, KernelRetriever


class Read(NamedTuple):
    """What a memory says of queries, (B,) each."""

    value: Tensor
    """V_mem."""
    confidence: Tensor
    """lambda in [0, 1], before any floor."""
    found: Tensor
    """bool: some slot could be read."""


class Optima(NamedTuple):
    """What is exactly right in some states, (n,) each; only the oracle knows it."""

    values: Tensor
    """V*."""
    actions: Tensor
    """uint8, the optimal actions as bits."""


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    retriever: AttentionRetriever,
    allowed: Tensor | None = None,
) -> Read:
    """Read slots by soft attention.

    Args:
        queries: (B, d).
        keys: (S, d).
        values: (S,).
        retriever: its scale, and which gradients are kept.
        allowed: (B, S) bool, the slots that a query may read; None: all.
    """
    weights, found = attention(queries, keys, retriever, allowed)
    if retriever.gradient == "none":
        weights = weights.detach()
    confidence = weights.amax(1) if retriever.gradient == "all" else weights.detach().amax(1)
    return Read(weights @ values, confidence, found)


def attention(
    queries: Tensor, keys: Tensor, retriever: AttentionRetriever, allowed: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return weights (B, S), and whether some slot could be read (B,); see :func:`attend`."""
    logits = queries @ keys.t()
    if retriever.scale == "sqrt":
        logits = logits * (1.0 / math.sqrt(queries.shape[1]))
    if allowed is None:
        found = torch.ones(len(queries), dtype=torch.bool, device=queries.device)
        return logits.softmax(1), found
    found = allowed.any(1)
    # a row without a slot would be 0 / 0, and its gradient NaN
    weights = logits.masked_fill(~allowed & found[:, None], -math.inf).softmax(1)
    return weights * found[:, None], found


@torch.no_grad()
def nearest(
    queries: Tensor, keys: Tensor, values: Tensor, retriever: KernelRetriever, allowed: Tensor
) -> Read:
    """Read the nearest allowed slots by the kernel ``1 / (distance^2 + delta)``; no gradients.

    The shapes are those of :func:`attend`.
    """
    weights, slots = kernel_weights(queries, keys, retriever, allowed)
    return Read((weights * values[slots]).sum(1), weights.amax(1), allowed.any(1))


def kernel_weights(
    queries: Tensor, keys: Tensor, retriever: KernelRetriever, allowed: Tensor
) -> tuple[Tensor, Tensor]:
    """Return weights and slots (B, k) of the nearest allowed slots; see :func:`nearest`."""
    exact = "donot_use_mm_for_euclid_dist"  # the other way is not 0 between equal features
    distance = torch.cdist(queries, keys, compute_mode=exact)
    kernel = 1.0 / (distance.square() + retriever.delta)
    kernel = kernel.masked_fill(~allowed, 0.0)
    best, slots = kernel.topk(min(retriever.neighbours, len(keys)), 1)
    return best / best.sum(1, keepdim=True).clamp(min=1e-30), slots


@torch.no_grad()
def best(asked: Optima, known: Optima, values: Tensor) -> Read:
    """Read the slot of the nearest V* that shares an optimal action, with confidence 1.

    Args:
        asked: of the queries (B,).
        known: of the slots (S,).
        values: (S,).
    """
    shares = (asked.actions[:, None] & known.actions) != 0
    away = (asked.values[:, None] - known.values).abs().masked_fill(~shares, math.inf)
    found = shares.any(1)
    return Read(values[away.argmin(1)] * found, found.to(values.dtype), found)
