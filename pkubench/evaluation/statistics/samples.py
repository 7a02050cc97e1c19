"""Input checks of the statistics: finite arrays of the stated shape, valid settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pkubench.errors import PkubenchError

FloatArray = NDArray[np.float64]


class StatisticsError(PkubenchError):
    """Numbers from which the statistic asked for cannot be computed."""


def _array(given: ArrayLike, name: str) -> FloatArray:
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise StatisticsError(
            f"{name} must be a full array of numbers; rows of different length or missing values "
            "do not make one"
        ) from None
    if array.size == 0:
        raise StatisticsError(f"{name} must not be empty, got shape {array.shape}")
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise StatisticsError(
            f"{name} must be finite, got {bad} NaN or infinite of {array.size} values; "
            "score failed runs by the task's rule before aggregating"
        )
    return array


def score_array(given: ArrayLike, name: str = "scores") -> FloatArray:
    """Return ``given`` as a finite (runs, tasks) float64 array, or say what is wrong."""
    array = _array(given, name)
    if array.ndim != 2:
        hint = "; for one task use scores[:, None]" if array.ndim == 1 else ""
        raise StatisticsError(f"{name} must have shape (runs, tasks), got {array.shape}{hint}")
    return array


def vector(given: ArrayLike, name: str) -> FloatArray:
    """Return ``given`` as a finite one-dimensional float64 array, or say what is wrong."""
    array = _array(given, name)
    if array.ndim != 1:
        raise StatisticsError(f"{name} must be one-dimensional, got shape {array.shape}")
    return array


def require_same_tasks(x: FloatArray, y: FloatArray) -> None:
    """Check that two (runs, tasks) arrays have equally many tasks."""
    if x.shape[1] != y.shape[1]:
        raise StatisticsError(
            f"both sides need the same tasks in the same order, got {x.shape[1]} and {y.shape[1]}"
        )


def tail_of(confidence: float) -> float:
    """Return the probability left in each tail."""
    if not 0.0 < confidence < 1.0:
        raise StatisticsError(f"confidence must lie in (0, 1), such as 0.95; got {confidence}")
    return (1.0 - confidence) / 2


def whole_number(given: object, name: str) -> int:
    """Return ``given`` as an int; a float is accepted if it is whole, as sums of flags are."""
    number = float(given) if isinstance(given, int | float | np.number) else math.nan
    if not number.is_integer():
        raise StatisticsError(f"{name} must be a whole number, got {given!r}")
    return int(number)


def generator(seed: int, name: str = "") -> np.random.Generator:
    """Return a generator of its own for ``seed`` and, within it, ``name``."""
    whole = whole_number(seed, "seed")
    if whole < 0:
        raise StatisticsError(f"seed must be at least 0, got {whole}")
    return np.random.default_rng([whole, *name.encode()])


def finite_number(value: Any) -> float:
    """Return what a statistic gave as a float, or say that it is not one."""
    number = np.asarray(value, dtype=np.float64)
    if number.size != 1 or not np.isfinite(number).all():
        what = f"shape {number.shape}" if number.size != 1 else str(value)
        raise StatisticsError(f"the statistic must return one finite number, got {what}")
    return float(number.reshape(()))
