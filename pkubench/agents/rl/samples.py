"""Samples of an actor's update: single steps, or whole sequences of a recurrent policy."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Distribution
from pkubench.agents.rl.chunks import Chunks
from pkubench.agents.rl.update_rules.base import CostTerms, Terms


class Samples(NamedTuple):
    """B steps, in any order; finished or dead agents are excluded."""

    observations: Tensor
    """(B, inputs)."""
    masks: Tensor | None
    """(B, n) of legal actions."""
    actions: Tensor
    """(B,) int64 or (B, d)."""
    log_probs: Tensor
    """(B,), of the actions under the policy that took them."""
    advantage: Tensor
    """(B,), of the joint action."""
    factor: Tensor
    """(B,), product of the ratios of the agents updated before; ones for a single agent."""
    costs: Tensor | None = None
    """(B,), advantages of cost; None without a critic of cost."""
    copies: Tensor | None = None
    """(B,) int64, the environment index of each step."""

    @property
    def size(self) -> int:
        """Number of units of minibatches: steps."""
        return len(self.actions)

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        return len(self.actions)

    @property
    def steps(self) -> Samples:
        """The steps."""
        return self

    def take(self, index: Tensor) -> Samples:
        """Return some of the steps."""
        return Samples(*(None if of is None else of[index] for of in self))  # type: ignore[arg-type]

    def every(self, k: int) -> Samples:
        """Return every k-th step."""
        return self if k == 1 else Samples(*(None if of is None else of[::k] for of in self))  # type: ignore[arg-type]

    def halves(self) -> tuple[Samples, Samples]:
        """Return the steps of the environments with even and with odd indices.

        Steps of one episode are correlated, so an episode is never in both.
        """
        assert self.copies is not None
        is_odd = self.copies % 2 == 1
        return self.take(~is_odd), self.take(is_odd)

    def policy(self, actor: Actor) -> Distribution:
        """Return the actor's distribution of each step."""
        return actor(self.observations, self.masks)  # type: ignore[no-any-return]


_OF_SEQUENCES = ("hidden", "copies")
"""Fields of ``SequenceSamples`` with one entry per sequence."""


class SequenceSamples(NamedTuple):
    """N sequences of T steps; steps that are not ``usable`` are excluded from the loss."""

    observations: Tensor
    """(T, N, inputs)."""
    first: Tensor
    """(T, N) bool, whether a step is the first one of its episode."""
    hidden: Tensor
    """(N, units), the hidden state before the first step."""
    usable: Tensor
    """(T, N) bool: the step is part of an episode and the agent is alive."""
    masks: Tensor | None
    """(T, N, n) of legal actions."""
    actions: Tensor
    """(T, N) int64 or (T, N, d)."""
    log_probs: Tensor
    advantage: Tensor
    factor: Tensor
    costs: Tensor | None = None
    """(T, N) each (see ``Samples``)."""
    copies: Tensor | None = None
    """(N,) int64, the environment index of each sequence."""

    @property
    def size(self) -> int:
        """Number of units of minibatches: sequences."""
        return len(self.hidden)

    @property
    def num_steps(self) -> int:
        """Number of usable steps; some sequences may have none."""
        return int(self.usable.sum())

    @property
    def steps(self) -> Samples:
        """The usable steps, concatenated."""
        chosen: Any = (
            self.masks,
            self.actions,
            self.log_probs,
            self.advantage,
            self.factor,
            self.costs,
        )
        rest = (None if of is None else of[self.usable] for of in chosen)
        return Samples(self.observations[self.usable], *rest)  # type: ignore[arg-type]

    def take(self, index: Tensor) -> SequenceSamples:
        """Return some of the sequences."""
        parts: dict[str, Any] = {
            name: None if of is None else of[index] if name in _OF_SEQUENCES else of[:, index]
            for name, of in self._asdict().items()
        }
        return SequenceSamples(**parts)

    def every(self, k: int) -> SequenceSamples:
        """Return every k-th sequence of those with a usable step."""
        return self if k == 1 else self.take(self.usable.any(0).nonzero()[::k, 0])

    def halves(self) -> tuple[SequenceSamples, SequenceSamples]:
        """Return the sequences of the environments with even and with odd indices."""
        assert self.copies is not None
        is_odd = self.copies % 2 == 1
        return self.take(~is_odd), self.take(is_odd)

    @torch.no_grad()
    def chunked(self, length: int, actor: Actor) -> SequenceSamples:
        """Return the same steps in sequences of ``length``, each from the actor's present memory.

        Before an update this is the memory that the actor had when the steps were taken.
        """
        steps, envs = self.first.shape
        chunks = Chunks.of(steps, envs, length)
        _, states = actor.sequence(self.observations, self.first, self.hidden)
        parts: dict[str, Any] = {
            name: None if of is None else of[chunks.steps, chunks.envs]
            for name, of in self._asdict().items()
            if name not in _OF_SEQUENCES
        }
        exists = torch.from_numpy(chunks.exists).to(self.usable.device)
        parts["usable"] = parts["usable"] & exists
        copies = None if self.copies is None else self.copies[chunks.envs]
        hidden = torch.cat(chunks.starts(self.hidden, states))
        return SequenceSamples(**parts, hidden=hidden, copies=copies)

    def policy(self, actor: Actor) -> Distribution:
        """Return the actor's distribution of each usable step."""
        masks = None if self.masks is None else self.masks.flatten(0, 1)
        pi, _ = actor.sequence(self.observations, self.first, self.hidden, masks)
        return pi[self.usable.flatten()]


ActorSamples = Samples | SequenceSamples


def terms_of(
    samples: ActorSamples,
    policy: Distribution,
    start: Distribution | None = None,
    cost: CostTerms | None = None,
) -> Terms:
    """Return the terms of a loss of ``policy`` on samples."""
    steps = samples.steps
    return Terms(
        policy=policy,
        start=start,
        actions=steps.actions,
        old_log_prob=steps.log_probs,
        advantage=steps.advantage,
        factor=steps.factor,
        cost_advantage=steps.costs,
        cost=CostTerms() if cost is None else cost,
    )
