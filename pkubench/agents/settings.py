"""Domains of a learner's settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from pkubench.errors import ConfigError


def check_domains(
    config: Any,
    *,
    at_least_one: Iterable[str],
    shares: Iterable[str],
    positive: Iterable[str],
    not_negative: Iterable[str],
) -> None:
    """Check that numbers of a dataclass are finite and lie where each named group must.

    ``shares`` lie in [0, 1]. None counts as positive and as not negative.

    Raises:
        ConfigError: one does not.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{field.name} must be a finite number, got {value}")
    for name in at_least_one:
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} must be at least 1, got {getattr(config, name)}")
    for name in shares:
        if not 0.0 <= getattr(config, name) <= 1.0:
            raise ConfigError(f"{name} must lie in [0, 1], got {getattr(config, name)}")
    for name in positive:
        value = getattr(config, name)
        if value is not None and value <= 0.0:
            raise ConfigError(f"{name} must be positive, got {value}")
    for name in not_negative:
        value = getattr(config, name)
        if value is not None and value < 0.0:
            raise ConfigError(f"{name} must be at least 0, got {value}")
