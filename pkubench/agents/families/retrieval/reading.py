"""Reading the memory: a value and a confidence for each query.

``V_mem = sum_i a_i v_i`` and ``lambda = max_i a_i``, with weights ``a`` over the slots by attention
(``softmax(q . k_i)``) or by the kernel of Neural Episodic Control. Where no slot can be read, both
are 0.
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
    scale = 1.0 / math.sqrt(queries.shape[1]) if retriever.scale == "sqrt" else 1.0
    logits = queries @ keys.t() * scale
    if allowed is None:
        found = torch.ones(len(queries), dtype=torch.bool, device=queries.device)
        weights = logits.softmax(1)
    else:
        found = allowed.any(1)
        # a row without a slot would be 0 / 0, and its gradient NaN
        weights = logits.masked_fill(~allowed & found[:, None], -math.inf).softmax(1)
        weights = weights * found[:, None]
    if retriever.gradient == "none":
        weights = weights.detach()
    confidence = weights.amax(1) if retriever.gradient == "all" else weights.detach().amax(1)
    return Read(weights @ values, confidence, found)


@torch.no_grad()
def nearest(
    queries: Tensor, keys: Tensor, values: Tensor, retriever: KernelRetriever, allowed: Tensor
) -> Read:
    """Read the nearest allowed slots by the kernel ``1 / (distance^2 + delta)``; no gradients.

    The shapes are those of :func:`attend`.
    """
    exact = "donot_use_mm_for_euclid_dist"  # which is not 0 between equal features
    distance = torch.cdist(queries, keys, compute_mode=exact)
    kernel = 1.0 / (distance.square() + retriever.delta)
    kernel = kernel.masked_fill(~allowed, 0.0)
    best, slots = kernel.topk(min(retriever.neighbours, len(keys)), 1)
    weights = best / best.sum(1, keepdim=True).clamp(min=1e-30)
    return Read((weights * values[slots]).sum(1), weights.amax(1), allowed.any(1))
