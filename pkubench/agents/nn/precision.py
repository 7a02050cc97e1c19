"""The numbers that matrices are multiplied in; needs torch only when it is used."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

from pkubench.errors import ConfigError

Precision = Literal["float32", "bfloat16"]


def check_precision(precision: Precision, device: str) -> None:
    """Check that a processor multiplies in ``precision``.

    Raises:
        ConfigError: bfloat16 on a CPU without its instructions, where it is slower than float32.
    """
    import torch

    if precision == "float32" or torch.device(device).type != "cpu":
        return
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        raise ConfigError(
            "precision=bfloat16 needs a processor with AVX512-BF16 or AMX, and this one has "
            "neither; use precision=float32"
        )


def autocast(precision: Precision, device: str) -> AbstractContextManager[Any]:
    """Return a context that multiplies in ``precision``; parameters and sums stay in float32."""
    import torch

    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16")
