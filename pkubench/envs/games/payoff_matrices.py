"""Checks of payoff matrices: numbers that can be added up, and symmetry."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pkubench.envs.games.errors import GameError
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.payoff_units import check_range

ANTISYMMETRY = 1e-6
"""How far (times the largest payoff) a matrix may be from ``-matrix.T`` and count as symmetric."""


def checked_payoff(payoff: ArrayLike, name: str) -> Floats:
    """Return a copy of ``payoff`` as float64.

    Raises:
        GameError: It is not a finite, non-empty, two-dimensional array of real numbers, or they are
            too large or too small to be added up.
    """
    array = np.asarray(payoff)
    if array.dtype.kind not in "biuf":
        raise GameError(f"{name}: payoffs must be real numbers, got dtype {array.dtype}")
    if array.ndim != 2 or not array.size:
        raise GameError(
            f"{name}: payoffs must be a table of (rows, columns) with one or more of each, what "
            f"each row wins against each column; got shape {array.shape}"
        )
    given = array
    with np.errstate(over="ignore"):  # long doubles; what overflows is named below
        array = array.astype(np.float64)
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise GameError(
            f"{name}: {len(wrong)} of {array.size} payoffs are not finite, the first at row {row}, "
            f"column {column}: {given[row, column]}"
        )
    check_range(array, name)
    return array


def is_antisymmetric(array: Floats) -> bool:
    """Say whether a payoff matrix is that of a symmetric game, up to ``ANTISYMMETRY``."""
    if array.shape[0] != array.shape[1]:
        return False
    return bool(np.abs(array + array.T).max() <= ANTISYMMETRY * np.abs(array).max())


def asymmetry(array: Floats) -> str:
    """Say why a payoff matrix is not that of a symmetric game."""
    if array.shape[0] != array.shape[1]:
        return f"it has {array.shape[0]} rows and {array.shape[1]} columns"
    row, column = np.unravel_index(int(np.abs(array + array.T).argmax()), array.shape)
    return (
        f"row {row} wins {array[row, column]:g} against column {column}, and row {column} wins "
        f"{array[column, row]:g} against column {row}; they must be opposite"
    )
