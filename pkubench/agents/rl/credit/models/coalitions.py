"""Coalitions that an agent's marginal contribution is averaged over: drawn, or all of them.

Row i of a coalition matrix is the coalition that agent i joins, i included. Three distributions:

* ``permutation``: those before i in a random order, whose averages are Shapley values;
* ``bernoulli``: every other agent with probability 1/2, whose averages are Banzhaf values (STAS's
  code);
* ``stratified``: one coalition C of a uniform size for all agents, of which those outside of it are
  alone (TAR2's code).

With two agents the first two are the same.
"""

from __future__ import annotations

from math import comb, factorial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Sampler = Literal["permutation", "bernoulli", "stratified"]
MAX_ENUMERATED = 6
"""Most agents whose coalitions are enumerated in evaluation."""
SEEDED = 64
"""Coalitions in evaluation of larger teams, from a fixed seed."""


class Coalitions(NamedTuple):
    """M coalitions of each of n agents, and their weights."""

    members: Tensor
    """(M, n, n) float, 1 for members; ones on the diagonal."""
    weights: Tensor
    """(M, n): of agent i's m-th coalition; columns sum to 1."""

    def to(self, device: torch.device | str) -> Coalitions:
        """Return them on a device."""
        return Coalitions(self.members.to(device), self.weights.to(device))


def drawn(sampler: Sampler, n: int, count: int, generator: torch.Generator) -> Coalitions:
    """Return ``count`` random coalitions of each of n agents, equally weighted."""
    own = torch.eye(n)
    if sampler == "bernoulli":
        members = (torch.rand(count, n, n, generator=generator) < 0.5).float()
    else:
        ranks = torch.rand(count, n, generator=generator).argsort(1).argsort(1)
        if sampler == "permutation":
            members = (ranks[:, None, :] < ranks[:, :, None]).float()
        else:
            sizes = torch.randint(n + 1, (count, 1), generator=generator)
            chosen = (ranks < sizes).float()
            members = chosen[:, :, None] * chosen[:, None, :]
    return Coalitions(torch.maximum(members, own), torch.full((count, n), 1.0 / count))


def enumerated(sampler: Sampler, n: int) -> Coalitions:
    """Return all 2^(n - 1) coalitions of each of n agents with their probabilities."""
    by_size = torch.tensor([_probability(sampler, n, size) for size in range(n)])
    codes = torch.arange(1 << (n - 1))
    bits = (codes[:, None] >> torch.arange(n - 1)) & 1  # of the other agents, in order
    members = torch.ones(len(codes), n, n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        members[:, i, others] = bits.float()
    return Coalitions(members, by_size[bits.sum(1)][:, None].repeat(1, n))


def for_evaluation(sampler: Sampler, n: int) -> Coalitions:
    """Return coalitions that are the same in every call: all of them, or many from a fixed seed."""
    if n <= MAX_ENUMERATED:
        return enumerated(sampler, n)
    return drawn(sampler, n, SEEDED, torch.Generator().manual_seed(0))


def for_training(
    sampler: Sampler, n: int, count: int, generator: torch.Generator
) -> Coalitions | None:
    """Return ``count`` random coalitions; None where that many are no fewer than all."""
    if n <= MAX_ENUMERATED and 1 << (n - 1) <= count:
        return None
    return drawn(sampler, n, count, generator)


def _probability(sampler: Sampler, n: int, size: int) -> float:
    """Return that of one coalition of an agent with ``size`` others."""
    if sampler == "permutation":
        return factorial(size) * factorial(n - size - 1) / factorial(n)
    if sampler == "bernoulli":
        return float(0.5 ** (n - 1))
    together = 1.0 / ((n + 1) * comb(n, size + 1))
    return together + (0.5 if size == 0 else 0.0)  # half of the time C is without the agent
