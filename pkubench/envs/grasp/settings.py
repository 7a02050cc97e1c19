"""Settings that users give, checked: a wrong one is one line that says what is wanted."""

from __future__ import annotations

import math
from typing import Any

from pkubench.errors import ConfigError


def number(name: str, value: Any, low: float, high: float = math.inf, above: bool = False) -> float:
    """Return a finite number in [low, high], or in (low, high] if it must lie above.

    Raises:
        ConfigError: it is not such a number.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_low = is_number and (value > low if above else value >= low)
    if not is_low or not (value <= high and math.isfinite(value)):
        bracket = "(" if above else "["
        wanted = f"{bracket}{low:g}, {high:g}{')' if high == math.inf else ']'}"
        raise ConfigError(f"{name} must be a number in {wanted}, got {value!r}")
    return float(value)


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return a whole number that is at least ``low`` and at most ``high``.

    Raises:
        ConfigError: it is not such a number.
    """
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        wanted = f"{low} or more" if high is None else f"from {low} to {high:,}"
        raise ConfigError(f"{name} must be a whole number, {wanted}; got {value!r}")
    return int(value)
