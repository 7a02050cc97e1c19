"""Conservative Q-Learning's updates (Kumar et al. 2020; tinkoff-ai/CORL, cql.py).

There is no entropy in the backup, and the weight of the penalty is fixed.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pkubench.agents.nn.networks import MLP, NetworkSpec
from pkubench.agents.nn.squashed import Bounds, Squashed, sample
from pkubench.agents.rl.offline.data import Array
from pkubench.agents.rl.offline.learners.base import MethodLearner
from pkubench.agents.rl.offline.learners.policy import exported
from pkubench.agents.rl.offline.learners.transitions import Batches, Transitions, follow
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.offline.methods.cql import ConservativeQ
from pkubench.agents.rl.optimiser import Optimiser, adam

HEAD_GAIN = 0.01
"""Of the last layers' initial weights: values begin near 0, and actions in the middle."""
LOG_STD = -1.0
"""Of the policy's actions at first, before tanh."""


class DiscreteLearner(MethodLearner):
    """Double Q-learning with the penalty over all actions; the policy is greedy."""

    def __init__(self, method: ConservativeQ, setup: Setup) -> None:
        """Build the networks."""
        super().__init__(setup)
        self.method, data = method, setup.data
        self.transitions = Transitions.of(data, method.reward_range, self.device)
        self.batches = Batches(self.transitions, setup.batch_size)
        self.critic = _network(data.num_states, method, data.num_actions, self.generator)
        self.critic = self.critic.to(self.device)
        self.target = copy.deepcopy(self.critic)
        self.modules = {"critic": self.critic, "target": self.target}
        self.optimisers["critic"] = Optimiser(adam(method.lr), self.critic.parameters())

    def update(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Take a step of the critic on a batch of transitions; return its losses."""
        batch, method = self.batches.transitions(rng), self.method
        values = self.critic(batch.states)
        taken = values.gather(-1, batch.actions[:, None]).squeeze(-1)
        with torch.no_grad():
            greedy = self.critic(batch.next_states).argmax(-1, keepdim=True)
            future = self.target(batch.next_states).gather(-1, greedy).squeeze(-1)
            goal = batch.rewards + method.gamma * (1.0 - batch.ends) * future
        error = 0.5 * batch.mean((taken - goal).square())
        penalty = batch.mean(values.logsumexp(-1) - taken)
        self.optimisers["critic"].step(error + method.alpha * penalty)
        follow(self.target, self.critic, method.target_rate)
        return {
            "critic_loss": error.detach(),
            "penalty": penalty.detach(),
            "value": batch.mean(taken.detach()),
        }

    def export(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the critic: its values as logits, the mode of which is the greedy action."""
        return exported(self.critic, "categorical", self.data)


class ContinuousLearner(MethodLearner):
    """Soft actor-critic with the penalty estimated from proposals."""

    def __init__(self, method: ConservativeQ, setup: Setup) -> None:
        """Build the networks."""
        super().__init__(setup)
        self.method, data = method, setup.data
        self.transitions = Transitions.of(data, method.reward_range, self.device)
        # proposals are drawn for every transition of a batch, equal ones too
        self.batches = Batches(self.transitions, setup.batch_size, merges=False)
        states, self.size = data.num_states, data.num_actions

        def build(inputs: int, outputs: int) -> MLP:
            return _network(inputs, method, outputs, self.generator).to(self.device)

        self.critics = nn.ModuleList(build(states + self.size, 1) for _ in range(2))
        self.targets = copy.deepcopy(self.critics)
        self.policy = build(states, 2 * self.size)
        with torch.no_grad():
            self.policy.head.bias[self.size :] = LOG_STD
        self.log_temperature = nn.Parameter(torch.zeros((), device=self.device))
        self.modules = {
            "critics": self.critics,
            "targets": self.targets,
            "policy": self.policy,
            "temperature": nn.ParameterList([self.log_temperature]),
        }
        self.optimisers = {
            "critics": Optimiser(adam(method.lr), self.critics.parameters()),
            "policy": Optimiser(adam(method.policy_lr), self.policy.parameters()),
            "temperature": Optimiser(adam(method.policy_lr), [self.log_temperature]),
        }
        zeros, ones = (torch.full((self.size,), v, device=self.device) for v in (0.0, 1.0))
        self.bounds = Bounds(zeros, ones, torch.zeros((), device=self.device))

    def update(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Take a step of temperature, policy and critics on a batch of transitions."""
        batch, method = self.batches.transitions(rng), self.method
        drawn = self.act(batch.states)
        temperature = self.log_temperature.detach().exp()
        self.optimisers["temperature"].step(
            -self.log_temperature * (drawn.log_prob.detach() - self.size).mean()
        )
        best = torch.minimum(*(self.q(net, batch.states, drawn.action) for net in self.critics))
        policy_loss = (temperature * drawn.log_prob - best).mean()
        self.optimisers["policy"].step(policy_loss)
        with torch.no_grad():
            after = self.act(batch.next_states).action
            future = torch.minimum(*(self.q(n, batch.next_states, after) for n in self.targets))
            goal = batch.rewards + method.gamma * (1.0 - batch.ends) * future
            proposals = self.proposals(batch, method.proposals)
        taken = [self.q(net, batch.states, batch.actions) for net in self.critics]
        error = sum(((q - goal).square().mean() for q in taken), torch.zeros(()))
        penalties = [
            self.penalty(net, batch.states, *proposals) - q.mean()
            for net, q in zip(self.critics, taken, strict=True)
        ]
        penalty = penalties[0] + penalties[1]
        self.optimisers["critics"].step(error + method.alpha * penalty)
        follow(self.targets, self.critics, method.target_rate)
        return {
            "critic_loss": error.detach(),
            "penalty": penalty.detach(),
            "policy_loss": policy_loss.detach(),
            "value": taken[0].detach().mean(),
            "temperature": temperature,
        }

    def act(self, states: Tensor, count: int | None = None) -> Squashed:
        """Sample actions of states (B, d): (B, d_a), or (count, B, d_a)."""
        outputs = self.policy(states)
        if count is not None:
            outputs = outputs.expand(count, *outputs.shape)
        noise = torch.randn(*outputs.shape[:-1], self.size, device=self.device)
        return sample(outputs, noise, self.bounds)

    def q(self, net: nn.Module, states: Tensor, actions: Tensor) -> Tensor:
        """Return a critic's values (..., B) of actions (..., B, d_a) in states (B, d)."""
        seen = states.expand(*actions.shape[:-1], states.shape[-1])
        values: Tensor = net(torch.cat([seen, actions], -1))
        return values.squeeze(-1)

    def proposals(self, batch: Transitions, count: int) -> tuple[Tensor, Tensor]:
        """Return actions (3 count, B, d_a) and the logarithms of their densities (3 count, B).

        They are uniform, of the policy in the next states, and of the policy in the states.
        """
        shape = (count, len(batch.states), self.size)
        uniform = torch.rand(shape, device=self.device) * 2.0 - 1.0
        density = torch.full(shape[:2], -self.size * math.log(2.0), device=self.device)
        drawn = [self.act(s, count) for s in (batch.next_states, batch.states)]
        return (
            torch.cat([uniform, *(d.action for d in drawn)]),
            torch.cat([density, *(d.log_prob for d in drawn)]),
        )

    def penalty(
        self, net: nn.Module, states: Tensor, actions: Tensor, log_density: Tensor
    ) -> Tensor:
        """Return the mean over states of logsumexp(Q - log density) over proposals.

        Up to the logarithm of their number an estimate of log of the integral of exp Q.
        """
        return (self.q(net, states, actions) - log_density).logsumexp(0).mean()

    def export(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the policy."""
        return exported(self.policy, "gaussian", self.data)


def _network(inputs: int, method: ConservativeQ, outputs: int, generator: torch.Generator) -> MLP:
    spec = NetworkSpec(
        inputs=inputs,
        hidden=method.hidden,
        outputs=outputs,
        activation="relu",
        layer_norm=False,
        init="orthogonal",
        head_gain=HEAD_GAIN,
    )
    return MLP(spec, generator)
