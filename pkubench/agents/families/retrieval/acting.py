"""Acting with a saved policy, in double precision on one thread."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.contract import FloatArray, IntArray
from pkubench.agents.families.retrieval.networks import SIDE, Groups, Policy, TaskLayer
from pkubench.agents.nn.torch_policy import one_thread


class ActingNetwork:
    """A saved policy from arrays to arrays, as ``nn.torch_policy`` wants networks."""

    def __init__(self, net: Policy, layer: TaskLayer | None) -> None:
        """Take over a policy and the layers that were generated for it, and widen them."""
        self.net = net.double().eval()
        self.layer = (
            None if layer is None else TaskLayer(layer.weight.double(), layer.bias.double())
        )

    @property
    def inputs(self) -> int:
        """Size of one observation."""
        return self.net.spec.inputs

    def __call__(self, x: FloatArray) -> FloatArray:
        """Map (B, inputs) float64 to logits (B, actions) float64."""
        with one_thread(), torch.no_grad():
            seen = self._views(x)
            return self._logits(self.net.encoder(seen), self._tasks(seen))

    def step(self, x: FloatArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return logits (B, actions) and hidden states (B, units) after one step."""
        with one_thread(), torch.no_grad():
            seen = self._views(x)
            never = torch.zeros(1, len(x), dtype=torch.bool)
            features = self.net.encoder(seen)[None]
            h, states = self.net.remember(features, never, torch.from_numpy(hidden))
            return self._logits(h[0], self._tasks(seen)), states[0].numpy()

    def features(self, x: FloatArray) -> tuple[Tensor, IntArray]:
        """Return the encoder's features (B, 64) float64 and the tasks (B,) of observations."""
        seen = self._views(x)
        return self.net.encoder(seen), self._tasks(seen)

    def _views(self, x: FloatArray) -> Tensor:
        return torch.from_numpy(x).view(len(x), SIDE, SIDE, self.net.spec.channels)

    def _tasks(self, seen: Tensor) -> IntArray:
        if self.net.spec.channels == 3:
            return np.zeros(len(seen), dtype=np.int64)
        found: IntArray = seen[:, 0, 0, 3].long().clamp(max=self.net.spec.tasks - 1).numpy()
        return found

    def _logits(self, h: Tensor, tasks: IntArray) -> FloatArray:
        groups = Groups.of(tasks, self.net.spec.tasks)
        found: FloatArray = self.net.logits(h, torch.from_numpy(tasks), groups, self.layer).numpy()
        return found
