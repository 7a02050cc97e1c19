"""Behaviour cloning's update."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from pkubench.agents.rl.offline.data import Array, best_episodes
from pkubench.agents.rl.offline.learners.base import MethodLearner
from pkubench.agents.rl.offline.learners.policy import exported, network
from pkubench.agents.rl.offline.learners.transitions import Rows, mean_of
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.offline.methods.bc import BehaviourCloning
from pkubench.agents.rl.optimiser import Optimiser, adam


class CloningLearner(MethodLearner):
    """A policy of the present state, learned from the actions of the data."""

    def __init__(self, method: BehaviourCloning, setup: Setup) -> None:
        """Choose the episodes and build the network."""
        super().__init__(setup)
        data = setup.data
        if method.best_share < 1.0:
            best = best_episodes(data.episodes, method.best_share)
            data = data.like(data.episodes.select(best))
        self.data = data
        columns = self.tensor(data.normalised()), self.tensor(data.actions)
        self.rows = Rows(columns, setup.batch_size)
        self.net = network(data.num_states, method.hidden, data.num_actions, self.generator)
        self.modules["net"] = self.net.to(self.device)
        self.optimisers["net"] = Optimiser(adam(method.lr), self.net.parameters())

    def update(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Take a step on a batch of single steps; return its loss."""
        (states, actions), shares = self.rows.draw(rng)
        outputs = self.net(states)
        if self.data.is_discrete:
            loss = mean_of(functional.cross_entropy(outputs, actions, reduction="none"), shares)
        else:
            errors = functional.mse_loss(outputs.tanh(), actions, reduction="none")
            loss = mean_of(errors, shares)
        self.optimisers["net"].step(loss)
        return {"loss": loss.detach()}

    def export(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the policy."""
        head = "categorical" if self.data.is_discrete else "deterministic"
        return exported(self.net, head, self.data)
