"""A log axis for metrics that reach zero: a solved game is drawn on the bottom line, labelled 0.

Exact solvers leave a solved game's exploitability anywhere between 0 and the last bits of a sum. On
a plain log axis these bits take most of the height, and the interval of a mean of logarithms, some
of them -17 and some -1, covers a hundred decades.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]
Curve = tuple[FloatArray, FloatArray]
"""Steps and values of one run, both (points,)."""

EXPLOITABILITY_FLOOR = 1e-10
"""Rounding error of an exact solver around 0; smaller values count as a solved game."""

_FEW_DECADES = 2.0
"""A shorter axis has too few powers of ten to be read by them alone."""


def bottom_of(values: FloatArray) -> float | None:
    """Return where solved games are drawn: a power of ten below all other values.

    Returns:
        None if no value is a solved game's.
    """
    left = values[values > EXPLOITABILITY_FLOOR]
    if left.size == values.size:
        return None
    return float(10.0 ** math.floor(math.log10(left.min()) - 0.5)) if left.size else 0.1


def held(seeds: Sequence[Curve]) -> list[Curve]:
    """Return an agent's runs; one that has solved the game stays solved until the longest ends."""
    end = max(steps[-1] for steps, _ in seeds)
    return [
        (np.append(steps, end), np.append(values, values[-1]))
        if values[-1] <= EXPLOITABILITY_FLOOR and steps[-1] < end
        else (steps, values)
        for steps, values in seeds
    ]


def set_log_axis(axes: Axes, values: FloatArray, bottom: float | None) -> None:
    """Fit a log axis to ``values`` (and not to intervals), its numbers written out.

    Args:
        axes: Whose vertical axis.
        values: All that is drawn, more than 0.
        bottom: The value labelled 0, if any.
    """
    from matplotlib.ticker import LogFormatterMathtext, NullFormatter

    class Words(LogFormatterMathtext):
        def __call__(self, x: float, pos: int | None = None) -> str:
            if bottom is not None and x < 1.01 * bottom:
                return "0" if x > 0.99 * bottom else ""
            text: str = super().__call__(x, pos)
            return f"{x:g}" if text and 1e-3 <= x < 1e5 else text

    low, high = float(values.min()), float(values.max())
    margin = max(high / low, 2.0) ** 0.06
    axes.set_ylim(low / margin, high * margin)
    decades = math.log10(high / low)
    axes.yaxis.set_major_formatter(Words())
    axes.yaxis.set_minor_formatter(
        Words(minor_thresholds=(_FEW_DECADES, 0.5)) if decades < _FEW_DECADES else NullFormatter()
    )
