"""Implicit Q-Learning's update (Kostrikov et al. 2022; tinkoff-ai/CORL, iql.py)."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pkubench.agents.rl.offline.data import Array
from pkubench.agents.rl.offline.learners.base import MethodLearner
from pkubench.agents.rl.offline.learners.policy import exported, network
from pkubench.agents.rl.offline.learners.transitions import Batches, Transitions, follow
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.offline.methods.iql import ImplicitQ
from pkubench.agents.rl.optimiser import Optimiser, adam, cosine

MAX_WEIGHT = 100.0
"""Of an action in the policy's loss."""


class ImplicitQLearner(MethodLearner):
    """Value, twin critics with their moving average, and a policy."""

    def __init__(self, method: ImplicitQ, setup: Setup) -> None:
        """Build the networks."""
        super().__init__(setup)
        self.method, data = method, setup.data
        self.transitions = Transitions.of(data, method.reward_range, self.device)
        self.batches = Batches(self.transitions, setup.batch_size)
        states, actions = data.num_states, data.num_actions
        sizes = (states, actions) if data.is_discrete else (states + actions, 1)

        def build(inputs: int, outputs: int) -> nn.Module:
            return network(inputs, method.hidden, outputs, self.generator).to(self.device)

        self.critics = nn.ModuleList(build(*sizes) for _ in range(2))
        self.targets = copy.deepcopy(self.critics)
        self.value = build(states, 1)
        self.policy = network(states, method.hidden, actions, self.generator).to(self.device)
        self.log_std = nn.Parameter(torch.zeros(actions, device=self.device))
        self.modules = {
            "critics": self.critics,
            "targets": self.targets,
            "value": self.value,
            "policy": self.policy,
            "log_std": nn.ParameterList([self.log_std]),
        }
        spread = [] if data.is_discrete or method.policy == "deterministic" else [self.log_std]
        self.optimisers = {
            "critics": Optimiser(adam(method.lr), self.critics.parameters()),
            "value": Optimiser(adam(method.lr), self.value.parameters()),
            "policy": Optimiser(
                adam(method.lr),
                [*self.policy.parameters(), *spread],
                schedule=cosine(setup.total),
            ),
        }

    def update(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Take a step of value, critics and policy on a batch of transitions; return the losses."""
        batch, method = self.batches.transitions(rng), self.method
        with torch.no_grad():
            q = torch.minimum(*(self.q(net, batch) for net in self.targets))
            next_value = self.value(batch.next_states).squeeze(-1)
        value = self.value(batch.states).squeeze(-1)
        advantage = q - value
        value_loss = batch.mean(expectile_loss(advantage, method.expectile))
        self.optimisers["value"].step(value_loss)
        target = batch.rewards + method.gamma * (1.0 - batch.ends) * next_value
        errors = [batch.mean((self.q(net, batch) - target).square()) for net in self.critics]
        critic_loss = (errors[0] + errors[1]) / 2
        self.optimisers["critics"].step(critic_loss)
        follow(self.targets, self.critics, method.target_rate)
        weight = (method.beta * advantage.detach()).exp().clamp(max=MAX_WEIGHT)
        policy_loss = batch.mean(weight * self.unlikelihood(batch))
        self.optimisers["policy"].step(policy_loss)
        return {
            "value_loss": value_loss.detach(),
            "critic_loss": critic_loss.detach(),
            "policy_loss": policy_loss.detach(),
            "value": batch.mean(value.detach()),
        }

    def q(self, net: nn.Module, batch: Transitions) -> Tensor:
        """Return a critic's values (B,) of the batch's actions."""
        if self.data.is_discrete:
            chosen: Tensor = net(batch.states).gather(-1, batch.actions[:, None])
            return chosen.squeeze(-1)
        values: Tensor = net(torch.cat([batch.states, batch.actions], -1))
        return values.squeeze(-1)

    def unlikelihood(self, batch: Transitions) -> Tensor:
        """Return -log pi(a | s), (B,), or squared errors of a deterministic policy.

        The Gaussian's mean is a tanh, and its density is not corrected for that.
        """
        outputs = self.policy(batch.states)
        if self.data.is_discrete:
            log_p: Tensor = outputs.log_softmax(-1)
            return -log_p.gather(-1, batch.actions[:, None]).squeeze(-1)
        error: Tensor = batch.actions - outputs.tanh()
        if self.method.policy == "deterministic":
            return error.square().sum(-1)
        log_std = self.log_std.clamp(-20.0, 2.0)
        z = error * (-log_std).exp()
        return (0.5 * z.square() + log_std + 0.5 * math.log(2.0 * math.pi)).sum(-1)

    def export(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the policy; it acts with the mean."""
        head = "categorical" if self.data.is_discrete else "deterministic"
        return exported(self.policy, head, self.data)


def expectile_loss(advantage: Tensor, expectile: float) -> Tensor:
    """Return |tau - 1(u < 0)| u^2, the mean of which is least over v in u = q - v at an expectile.

    >>> expectile_loss(torch.tensor([2.0, -1.0]), 0.75)
    tensor([3.0000, 0.2500])
    """
    weight = torch.where(advantage < 0.0, 1.0 - expectile, expectile)
    return weight * advantage.square()
