"""Options of an episode: what a reset may choose besides the seed, such as a level or an object.

An environment declares them by name, each with its default and the space of its values. They are
chosen when an episode starts and hold until it ends; a reset without options has the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.errors import ConfigError, UnknownName

Array = npt.NDArray[Any]


class Option(NamedTuple):
    """One option of an environment's episodes."""

    default: Any
    """Its value where a reset does not choose one."""
    space: spaces.Space[Any]
    """Its values: ``Discrete``, ``Box``, ``MultiDiscrete``, ``Text``, ..."""
    meaning: str
    """What it changes, for messages and documentation."""


def option_arrays(
    declared: Mapping[str, Option], given: Mapping[str, Any] | None, count: int
) -> dict[str, Array]:
    """Return the value of every declared option in each of ``count`` episodes.

    Args:
        declared: the environment's options.
        given: option -> a value for all episodes, or an array (count, ...) with one for each.
        count: number of episodes.

    Returns:
        Option -> array (count, ...) of the space's dtype (of objects for texts).

    Raises:
        UnknownName: an option that is not declared; the message names the nearest.
        ConfigError: a value outside its space, or an array of another length.
    """
    for name in given or {}:
        if name not in declared:
            known = "" if declared else "this environment has no options"
            raise UnknownName("option of an episode", name, declared, known)
    return {
        name: _rows(name, option, (given or {}).get(name, option.default), count)
        for name, option in declared.items()
    }


def _rows(name: str, option: Option, value: Any, count: int) -> Array:
    is_text = isinstance(option.space, spaces.Text)
    shape: tuple[int, ...] = () if is_text else tuple(option.space.shape or ())
    try:
        array = np.asarray(value, object if is_text else None)
        if isinstance(option.space, spaces.Box) and option.space.dtype.kind == "f":
            array = array.astype(option.space.dtype)
    except (TypeError, ValueError) as error:  # rows of unlike lengths, or no numbers
        raise ConfigError(f"option {name}: {error}") from error
    if array.shape == shape:
        array = np.broadcast_to(array, (count, *shape))
    elif array.shape != (count, *shape):
        raise ConfigError(
            f"option {name} has shape {array.shape}: give one value of shape {shape}, or an array "
            f"of {count} of them"
        )
    if value is option.default:  # as declared, so it is one of its values
        return array.astype(object if is_text else option.space.dtype)
    for row in array:
        if not option.space.contains(row if is_text else np.asarray(row)):
            given = row if is_text else np.asarray(row).tolist()
            raise ConfigError(f"option {name}={given!r} is not one of {option.space}")
    return array.astype(object if is_text else option.space.dtype)
