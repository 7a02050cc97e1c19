"""Imitation of demonstrations, and the reward and cost models of Safe RLHF."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.contract import IntArray
from pkubench.agents.rl.language.learners.base import (
    Draws,
    MethodLearner,
    Responses,
    Setup,
    bradley_terry,
    ordered,
)
from pkubench.agents.rl.language.losses import cost_loss, reward_loss
from pkubench.agents.rl.language.methods.supervised import Imitation, ScoreMethod


class Demonstrations:
    """Responses drawn from softmax(sharpness R) for each prompt."""

    def __init__(self, learner: MethodLearner, sharpness: float) -> None:
        """Score every response."""
        self.language, self.device = learner.language, learner.setup.device
        count, every = len(self.language.prompts), self.language.responses
        self.shares = np.empty((count, len(every)))
        for prompt in range(count):
            rewards, _ = self.language.score(np.full(len(every), prompt), every)
            weights = np.exp(sharpness * (rewards - rewards.max()))
            self.shares[prompt] = np.cumsum(weights) / weights.sum()

    def draw(self, draws: Draws, prompts: IntArray) -> Responses:
        """Return a response to each of the prompts of numbers (B,)."""
        at = draws.numpy.random(len(prompts))
        chosen = [np.searchsorted(self.shares[p], u) for p, u in zip(prompts, at, strict=True)]
        last = len(self.language.responses) - 1
        words = self.language.responses[np.minimum(chosen, last)]
        tokens = np.concatenate([self.language.prompts[prompts], words], axis=1)
        return Responses(prompts, torch.from_numpy(tokens).to(self.device))


class ImitationLearner(MethodLearner):
    """Cross-entropy of demonstrations."""

    def __init__(self, method: Imitation, setup: Setup) -> None:
        """Make the network, which starts from the reference if there is one."""
        super().__init__(setup)
        self.net = self.new_policy()
        self.modules = {"net": self.net}
        self.optimisers = {
            "net": self.optimiser(self.net, self.config.lr, self.config.weight_decay)
        }
        self.demonstrations = Demonstrations(self, method.sharpness)

    def update(self, draws: Draws) -> dict[str, float]:
        """Take a gradient step."""
        prompts = self.prompts(draws, self.config.batch_size)
        shown = self.demonstrations.draw(draws, prompts)
        loss = -self.net.log_probs(shown.tokens, self.language.length).sum(1).mean()
        self.optimisers["net"].step(loss)
        return {"loss": float(loss.detach())}


class ScoreLearner(MethodLearner):
    """A score model on pairs of responses."""

    def __init__(self, method: ScoreMethod, setup: Setup) -> None:
        """Make the network."""
        super().__init__(setup)
        self.method = method
        self.net = self.new_scores()
        self.modules = {"net": self.net}
        self.optimisers = {
            "net": self.optimiser(self.net, self.config.lr, self.config.weight_decay)
        }

    @property
    def tokens_per_update(self) -> int:
        """Words of both responses of all pairs."""
        return 2 * super().tokens_per_update

    def two(self, draws: Draws) -> tuple[Responses, Responses]:
        """Draw two responses to each of a batch of prompts."""
        prompts = self.prompts(draws, self.config.batch_size)
        return (
            self.responses(draws, prompts, self.method.uniform),
            self.responses(draws, prompts, self.method.uniform),
        )

    def of_both(self, better: Responses, worse: Responses) -> tuple[Tensor, Tensor]:
        """Return the scores of both responses of pairs, (B,) each."""
        found = self.net.scores(torch.cat([better.tokens, worse.tokens]))
        first, second = found.chunk(2)
        return first, second


class RewardLearner(ScoreLearner):
    """Bradley-Terry on labels drawn from rewards."""

    def update(self, draws: Draws) -> dict[str, float]:
        """Take a gradient step."""
        one, other = self.two(draws)
        is_first = bradley_terry(draws, self.rewards(one), self.rewards(other))
        better, worse = self.of_both(*ordered(one, other, is_first))
        loss = reward_loss(better, worse, self.method.regularisation)
        self.optimisers["net"].step(loss)
        return {
            "loss": float(loss.detach()),
            "accuracy": float((better > worse).float().mean()),
        }


class CostLearner(ScoreLearner):
    """Bradley-Terry on drawn labels of costs, and exact signs."""

    def update(self, draws: Draws) -> dict[str, float]:
        """Take a gradient step."""
        one, other = self.two(draws)
        costs, others = self.costs(one), self.costs(other)
        is_unsafe, are_unsafe = costs > 0.0, others > 0.0
        is_first = np.where(
            is_unsafe == are_unsafe, bradley_terry(draws, -costs, -others), are_unsafe
        )
        lower, higher = self.of_both(*ordered(one, other, is_first))
        lower_sign, higher_sign = (
            torch.from_numpy(np.where(unsafe, 1.0, -1.0).astype(np.float32)).to(lower.device)
            for unsafe in (
                np.where(is_first, is_unsafe, are_unsafe),
                np.where(is_first, are_unsafe, is_unsafe),
            )
        )
        loss = cost_loss(lower, higher, lower_sign, higher_sign, self.method.regularisation)
        self.optimisers["net"].step(loss)
        right = torch.cat([lower_sign * lower > 0.0, higher_sign * higher > 0.0])
        return {
            "loss": float(loss.detach()),
            "accuracy": float((higher > lower).float().mean()),
            "sign_accuracy": float(right.float().mean()),
        }
