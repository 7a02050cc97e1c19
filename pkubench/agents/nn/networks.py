"""Feed-forward networks of the papers, seeded and described by plain data.

A ``NetworkSpec`` has everything needed to rebuild a network from its tensors, in torch for
training (here) and in NumPy for acting (``fast/policy.py``).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["relu", "tanh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """Shape of a multi-layer perceptron."""

    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    activation: Activation
    layer_norm: bool
    """HARL's base: LayerNorm on the input and after each activation."""
    init: Literal["orthogonal", "kaiming"]
    """``orthogonal``: HARL (gain by activation, zero bias); ``kaiming``: torch's and OmniSafe's."""
    head_gain: float
    """Gain of the last layer's orthogonal initialisation."""

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return asdict(self)


class MLP(nn.Module):
    """``[LayerNorm] -> (Linear -> activation -> [LayerNorm]) * k -> Linear``."""

    def __init__(self, spec: NetworkSpec, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.spec = spec
        sizes = (spec.inputs, *spec.hidden)
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(s) for s in sizes) if spec.layer_norm else None
        self.head = nn.Linear(sizes[-1], spec.outputs)
        self._activate = functional.relu if spec.activation == "relu" else torch.tanh
        gain = math.sqrt(2.0) if spec.activation == "relu" else 5.0 / 3.0
        for linear in self.linears:
            assert isinstance(linear, nn.Linear)
            initialise(linear, spec.init, gain, generator)
        initialise(self.head, spec.init, spec.head_gain, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs)."""
        if self.norms is not None:
            x = self.norms[0](x)
        for k, linear in enumerate(self.linears):
            x = self._activate(linear(x))
            if self.norms is not None:
                x = self.norms[k + 1](x)
        return self.head(x)  # type: ignore[no-any-return]


def initialise(linear: nn.Linear, how: str, gain: float, generator: torch.Generator) -> None:
    """Fill a layer's parameters: ``orthogonal`` with a gain (HARL), or ``kaiming`` (torch)."""
    bias: Tensor | None = linear.bias
    if how == "orthogonal":
        nn.init.orthogonal_(linear.weight, gain=gain, generator=generator)
        if bias is not None:
            nn.init.zeros_(bias)
        return
    nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5.0), generator=generator)
    if bias is not None:
        bound = 1.0 / math.sqrt(linear.in_features)
        nn.init.uniform_(bias, -bound, bound, generator=generator)
