"""What the learner of every method has: networks, optimisers, their state, and the saved agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.rl.offline.data import Array
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.trained import Trained


class MethodLearner(Trained, ABC):
    """Networks and their update; the session's side is ``training.py``."""

    def __init__(self, setup: Setup) -> None:
        """Take what all methods share."""
        self.setup, self.data, self.device = setup, setup.data, setup.device
        self.generator = torch.Generator().manual_seed(setup.seed)
        """Source of the initial weights."""
        self.modules, self.optimisers = {}, {}

    @abstractmethod
    def update(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw a batch and take a gradient step; return scalars for the curve."""

    @abstractmethod
    def export(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what ``config.json`` says of the policy, and its tensors."""

    def tensor(self, array: Array) -> Tensor:
        """Return an array on the learner's device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
