"""LAMB (You et al., ICLR 2020): Adam's step, scaled in each tensor by the norm of its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Lamb(torch.optim.Optimizer):
    """Algorithm 2 of the paper, with weight decay and norms of weights clipped to 10.

    Moments are not corrected for their start at 0, as in the code that Online Decision Transformer
    uses.
    """

    def __init__(self, params: Any, lr: float, weight_decay: float) -> None:
        """Make it; betas are 0.9 and 0.999, epsilon is 1e-8."""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                kept = self.state[weight]
                if not kept:
                    kept["first"] = torch.zeros_like(weight)
                    kept["second"] = torch.zeros_like(weight)
                kept["first"].lerp_(weight.grad, 0.1)
                kept["second"].mul_(0.999).addcmul_(weight.grad, weight.grad, value=0.001)
                move = kept["first"] / (kept["second"].sqrt() + 1e-8)
                move.add_(weight, alpha=group["weight_decay"])
                size, length = weight.norm().clamp(max=10.0), move.norm()
                ratio = torch.where((size > 0) & (length > 0), size / length, 1.0)
                weight.sub_(move * (group["lr"] * ratio))
