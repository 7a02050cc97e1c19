"""The Trajectory Transformer's update (jannerm/trajectory-transformer).

Two departures. Where an episode was truncated, what follows its last step is left out of the loss;
the published code trains on the class of ended episodes there. And a window may begin at the last
step of an episode that has ended, which that code leaves out: it would never see an episode of one
step.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.precision import autocast
from pkubench.agents.nn.transformer import TransformerSpec
from pkubench.agents.rl.offline.data import Array, Prepared
from pkubench.agents.rl.offline.learners.base import MethodLearner
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.offline.methods.tt import TrajectoryMethod
from pkubench.agents.rl.offline.models.discretiser import Discretiser
from pkubench.agents.rl.offline.models.trajectory import TrajectorySpec, TrajectoryTransformer
from pkubench.agents.rl.optimiser import Optimiser, Schedule, adamw
from pkubench.agents.rl.trained import tensors_of


class TrajectoryLearner(MethodLearner):
    """A Trajectory Transformer and its update."""

    def __init__(self, method: TrajectoryMethod, setup: Setup) -> None:
        """Discretise the data and build the network."""
        super().__init__(setup)
        self.method = method
        rows = transitions_of(setup.data, method.gamma, method.termination_reward)
        self.discretiser = Discretiser.of(rows, method.bins)
        self.tokens = torch.from_numpy(self.discretiser.encode(rows))
        states = setup.data.num_states
        spec = TrajectorySpec(
            transformer=TransformerSpec(
                width=method.width,
                layers=method.layers,
                heads=method.heads,
                activation="gelu",
                dropout=method.dropout,
            ),
            states=states,
            actions=rows.shape[1] - states - 2,
            bins=method.bins,
            window=method.window,
        )
        self.net = TrajectoryTransformer(spec, self.generator).to(self.device)
        self.modules["net"] = self.net
        self.optimisers["net"] = Optimiser(
            adamw(method.lr, 0.0, (0.9, 0.95)),
            groups_of(self.net, method.weight_decay),
            schedule=schedule(setup.total, method.warmup_share, method.decay_share),
            max_grad_norm=1.0,
        )
        weights = torch.ones(spec.width)
        weights[spec.states : spec.states + spec.actions] = method.action_weight
        # of the tokens after the first one: the targets
        self.weights = weights.repeat(method.window)[1:].to(self.device)
        episodes = setup.data.episodes
        starts = np.flatnonzero((episodes.num_steps_left() > 0) | episodes.terminations())
        self.starts = starts if len(starts) else np.arange(episodes.num_steps)
        """Where windows begin: at any step but the last one of a truncated episode."""

    def update(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Take a step on a batch of windows; return its loss."""
        tokens, counts = (part.to(self.device) for part in self.draw(rng))
        self.net.train()
        with autocast(self.setup.precision, self.device):
            logits = self.net(tokens[:, :-1])
        loss = self.loss(logits.float(), tokens[:, 1:], counts[:, 1:])
        self.optimisers["net"].step(loss)
        return {"loss": loss.detach()}

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return windows of tokens (B, L), and which of them count in the loss."""
        episodes, window = self.data.episodes, self.method.window
        first = self.starts[rng.integers(len(self.starts), size=self.setup.batch_size)]
        left = episodes.num_steps_left()[first]
        steps = np.arange(window)
        rows = first[:, None] + np.minimum(steps, left[:, None])
        inside = torch.from_numpy(steps <= left[:, None])
        ends = torch.from_numpy(episodes.terminations()[first + left])
        tokens = torch.where(inside[..., None], self.tokens[rows], self.method.bins)
        counts = (inside | ends[:, None])[..., None].expand(tokens.shape)
        return tokens.flatten(1), counts.flatten(1)

    def loss(self, logits: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
        """Return the weighted cross-entropy, averaged over all slots, those that do not count too.

        Args:
            logits: (B, L, N + 1).
            targets: (B, L).
            counts: (B, L) bool.
        """
        entropy = functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), reduction="none"
        )
        weighted = entropy.view(targets.shape) * self.weights
        return (weighted * counts).mean()

    def export(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the network, its bins and the settings of plans."""
        method = self.method
        described = {
            "form": "trajectory",
            "spec": self.net.spec.as_config(),
            "is_discrete": self.data.is_discrete,
            **{n: getattr(method, n) for n in ("context", "beam", "horizon", "expand")},
            **{n: getattr(method, n) for n in ("cdf", "gamma")},
        }
        tensors = {f"net.{name}": value for name, value in tensors_of(self.net).items()}
        bins = {"edges": self.discretiser.edges, "values": self.discretiser.values}
        return described, tensors | bins


def transitions_of(data: Prepared, gamma: float, termination_reward: float | None) -> Array:
    """Return rows (M, D) float32 of state, action, reward and the discounted return that follows.

    The return of a step leaves out its own reward: V_t = sum_{k > t} gamma^(k - t - 1) r_k.
    """
    episodes = data.episodes
    rewards = np.array(episodes.rewards)
    if termination_reward is not None:
        rewards[episodes.terminations()] = termination_reward
    following = np.zeros_like(rewards)
    following[:-1] = replace(episodes, rewards=rewards).returns_to_go(gamma)[1:]
    following[episodes.starts[1:] - 1] = 0.0
    actions = data.actions[:, None] if data.is_discrete else data.actions
    columns = (data.states, actions, rewards[:, None], following[:, None])
    return np.concatenate(columns, 1).astype(np.float32)


def groups_of(net: TrajectoryTransformer, weight_decay: float) -> list[dict[str, Any]]:
    """Return two groups of parameters: the linear layers' weights, which decay, and the others."""
    linear = [*(m.weight for m in net.modules() if isinstance(m, nn.Linear)), net.heads]
    known = {id(weight) for weight in linear}
    others = [p for p in net.parameters() if id(p) not in known]
    return [
        {"params": linear, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def schedule(total: int, warmup_share: float, decay_share: float) -> Schedule:
    """Return a linear rise, then a cosine, at least a tenth, that does not stop at its end."""
    warmup, end = warmup_share * total, decay_share * total

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / max(warmup, 1.0)
        progress = (step - warmup) / max(end - warmup, 1.0)
        return max(0.1, 0.5 * (1.0 + math.cos(math.pi * progress)))

    return factor
