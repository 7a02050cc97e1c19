"""Torch policies in double precision, whatever precision their code requests.

A float32 product differs between processors in its last bits. ``policy.double()`` alone is not
enough: policies call ``observation.float()`` or make float32 tensors, which cannot be multiplied
with float64 weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Widening(TorchFunctionMode):  # type: ignore[misc, unused-ignore]
    """Within it, every float32 tensor that a torch function returns becomes float64.

    A value that the code rounds to float32 stays rounded; only further results are in float64.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a torch function and widen what it returns."""
        return _widened(func(*args, **(kwargs or {})))


def _widened(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.double() if value.dtype == torch.float32 else value
    if type(value) in (tuple, list):
        return type(value)(_widened(item) for item in value)
    return value
