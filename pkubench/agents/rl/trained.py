"""The state of a learner that is networks and their optimisers: saved and restored whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from pkubench.agents.rl.optimiser import Optimiser
from pkubench.errors import WeightsError


class Trained:
    """Named networks and optimisers, which are all that changes in training."""

    modules: dict[str, Any]
    """Networks by name."""
    optimisers: dict[str, Optimiser]
    """Their optimisers by name."""

    def state(self) -> dict[str, Any]:
        """Return everything that changes."""
        return {
            "modules": {name: tensors_of(module) for name, module in self.modules.items()},
            "optimisers": {name: made.state() for name, made in self.optimisers.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            WeightsError: it is of networks of other shapes.
        """
        try:
            for name, module in self.modules.items():
                tensors = state["modules"][name].items()
                module.load_state_dict({key: torch.from_numpy(v.copy()) for key, v in tensors})
            for name, made in self.optimisers.items():
                made.load_state(state["optimisers"][name])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error


def tensors_of(module: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Return copies of a module's tensors by name."""
    return {
        name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()
    }
