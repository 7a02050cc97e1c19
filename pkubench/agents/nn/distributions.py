"""Action distributions as small value objects over torch tensors; batch on axis 0.

``log_prob``, ``entropy`` and ``kl`` are summed over action dimensions: one number per sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, slots=True)
class Categorical:
    """Over ``n`` actions; ``log_p`` (B, n) are normalised log-probabilities."""

    log_p: Tensor

    @staticmethod
    def from_logits(logits: Tensor, mask: Tensor | None = None) -> Categorical:
        """Normalise ``logits`` (B, n); actions with ``mask`` 0 get probability 0."""
        if mask is not None:
            logits = logits.masked_fill(mask == 0, -1e10)
        return Categorical(torch.log_softmax(logits, dim=-1))

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw (B,) int64 actions (Gumbel-max: one pass, no cumulative sums)."""
        noise = _empty(self.log_p, generator).exponential_(generator=generator).log_()
        return (self.log_p - noise.to(self.log_p.device)).argmax(dim=-1)

    def mode(self) -> Tensor:
        """Return the most likely actions, (B,)."""
        return self.log_p.argmax(dim=-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log pi(a), (B,)."""
        return self.log_p.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (B,)."""
        return -(self.log_p.exp() * self.log_p).sum(-1)

    def kl(self, other: Categorical) -> Tensor:
        """Return KL(self || other), (B,)."""
        return (self.log_p.exp() * (self.log_p - other.log_p)).sum(-1)

    def detach(self) -> Categorical:
        """Return the same distribution, detached from the graph."""
        return Categorical(self.log_p.detach())

    def __getitem__(self, index: Tensor) -> Categorical:
        """Return the distributions of some samples."""
        return Categorical(self.log_p[index])


@dataclass(frozen=True, slots=True)
class MultiCategorical:
    """k independent choices, each of actions of its own; actions are (B, k) int64.

    Log-probability, entropy and divergence are those of the joint action: sums over the choices.
    """

    parts: tuple[Categorical, ...]
    """One of each choice."""

    @staticmethod
    def from_logits(
        logits: Tensor, counts: tuple[int, ...], mask: Tensor | None = None
    ) -> MultiCategorical:
        """Normalise logits (B, sum of counts), those of each choice by themselves; ``mask`` too."""
        parts, end = [], 0
        for count in counts:
            at, end = end, end + count
            own = None if mask is None else mask[:, at:end]
            parts.append(Categorical.from_logits(logits[:, at:end], own))
        return MultiCategorical(tuple(parts))

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw (B, k) int64 actions."""
        return torch.stack([part.sample(generator) for part in self.parts], -1)

    def mode(self) -> Tensor:
        """Return the most likely actions, (B, k)."""
        return torch.stack([part.mode() for part in self.parts], -1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log pi(a), (B,)."""
        pairs = zip(self.parts, actions.unbind(-1), strict=True)
        return torch.stack([part.log_prob(a) for part, a in pairs]).sum(0)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (B,)."""
        return torch.stack([part.entropy() for part in self.parts]).sum(0)

    def kl(self, other: MultiCategorical) -> Tensor:
        """Return KL(self || other), (B,)."""
        pairs = zip(self.parts, other.parts, strict=True)
        return torch.stack([part.kl(of) for part, of in pairs]).sum(0)

    def detach(self) -> MultiCategorical:
        """Return the same distribution, detached from the graph."""
        return MultiCategorical(tuple(part.detach() for part in self.parts))

    def __getitem__(self, index: Tensor) -> MultiCategorical:
        """Return the distributions of some samples."""
        return MultiCategorical(tuple(part[index] for part in self.parts))


@dataclass(frozen=True, slots=True)
class DiagonalGaussian:
    """Normal with ``mean`` (B, d) and a standard deviation ``std`` (d,) shared by all states."""

    mean: Tensor
    std: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw (B, d) actions, unsquashed."""
        noise = _empty(self.mean, generator).normal_(generator=generator)
        return self.mean + self.std * noise.to(self.mean.device)

    def mode(self) -> Tensor:
        """Return the means, (B, d)."""
        return self.mean

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log pi(a), (B,)."""
        z = (actions - self.mean) / self.std
        return (-0.5 * z * z - self.std.log() - _LOG_SQRT_2PI).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (B,)."""
        per_dimension = self.std.log() + _LOG_SQRT_2PI + 0.5
        return per_dimension.sum().expand(len(self.mean))

    def kl(self, other: DiagonalGaussian) -> Tensor:
        """Return KL(self || other), (B,)."""
        ratio = (self.std / other.std) ** 2
        shift = ((self.mean - other.mean) / other.std) ** 2
        return 0.5 * (ratio + shift - 1.0 - ratio.log()).sum(-1)

    def detach(self) -> DiagonalGaussian:
        """Return the same distribution, detached from the graph."""
        return DiagonalGaussian(self.mean.detach(), self.std.detach())

    def __getitem__(self, index: Tensor) -> DiagonalGaussian:
        """Return the distributions of some samples."""
        return DiagonalGaussian(self.mean[index], self.std)


def _empty(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return an empty array for noise on the generator's device, as torch requires.

    With a generator on the CPU a run on a GPU has the noise of the same run on the CPU.
    """
    return torch.empty(like.shape, dtype=like.dtype, device=generator.device)


Distribution = Categorical | MultiCategorical | DiagonalGaussian
