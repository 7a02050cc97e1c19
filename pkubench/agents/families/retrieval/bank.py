"""A bank that the memory starts from: states with values, in a NumPy file."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.agents.contract import IntArray
from pkubench.errors import DataError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

Array = npt.NDArray[Any]
_NEEDED = ("states", "values", "tasks")


class Bank(NamedTuple):
    """n states with their values."""

    states: Array
    """(n, 7, 7, 3) uint8, views of grid worlds."""
    values: Array
    """(n,) float32, discounted returns from there."""
    tasks: IntArray
    """(n,), numbers among the missions of the task that is trained on."""
    optimal_values: Array
    """(n,) float32, V*; no numbers where they are not known."""
    optimal_actions: Array
    """(n,) uint8, optimal actions as bits; no numbers where they are not known."""
    sha256: str = ""
    """Of the file."""
    targets: tuple[str, ...] = ()
    """Levels that it is for, by the number of the task; none: it does not say."""


def make_bank(
    states: Array,
    values: Array,
    tasks: Array,
    optimal_values: Array | None = None,
    optimal_actions: Array | None = None,
    *,
    sha256: str = "",
) -> Bank:
    """Return a bank of arrays.

    Raises:
        DataError: shapes or dtypes are others than those of :class:`Bank`, it is empty, a value is
            not finite or a task is negative.
    """
    count = len(states)
    wanted = {
        "states": (states, (count, 7, 7, 3), "u"),
        "values": (values, (count,), "f"),
        "tasks": (tasks, (count,), "iu"),
    }
    if optimal_values is not None and optimal_actions is not None:
        wanted["optimal_values"] = optimal_values, (count,), "f"
        wanted["optimal_actions"] = optimal_actions, (count,), "u"
    else:
        optimal_values, optimal_actions = np.zeros(0), np.zeros(0)
    for name, (array, shape, kinds) in wanted.items():
        if array.shape != shape or array.dtype.kind not in kinds or not count:
            raise DataError(
                f"{name} of a bank have shape {shape} and {kinds!r} numbers, n at least 1; got "
                f"{array.shape} of {array.dtype}"
            )
    is_finite = np.isfinite(values).all() and np.isfinite(optimal_values).all()
    if not is_finite or (tasks < 0).any() or states.max() > 255:
        raise DataError("values of a bank are finite, and tasks are numbers from 0 on")
    return Bank(
        states.astype(np.uint8),
        values.astype(np.float32),
        tasks.astype(np.int64),
        optimal_values.astype(np.float32),
        optimal_actions.astype(np.uint8),
        sha256,
    )


def read_bank(path: str, task: Task) -> Bank:
    """Read the arrays of an ``.npz`` file by the names that they have in :class:`Bank`.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise DataError(f"{path} is not a bank: it is not an .npz file")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            missing = [name for name in _NEEDED if name not in file.files]
            if not missing:
                states, values, tasks = (file[name] for name in _NEEDED)
                optima = [file[n] for n in ("optimal_values", "optimal_actions") if n in file.files]
                targets = file["targets"] if "targets" in file.files else np.zeros(0, np.str_)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if missing:
        raise DataError(
            f"{path} is not a bank for an agent: it has no {', '.join(missing)}; "
            "`MemoryBank.load(path).slots(n, seed=0).save(path)` draws one from a whole memory bank"
        )
    if len(optima) == 1:
        raise DataError(f"{path} has optimal values or optimal actions, and not both")
    if targets.ndim != 1 or targets.dtype.kind != "U":
        raise DataError(f"{path}: targets are names of levels, got {targets.dtype}")
    bank = make_bank(states, values, tasks, *optima, sha256=hashlib.sha256(data).hexdigest())
    return bank._replace(targets=tuple(map(str, targets)))
