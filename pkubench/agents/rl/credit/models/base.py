"""A credit model with a network, fitted to the returns of replayed episodes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pkubench.agents.learner import State
from pkubench.agents.rl.credit.base import CreditContext
from pkubench.agents.rl.credit.episodes import (
    Array,
    Episodes,
    FloatArray,
    Layout,
    episodes_of,
    spans_of,
)
from pkubench.agents.rl.credit.learned import check_finite
from pkubench.agents.rl.credit.normalise import with_remainder
from pkubench.agents.rl.credit.replay import EpisodeReplay
from pkubench.agents.rl.credit.whole_episodes import EpisodeModel
from pkubench.agents.rl.trainers import Trainer, flattened

if TYPE_CHECKING:
    from pkubench.agents.rl.credit.learned import LearnedCredit
    from pkubench.agents.rl.rollout import Rollout

CHUNK = 64
"""Episodes whose credit is assigned in one pass of the network."""
HELD_OUT = 16
"""New episodes of an update on which the error is measured, before the network has seen them."""


class Batch(NamedTuple):
    """B episodes of n agents as tensors, padded to L steps."""

    observations: Tensor
    """(B, n, L + 1, d), the final one included."""
    actions: Tensor
    """(B, n, L) int64, or (B, n, L, k)."""
    lengths: Tensor
    """(B,) int64."""
    returns: Tensor
    """(B,), scaled."""
    valid: Tensor
    """(B, L) bool."""

    @staticmethod
    def of(episodes: Episodes, scale: float, device: str) -> Batch:
        """Return episodes as tensors, with returns multiplied by ``scale``."""
        arrays = (
            episodes.observations,
            episodes.actions,
            episodes.lengths,
            (episodes.returns * scale).astype(np.float32),
            episodes.valid,
        )
        return Batch(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays))

    def masked(self, shares: Tensor) -> Tensor:
        """Return shares (B, n, L) with zeros behind the episodes' ends."""
        return shares.masked_fill(~self.valid[:, None], 0.0)


class CreditNetwork(nn.Module, ABC):
    """Shares of an episode's return for its steps and agents, differentiable."""

    @abstractmethod
    def shares(self, batch: Batch) -> Tensor:
        """Return shares (B, n, L) on the scale of ``batch.returns``, zeros behind the ends."""

    def loss(self, batch: Batch) -> Tensor:
        """Return the squared error of the episodes' sums, a mean over episodes."""
        return (batch.returns - self.shares(batch).sum((1, 2))).square().mean()


class LearnedModel(EpisodeModel):
    """Stores whole episodes, fits the network to their returns, and assigns its shares."""

    def __init__(
        self,
        settings: LearnedCredit,
        context: CreditContext,
        layout: Layout,
        network: CreditNetwork,
        generator: torch.Generator,
    ) -> None:
        """Start without episodes.

        Args:
            settings: of the component.
            context: agents, spaces and device.
            layout: of the team's episodes.
            network: with its initial weights.
            generator: of every draw; saved by the learner.
        """
        super().__init__(settings, context)
        self.layout, self.generator, self.device = layout, generator, context.device
        self.config = settings
        self.network = network.to(context.device).eval()
        self.replay = EpisodeReplay(settings.buffer, layout)
        self.flat, self.gradient = flattened([self.network])
        self.trainer = Trainer(
            self.flat,
            self.gradient,
            lr=settings.credit_lr,
            epsilon=1e-8,
            max_grad_norm=settings.credit_grad_norm or math.inf,
        )
        self.waiting = 0
        """Episodes since the last fit was due."""
        self.fit_loss = self.error = math.nan

    @property
    def is_ready(self) -> bool:
        """Whether as many episodes were collected as policies wait for."""
        return self.replay.total >= self.config.warmup_episodes

    def awaits(self) -> str:
        """Return how many episodes are collected first (see ``CreditModel.awaits``)."""
        return (
            f"credit={self.config.name} first collects {self.config.warmup_episodes:,} episodes, "
            f"of which {self.replay.total:,} were played; train for more steps, or set "
            "credit.warmup_episodes"
        )

    def update(self, rollout: Rollout) -> None:
        """Store the rollout's episodes, and fit the network as often as is due."""
        fresh = episodes_of(rollout, spans_of(rollout), self.layout)
        self.error = self._held_out_error(fresh.take(np.arange(min(len(fresh), HELD_OUT))))
        self.replay.add(fresh)
        self.waiting += len(fresh)
        due, self.waiting = divmod(self.waiting, self.config.fit_every)
        for _ in range(due):
            self.fit(self.replay)

    def fit(self, buffer: EpisodeReplay) -> None:
        """Take ``fit_steps`` steps of Adam on batches of a replay's episodes."""
        settings = self.config
        losses = []
        self.network.train()
        for _ in range(settings.fit_steps):
            drawn = buffer.sample(settings.fit_episodes, settings.success_share, self.generator)
            losses.append(self.step(Batch.of(drawn, settings.return_scale, self.device)))
        self.network.eval()
        self.fit_loss = float(np.mean(losses))

    def step(self, batch: Batch) -> float:
        """Take one step of Adam with an L2 term; return the loss before it."""
        self.gradient.zero_()
        loss = self.network.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.credit_decay:
            self.gradient.add_(self.flat, alpha=self.config.credit_decay)
        self.trainer.step()
        return float(loss.detach())

    @torch.no_grad()
    def assign(self, episodes: Episodes) -> FloatArray:
        """Return each agent's share of the return at each step, (episodes, agents, time).

        Shares are on the scale of rewards, and zeros behind the episodes' ends.
        """
        scores = np.zeros(episodes.actions.shape[:3])
        for start in range(0, len(episodes), CHUNK):
            part = episodes.take(np.arange(start, min(start + CHUNK, len(episodes))))
            batch = Batch.of(part, self.config.return_scale, self.device)
            found = self.network.shares(batch).cpu().numpy().astype(np.float64)
            scores[start : start + len(part), :, : found.shape[2]] = found
        shares = self.config.shares_of(check_finite(scores), episodes)
        if self.config.normaliser == "remainder":
            shares = with_remainder(shares, episodes.returns, episodes.valid)
        return shares

    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the reward of each agent, float64 (T, N, agents)."""
        spans = spans_of(rollout)
        return self.rewards(self.assign(episodes_of(rollout, spans, self.layout)), spans, rollout)

    @torch.no_grad()
    def _held_out_error(self, episodes: Episodes) -> float:
        """Return the root of the mean squared error of the network's sums, in units of reward."""
        batch = Batch.of(episodes, self.config.return_scale, self.device)
        found = self.network.shares(batch).sum((1, 2)).cpu().numpy() / self.config.return_scale
        return float(np.sqrt(np.mean((found - episodes.returns) ** 2)))

    def metrics(self) -> dict[str, float]:
        """Return the loss of the last fit, the error on new episodes, and what the replay holds."""
        return {
            "credit_loss": self.fit_loss,
            "credit_error": self.error,
            "credit_episodes": float(self.replay.total),
            "credit_successes": len(self.replay.successes) / max(len(self.replay), 1),
        }

    def learned(self) -> dict[str, Array]:
        """Return the network's weights in one vector."""
        return {"weights": self.flat.cpu().numpy().copy()}

    def load_learned(self, learned: Mapping[str, Array]) -> None:
        """Restore the weights (see ``CreditModel``)."""
        weights = torch.from_numpy(np.array(learned["weights"]))
        if weights.shape != self.flat.shape:
            raise ValueError("the credit model has another shape")
        self.flat.copy_(weights)

    def state(self) -> State:
        """Return weights, Adam's moments, the replay and counters."""
        return {
            **self.learned(),
            "adam": self.trainer.state(),
            "replay": self.replay.state(),
            "waiting": self.waiting,
            "fit_loss": self.fit_loss,
        }

    def restore(self, state: State) -> None:
        """Restore a state (see ``CreditModel``)."""
        self.load_learned(state)
        self.trainer.load_state(state["adam"])
        self.replay.restore(state["replay"])
        self.waiting = int(state["waiting"])
        self.fit_loss = float(state["fit_loss"])
