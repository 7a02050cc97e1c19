"""Steps of an optimiser: schedule of the rate, clipping of the gradient, and a state of arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Schedule = Callable[[int], float]
"""From the number of steps taken to the factor of the learning rate."""


def constant(step: int) -> float:
    """Return 1."""
    return 1.0


def warmed_up(steps: int) -> Schedule:
    """Return a schedule that rises linearly over ``steps``, and stays."""
    return lambda step: min((step + 1) / max(steps, 1), 1.0)


def cosine(total: int) -> Schedule:
    """Return a schedule that falls to 0 along half a cosine over ``total`` steps."""
    return lambda step: 0.5 * (1.0 + math.cos(math.pi * min(step / max(total, 1), 1.0)))


class Optimiser:
    """A ``torch.optim`` optimiser of some modules, one step a loss."""

    def __init__(
        self,
        make: Callable[[Any], torch.optim.Optimizer],
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        schedule: Schedule = constant,
        max_grad_norm: float | None = None,
    ) -> None:
        """Make it.

        Args:
            make: from parameters, or groups of them, to the optimiser.
            parameters: what it updates.
            schedule: factor of each group's learning rate.
            max_grad_norm: gradients are scaled down to this norm over all parameters.
        """
        groups = list(parameters)
        self.inner = make(groups)
        self.parameters = [p for group in self.inner.param_groups for p in group["params"]]
        self.rates = [float(group["lr"]) for group in self.inner.param_groups]
        self.schedule, self.max_grad_norm = schedule, max_grad_norm
        self.count = 0
        """Steps taken."""

    def step(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss."""
        self.inner.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        factor = self.schedule(self.count)
        for group, rate in zip(self.inner.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.inner.step()
        self.count += 1

    def state(self) -> dict[str, Any]:
        """Return the moments as arrays, and the number of steps."""
        moments = []
        for parameter in self.parameters:
            kept = self.inner.state.get(parameter, {})
            moments.append(
                {name: value.detach().cpu().numpy().copy() for name, value in kept.items()}
            )
        return {"moments": moments, "count": self.count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned."""
        for parameter, kept in zip(self.parameters, state["moments"], strict=True):
            found = {}
            for name, value in kept.items():
                # Adam's count of steps is a scalar on the CPU; the rest is like the parameter, in
                # the order in memory too, which the fused kernels take for granted.
                tensor = torch.from_numpy(value.copy())
                found[name] = (
                    tensor if value.ndim == 0 else torch.empty_like(parameter).copy_(tensor)
                )
            if found:
                self.inner.state[parameter] = found
        self.count = int(state["count"])


def decayed_weights(module: nn.Module) -> list[dict[str, Any]]:
    """Return a module's parameters in groups: weights decay, biases and norms' scales do not."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def adam(lr: float) -> Callable[[Any], torch.optim.Optimizer]:
    """Return a maker of Adam."""
    return lambda parameters: torch.optim.Adam(parameters, lr=lr, fused=True)


def adamw(
    lr: float, weight_decay: float, betas: tuple[float, float] = (0.9, 0.999)
) -> Callable[[Any], torch.optim.Optimizer]:
    """Return a maker of AdamW."""
    return lambda parameters: torch.optim.AdamW(
        parameters, lr=lr, weight_decay=weight_decay, betas=betas, fused=True
    )
