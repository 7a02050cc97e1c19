"""PPO on token sequences in the order of the official code of Safe RLHF.

A step of training: (0) responses are drawn and scored; (1) streams of rewards and costs, shaped by
the divergence, become advantages with the old values; then for each epoch (2) the multiplier moves,
(3) the actor takes a step, which also imitates where that has a weight, (4) the critic of rewards,
(5) the critic of costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.rl.advantages import gae
from pkubench.agents.rl.language.learners.base import Draws, MethodLearner, Responses, Setup
from pkubench.agents.rl.language.learners.supervised import Demonstrations
from pkubench.agents.rl.language.losses import (
    critic_loss,
    lagrangian_advantage,
    next_log_multiplier,
    rectified_advantage,
    shaped,
)
from pkubench.agents.rl.language.methods.supervised import Imitation
from pkubench.agents.rl.language.methods.token_ppo import (
    MultiplierPPO,
    RectifiedPPO,
    ShapedPPO,
    TokenPPO,
)
from pkubench.agents.rl.language.models import ScoreModel
from pkubench.agents.rl.update_rules.ppo_clip import ppo_clip


class Stream(NamedTuple):
    """One signal of a batch with its critic's estimates, (B, length) each."""

    advantages: Tensor
    returns: Tensor
    old_values: Tensor


class TokenPPOLearner(MethodLearner):
    """An actor, a critic of rewards, and where costs count a critic of costs and a multiplier."""

    def __init__(self, method: TokenPPO, setup: Setup) -> None:
        """Copy the reference; critics start from the score models, or from the reference."""
        super().__init__(setup)
        self.method, self.before = method, self.reference()
        self.actor = self.new_policy()
        self.critics = {"reward": self._critic(setup.reward)}
        if isinstance(method, MultiplierPPO):
            self.critics["cost"] = self._critic(setup.cost)
            self.log_multiplier = math.log(method.multiplier_init)
        self.episode_costs: list[float] = []
        """Of the last ``window`` episodes."""
        self.iteration = 0
        self.modules = {"net": self.actor, **self.critics}
        self.optimisers = {
            "net": self.optimiser(
                self.actor, self.config.lr, self.config.weight_decay, steps=method.epochs
            )
        }
        for name, critic in self.critics.items():
            self.optimisers[name] = self.optimiser(
                critic, method.critic_lr, 0.0, steps=method.epochs, decays=False
            )
        if method.imitation:
            self.demonstrations = Demonstrations(self, Imitation().sharpness)

    def _critic(self, scores: ScoreModel | None) -> ScoreModel:
        """Return a critic from a score model, which may be of another size than the reference."""
        if scores is None:
            return self.new_scores()
        made = ScoreModel(scores.spec, self.generator).to(self.setup.device)
        made.load_state_dict(scores.state_dict())
        return made

    @property
    def multiplier(self) -> float:
        """lambda; 0 for methods without one."""
        has_one = isinstance(self.method, MultiplierPPO)
        return math.exp(self.log_multiplier) if has_one else 0.0

    def update(self, draws: Draws) -> dict[str, float]:
        """Draw a batch and take one RL step."""
        method, length = self.method, self.language.length
        drawn, log_probs = self.rollout(draws)
        rewards, costs = self.rewards(drawn), self.costs(drawn)
        with torch.no_grad():
            log_ratios = log_probs - self.before.log_probs(drawn.tokens, length)
        streams = self.streams(drawn, rewards, costs, log_ratios)
        if isinstance(method, MultiplierPPO):
            self.record_costs(method, costs)
        for _ in range(method.epochs):
            if isinstance(method, MultiplierPPO):
                self.move_multiplier(method)
            advantages = self.combined(streams, costs)
            now = self.actor.log_probs(drawn.tokens, length)
            ratio = (now - log_probs).exp()
            loss = ppo_clip(ratio, advantages, torch.ones_like(ratio), method.clip)
            if method.imitation:
                loss = 0.5 * (loss + method.imitation * self._imitation(draws))
            self.optimisers["net"].step(loss)
            for name, critic in self.critics.items():
                values = critic.values(drawn.tokens, length)
                stream = streams[name]
                error = critic_loss(values, stream.old_values, stream.returns, method.value_clip)
                self.optimisers[name].step(error)
        self.iteration += 1
        figures = {
            "return": float(rewards.mean()),
            "cost": float(costs.mean()),
            "unsafe": float((costs > self.language.limit).mean()),
            "divergence": float(log_ratios.sum(1).mean()),
        }
        if isinstance(method, MultiplierPPO):
            figures["multiplier"] = self.multiplier
        return figures

    def rollout(self, draws: Draws) -> tuple[Responses, Tensor]:
        """Draw responses of the actor; return them and log pi of their words, (B, length)."""
        prompts = self.prompts(draws, self.config.batch_size)
        begun = self._prompts[torch.from_numpy(prompts)]
        with torch.no_grad():
            tokens, log_probs = self.actor.respond(begun, self.language.length, draws.torch)
        return Responses(prompts, tokens), log_probs

    def record_costs(self, method: MultiplierPPO, costs: Any) -> None:
        """Append the costs of a batch's episodes, as the multiplier counts them."""
        is_rectified = isinstance(method, RectifiedPPO)
        counted = np.maximum(costs - self.language.limit, 0.0) if is_rectified else costs
        self.episode_costs = [*self.episode_costs, *counted.tolist()][-method.window :]

    def move_multiplier(self, method: MultiplierPPO) -> None:
        """Take a step of log lambda, from the mean cost of the last episodes."""
        limit = self.language.limit
        if self.iteration < method.multiplier_delay:
            return
        mean = math.fsum(self.episode_costs) / len(self.episode_costs)
        self.log_multiplier = next_log_multiplier(
            self.log_multiplier,
            mean,
            0.0 if isinstance(method, RectifiedPPO) else limit,
            method.multiplier_lr,
            method.multiplier_max,
        )

    def streams(
        self, drawn: Responses, rewards: Any, costs: Any, log_ratios: Tensor
    ) -> dict[str, Stream]:
        """Return the streams of rewards and, where costs count, of costs."""
        method = self.method
        if isinstance(method, ShapedPPO):
            rewards = rewards - method.kappa * costs
        found = {"reward": self._stream("reward", drawn, rewards, log_ratios, 1.0)}
        if isinstance(method, RectifiedPPO):
            costs = np.maximum(costs - self.language.limit, 0.0)
        if isinstance(method, MultiplierPPO):
            found["cost"] = self._stream("cost", drawn, costs, log_ratios, -1.0)
        return found

    def _stream(
        self, name: str, drawn: Responses, scores: Any, log_ratios: Tensor, sign: float
    ) -> Stream:
        """Return a signal's advantages and returns; of costs, ``sign`` is -1."""
        method = self.method
        signed = torch.from_numpy(sign * np.asarray(scores)).to(log_ratios)
        signal = sign * shaped(signed, log_ratios, method.beta, method.score_clip)
        with torch.no_grad():
            values = self.critics[name].values(drawn.tokens, self.language.length)
        old = values.T.float().cpu().numpy()
        is_last = np.zeros(old.shape, np.bool_)
        is_last[-1] = True
        found = gae(
            signal.T.float().cpu().numpy(),
            old,
            np.concatenate([old[1:], np.zeros_like(old[:1])]),
            is_last,
            np.zeros_like(is_last),
            gamma=method.gamma,
            lam=method.gae_lambda,
        )
        advantages = torch.from_numpy(found.T.copy()).to(values)
        return Stream(advantages, advantages + values, values)

    def combined(self, streams: Mapping[str, Stream], costs: Any) -> Tensor:
        """Return the actor's advantages (B, length)."""
        rewards = streams["reward"].advantages
        if not isinstance(self.method, MultiplierPPO):
            return rewards
        other = streams["cost"].advantages
        if isinstance(self.method, RectifiedPPO):
            is_unsafe = torch.from_numpy(costs > self.language.limit).to(rewards.device)
            return rectified_advantage(rewards, other, is_unsafe, self.multiplier)
        return lagrangian_advantage(rewards, other, self.multiplier)

    def _imitation(self, draws: Draws) -> Tensor:
        """Return the loss of imitation (PTX): the mean of -log pi of demonstrations' words.

        The official code accumulates its gradient and that of PPO's loss in one step of the
        optimiser, and accumulation halves both. In a step of its own Adam would divide the
        coefficient out.
        """
        prompts = self.prompts(draws, self.config.batch_size)
        shown = self.demonstrations.draw(draws, prompts)
        log_probs = self.actor.log_probs(shown.tokens, self.language.length)
        return -log_probs.mean()

    def state(self) -> dict[str, Any]:
        """Return everything that changes."""
        found = super().state() | {"iteration": self.iteration}
        if isinstance(self.method, MultiplierPPO):
            found |= {
                "log_multiplier": self.log_multiplier,
                "episode_costs": np.array(self.episode_costs),
            }
        return found

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        super().load_state(state)
        self.iteration = int(state["iteration"])
        if isinstance(self.method, MultiplierPPO):
            self.log_multiplier = float(state["log_multiplier"])
            self.episode_costs = state["episode_costs"].tolist()
