"""DPO and KTO on pairs of responses, from and against a reference model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.rl.language.learners.base import (
    Draws,
    MethodLearner,
    Pairs,
    Setup,
    bradley_terry,
    ordered,
)
from pkubench.agents.rl.language.losses import dpo_loss, kto_loss
from pkubench.agents.rl.language.methods.preferences import KTO, PreferenceMethod


class PreferenceLearner(MethodLearner):
    """A policy tuned on preferences."""

    def __init__(self, method: PreferenceMethod, setup: Setup) -> None:
        """Copy the reference."""
        super().__init__(setup)
        self.method, self.before = method, self.reference()
        self.net = self.new_policy()
        self.modules = {"net": self.net}
        self.optimisers = {
            "net": self.optimiser(self.net, self.config.lr, self.config.weight_decay)
        }

    @property
    def tokens_per_update(self) -> int:
        """Words of both responses of all pairs."""
        return 2 * super().tokens_per_update

    def update(self, draws: Draws) -> dict[str, float]:
        """Take a gradient step."""
        pairs = self.pairs(draws)
        loss, better, worse = self.loss(pairs)
        self.optimisers["net"].step(loss)
        return {
            "loss": float(loss.detach()),
            "accuracy": float((better > worse).float().mean()),
        }

    def pairs(self, draws: Draws) -> Pairs:
        """Draw pairs and their labels."""
        prompts = self.prompts(draws, self.config.batch_size)
        one, other = (self.responses(draws, prompts, self.method.uniform) for _ in range(2))
        if self.method.labels == "helpful":
            scores, others = self.rewards(one), self.rewards(other)
        else:
            scores, others = -self.costs(one), -self.costs(other)
        return ordered(one, other, bradley_terry(draws, scores, others))

    def loss(self, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, and k of the preferred and of the other responses, (B,) each."""
        tokens = torch.cat([pairs.better.tokens, pairs.worse.tokens])
        better, worse = self.log_ratios(tokens).chunk(2)
        if isinstance(self.method, KTO):
            with torch.no_grad():
                divergence = self.log_ratios(self.mismatched(pairs)).mean()
            return kto_loss(better, worse, divergence, self.method.beta), better, worse
        return dpo_loss(better, worse, self.method.beta), better, worse

    def log_ratios(self, tokens: Tensor) -> Tensor:
        """Return k(y), (B,), of prompts and responses (B, L)."""
        length = self.language.length
        with torch.no_grad():
            before = self.before.log_probs(tokens, length).sum(1)
        return self.net.log_probs(tokens, length).sum(1) - before

    def mismatched(self, pairs: Pairs) -> Tensor:
        """Return all responses of pairs after prompts of other pairs, (2B, L).

        KTO estimates its divergence from them (Ethayarajh et al. 2024, section 4.1): from every
        response of a batch, preferred or not. Where no prompt is that of more than half of the
        pairs, none is a response's own.
        """
        prompts, length = pairs.better.prompts, self.language.length
        order = np.argsort(prompts, kind="stable")
        others = np.empty_like(prompts)
        others[order] = prompts[np.roll(order, -int(np.bincount(prompts).max()))]
        begun = self._prompts[torch.from_numpy(others)]
        return torch.cat(
            [torch.cat([begun, of.tokens[:, -length:]], 1) for of in (pairs.better, pairs.worse)]
        )
