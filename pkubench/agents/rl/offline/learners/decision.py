"""The Decision Transformer's update (kzl/decision-transformer, gym/).

Windows are padded on the right, where causal attention never looks, and not on the left with a
mask: every unpadded step has the same output (the model has no positions in the window), and the
fused causal kernel needs no mask.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pkubench.agents.nn.precision import autocast
from pkubench.agents.nn.transformer import TransformerSpec
from pkubench.agents.rl.offline.data import Array, Prepared
from pkubench.agents.rl.offline.learners.base import MethodLearner
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.offline.methods.dt import DecisionMethod
from pkubench.agents.rl.offline.models.decision import DecisionSpec, DecisionTransformer, Steps
from pkubench.agents.rl.optimiser import Optimiser, adamw, warmed_up
from pkubench.agents.rl.trained import tensors_of


class DecisionLearner(MethodLearner):
    """A Decision Transformer and its update."""

    head = "tanh"
    """How outputs become continuous actions: ``tanh``, or ``squashed`` for a distribution."""

    def __init__(self, method: DecisionMethod, setup: Setup) -> None:
        """Build the network and put the data in the form of its windows."""
        super().__init__(setup)
        self.method = method
        self.returns = setup.data.episodes.returns
        self.scale = return_scale(self.returns, method.return_scale)
        spec = DecisionSpec(
            transformer=TransformerSpec(
                width=method.width,
                layers=method.layers,
                heads=method.heads,
                activation=method.activation,
                dropout=method.dropout,
            ),
            states=setup.data.num_states,
            actions=setup.data.num_actions,
            is_discrete=setup.data.is_discrete,
            outputs=self.outputs(setup.data),
            times=self.times(setup),
        )
        self.net = DecisionTransformer(spec, self.generator).to(self.device)
        self.modules["net"] = self.net
        self.optimisers["net"] = Optimiser(
            adamw(method.lr, method.weight_decay),
            self.net.parameters(),
            schedule=warmed_up(method.warmup_steps),
            max_grad_norm=method.max_grad_norm,
        )
        self.take_data(setup.data)

    def outputs(self, data: Prepared) -> int:
        """Return the number of the head's outputs."""
        return data.num_actions

    def times(self, setup: Setup) -> int:
        """Return the number of time embeddings."""
        return max(setup.horizon, int(setup.data.episodes.lengths.max()))

    def take_data(self, data: Prepared) -> None:
        """Keep the columns that windows are cut from."""
        self.data = data
        self._states = torch.from_numpy(data.normalised())
        self._actions = torch.from_numpy(np.ascontiguousarray(data.actions))
        to_go = data.episodes.returns_to_go() / self.scale
        self._to_go = torch.from_numpy(to_go.astype(np.float32))
        self._times = torch.from_numpy(data.episodes.timesteps)

    def windows(self, rows: Array) -> Steps:
        """Return the steps in some rows (B, L) of the data."""
        chosen = torch.from_numpy(rows)
        columns = (self._to_go, self._states, self._actions, self._times)
        return Steps(*(column[chosen].to(self.device) for column in columns))

    def update(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Take a step on a batch of windows; return its loss."""
        loss = self.loss(*self.unpadded(rng))
        self.optimisers["net"].step(loss)
        return {"loss": loss.detach()}

    def unpadded(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return outputs (N, n) and actions of the N unpadded steps of a batch of windows."""
        drawn = self.data.draw_windows(self.setup.batch_size, self.method.context, rng).trimmed()
        steps, valid = self.windows(drawn.rows), torch.from_numpy(drawn.valid).to(self.device)
        self.net.train()
        with autocast(self.setup.precision, self.device):
            outputs = self.net(steps)
        return outputs.float()[valid], steps.actions[valid]

    def loss(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the mean loss of N unpadded steps, given outputs (N, n) and actions."""
        if self.data.is_discrete:
            return functional.cross_entropy(outputs, actions)
        return functional.mse_loss(outputs.tanh(), actions)

    def export(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the network and what acting needs to know of the data."""
        described = {
            "form": "decision",
            "head": "categorical" if self.data.is_discrete else self.head,
            "spec": self.net.spec.as_config(),
            "context": self.acting_context,
            "return_scale": self.scale,
            "returns": [float(self.returns.min()), float(self.returns.max())],
        }
        tensors = {f"net.{name}": value for name, value in tensors_of(self.net).items()}
        return described, tensors | {"mean": self.data.mean, "std": self.data.std}

    @property
    def acting_context(self) -> int:
        """Steps that acting looks back on, the present one included."""
        return self.method.context


def return_scale(returns: Array, given: float | None) -> float:
    """Return what returns are divided by (see ``DecisionMethod.return_scale``).

    >>> return_scale(np.array([3600.0, 20.0]), None), return_scale(np.array([-0.5]), None)
    (1000.0, 1.0)
    """
    largest = float(np.abs(returns).max())
    if given is not None or largest < 1.0:
        return 1.0 if given is None else given
    return 10.0 ** math.floor(math.log10(largest))
