"""A learner's state as arrays by path and the plain data around them, and back.

``{"net": {"w": array}, "steps": 3}`` becomes the tensor ``net/w`` and the plain data
``{"net": {"w": {"$tensor": "net/w"}}, "steps": 3}``, which JSON writes. Arrays and numbers come
back bit for bit; tuples come back as lists, NumPy's numbers as Python's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.errors import WeightsError

_TENSOR, _SCALAR = "$tensor", "$scalar"
"""Keys that replace an array in the plain data; arrays without axes are stored with one."""


class Split(NamedTuple):
    """A state in two parts."""

    tensors: dict[str, npt.NDArray[Any]]
    plain: Any


def split(state: Any) -> Split:
    """Take the arrays out of a state.

    Raises:
        TypeError: it holds something that is neither an array nor plain data, a mapping's key is
            not a text, or an array does not hold numbers.
    """
    tensors: dict[str, npt.NDArray[Any]] = {}
    return Split(tensors, _without_arrays(state, "", tensors))


def join(tensors: Mapping[str, npt.NDArray[Any]], plain: Any) -> Any:
    """Put arrays back where ``split`` took them from.

    Raises:
        WeightsError: one is missing.
    """
    if isinstance(plain, list):
        return [join(tensors, value) for value in plain]
    if not isinstance(plain, dict):
        return plain
    name = plain.get(_TENSOR) or plain.get(_SCALAR)
    if name is None:
        return {key: join(tensors, value) for key, value in plain.items()}
    if name not in tensors:
        raise WeightsError(f"the state lacks the array {name!r}")
    return tensors[name] if _TENSOR in plain else tensors[name].reshape(())


def _without_arrays(value: Any, path: str, tensors: dict[str, npt.NDArray[Any]]) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise TypeError(
                f"the state's {path!r} has dtype {value.dtype}, which is not a number's"
            )
        tensors[path] = value.reshape(1) if value.ndim == 0 else value
        return {_SCALAR if value.ndim == 0 else _TENSOR: path}
    if isinstance(value, Mapping):
        plain = {}
        for key, part in value.items():
            if not isinstance(key, str) or key in (_TENSOR, _SCALAR):
                raise TypeError(f"the state's {path!r} has the key {key!r}; keys are other texts")
            plain[key] = _without_arrays(part, _below(path, key), tensors)
        return plain
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_without_arrays(v, _below(path, str(k)), tensors) for k, v in enumerate(value)]
    raise TypeError(f"the state's {path!r} is a {type(value).__name__}: neither array nor data")


def _below(path: str, key: str) -> str:
    """Return a path one level down; slashes in keys are written as JSON pointers do (RFC 6901)."""
    escaped = key.replace("~", "~0").replace("/", "~1")
    return f"{path}/{escaped}" if path else escaped
