"""What the learner of every method has: networks, optimisers, their state, and the saved agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pkubench.agents.rl.offline.data import Array
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.optimiser import Optimiser
from pkubench.errors import WeightsError


class MethodLearner(ABC):
    """Networks and their update; the session's side is ``training.py``."""

    def __init__(self, setup: Setup) -> None:
        """Take what all methods share."""
        self.setup, self.data, self.device = setup, setup.data, setup.device
        self.generator = torch.Generator().manual_seed(setup.seed)
        """Source of the initial weights."""
        self.modules: dict[str, nn.Module] = {}
        self.optimisers: dict[str, Optimiser] = {}

    @abstractmethod
    def update(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw a batch and take a gradient step; return scalars for the curve."""

    @abstractmethod
    def export(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what ``config.json`` says of the policy, and its tensors."""

    def state(self) -> dict[str, Any]:
        """Return everything that changes."""
        return {
            "modules": {name: tensors_of(module) for name, module in self.modules.items()},
            "optimisers": {name: made.state() for name, made in self.optimisers.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            WeightsError: it is of networks of another shape.
        """
        try:
            for name, module in self.modules.items():
                tensors = state["modules"][name].items()
                module.load_state_dict({key: torch.from_numpy(v.copy()) for key, v in tensors})
            for name, made in self.optimisers.items():
                made.load_state(state["optimisers"][name])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def tensor(self, array: Array) -> Tensor:
        """Return an array on the learner's device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def tensors_of(module: nn.Module) -> dict[str, Array]:
    """Return copies of a module's tensors by name."""
    return {
        name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()
    }
