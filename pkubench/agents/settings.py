"""Values of settings: read from text, converted to a field's type, checked against domains."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from pkubench.errors import ConfigError


def check_domains(
    config: Any,
    *,
    at_least_one: Iterable[str] = (),
    shares: Iterable[str] = (),
    positive: Iterable[str] = (),
    not_negative: Iterable[str] = (),
) -> None:
    """Check that a dataclass's numbers are finite and in the domain of each named group.

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


def read_value(text: str) -> Any:
    """Parse a value: JSON where it parses, the text itself otherwise."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def fitted(name: str, value: Any, hint: Any) -> Any:
    """Convert a JSON value to a field's type ``hint``.

    Raises:
        ConfigError: it is of another type; the message names ``name`` and what it must be.
    """
    options = (
        typing.get_args(hint)
        if typing.get_origin(hint) in (typing.Union, types.UnionType)
        else (hint,)
    )
    for option in options:
        origin = typing.get_origin(option) or option
        if option is type(None):
            if value is None:
                return None
        elif origin is typing.Literal:
            if value in typing.get_args(option):
                return value
        elif origin is tuple and isinstance(value, list | tuple):
            return tuple(value)
        elif origin is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif origin is int and isinstance(value, int | float) and not isinstance(value, bool):
            if float(value).is_integer():
                return int(value)
        elif isinstance(origin, type) and isinstance(value, origin):
            return value
    if typing.get_origin(hint) is typing.Literal:
        choices = ", ".join(map(repr, typing.get_args(hint)))
        raise ConfigError(f"setting {name}={value!r} does not fit; choose one of {choices}")
    wanted = " or ".join(_WANTED.get(typing.get_origin(o) or o, str(o)) for o in options)
    raise ConfigError(f"setting {name}={value!r} does not fit: it must be {wanted}")


_WANTED: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list such as [64, 64]",
    type(None): "null",
}
