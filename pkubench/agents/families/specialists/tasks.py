"""Which tasks there are, and who is responsible for each: what is read from a run of geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from pkubench.agents.saved.files import load_saved
from pkubench.errors import ConfigError, WeightsError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
CODES, UP = "object_codes", "up"
"""Tensors of a run of geometry: of each task the object's code, (n, 64), and the vertical in the
object's frame, (n, 3)."""
_CODE: Final = 64


class KnownTasks(NamedTuple):
    """The tasks that specialists are trained on."""

    pairs: list[list[int]]
    """Object and pose of each, by number."""
    labels: IntArray
    """(n,): its group in the clusters of geometry."""
    families: list[str]
    """Family of its object."""
    codes: FloatArray
    """(n, 64)."""
    up: FloatArray
    """(n, 3)."""

    def group(self, labels: IntArray, number: int) -> list[list[int]]:
        """Return the pairs of a group of a partition."""
        return [self.pairs[k] for k in np.flatnonzero(labels == number).tolist()]


def read_tasks(folder: Path) -> KnownTasks:
    """Return what a run of geometry says of its tasks.

    Raises:
        ConfigError: the folder is of another kind of run.
        WeightsError: it is damaged.
    """
    saved = load_saved(folder)
    pairs, labels, families = (saved.config.get(k) for k in ("tasks", "labels", "families"))
    lists = (pairs, labels, families)
    if not all(isinstance(of, list) and of for of in lists) or CODES not in saved.tensors:
        raise ConfigError(f"{folder} is not a run of task-geometry: it has no tasks")
    assert isinstance(pairs, list) and isinstance(families, list) and isinstance(labels, list)
    codes, up = table_of(saved.tensors)
    if not len(pairs) == len(families) == len(codes) or np.shape(labels) != (len(pairs),):
        raise WeightsError(f"{folder} has tasks whose tables differ in length")
    return KnownTasks(pairs, np.asarray(labels, np.int64), families, codes, up)


def table_of(tensors: Mapping[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Return codes (n, 64) and verticals (n, 3) of saved tasks.

    Raises:
        WeightsError: there are none, or of another shape.
    """
    codes, up = (np.asarray(tensors.get(name, 0.0), np.float64) for name in (CODES, UP))
    is_table = codes.ndim == 2 and codes.shape[1] == _CODE and up.shape == (len(codes), 3)
    if not is_table or not len(codes) or not (np.isfinite(codes).all() and np.isfinite(up).all()):
        raise WeightsError(f"tasks have codes of {_CODE} numbers and a vertical, all finite")
    return codes, up


def nearest(codes: FloatArray, up: FloatArray, known: Sequence[FloatArray]) -> IntArray:
    """Return the number of the known task most like each given one, (m,).

    The distance is that of the geometry codes, in units of 5 cm, and of the verticals in the
    objects' frames. A task that was trained on is its own nearest.

    Args:
        codes: (m, 64).
        up: (m, 3).
        known: codes (n, 64) and verticals (n, 3).
    """
    given, there = np.concatenate((codes, up), axis=1), np.concatenate(list(known), axis=1)
    found: IntArray = cdist(given, there).argmin(axis=1)
    return found
