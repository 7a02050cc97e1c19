"""Figures of ratings: who leads, and the circles in which agents beat each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pkubench.errors import RecordError
from pkubench.evaluation.figures.style import BASELINE_COLOUR, PALETTE, canvas, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pkubench.evaluation.ratings.rating import Ratings

MAX_AGENTS = 40
"""Names beside a figure can be read of so many."""
_UNITS = {"elo": "Elo", "nash_rating": "rating against the equilibrium", "mean": "mean"}
_DIGITS = 10
_ENTRIES = {
    "wins": "share of wins",
    "payoffs": "payoff",
    "general": "payoff",
    "scores": "score",
}
"""Kind of a table -> what its entries are."""
_CYCLIC = {"wins": "cyclic part (log-odds)", "payoffs": "cyclic part (payoff)"}


def rating_figure(ratings: Ratings, out: str | os.PathLike[str], *, title: str = "") -> Path:
    """Draw ratings with intervals, and below them the table or what they leave of it.

    Args:
        ratings: What ``rate`` returned.
        out: File to write, ``.svg`` or ``.png``.
        title: Line above the figure.

    Raises:
        RecordError: There are more than ``MAX_AGENTS`` agents or columns.
        MissingExtra, ConfigError, StorageError: As ``canvas``.
    """
    if max(len(ratings.names), len(ratings.columns)) > MAX_AGENTS:
        raise RecordError(f"a figure has at most {MAX_AGENTS} agents or tasks; use --json")
    main = next(name for name in ("elo", "nash_rating", "mean") if name in ratings.values)
    # Where all are equal, as in a circle, they differ by rounding, which is not to be seen.
    order = np.argsort(-ratings.values[main].round(_DIGITS), kind="stable")
    names = [shown(ratings.names[k]) for k in order]
    is_cyclic = ratings.cyclic is not None
    square = ratings.kind != "scores"
    below = ratings.cyclic if ratings.cyclic is not None else ratings.table
    below = below[order][:, order] if square else below[order]
    heads = names if square else [shown(name) for name in ratings.columns]
    caption = (
        "Dot: rating; bar: 95 % interval over runs; area of the dot: weight in the Nash "
        "equilibrium of largest entropy. Below: "
        + ("what the ratings leave out (cyclic part)." if is_cyclic else "the table.")
    )
    height = 2.6 + 0.34 * len(names)
    of_map = _CYCLIC[ratings.kind] if is_cyclic else _ENTRIES[ratings.kind]
    with canvas(out, title, caption, height=height, panels=(1, 1.3)) as (top, bottom):
        _dots(top, ratings, main, order, names)
        _map(bottom, below, names, heads, of_map, is_signed=is_cyclic)
    return Path(out)


def _dots(
    axes: Axes, ratings: Ratings, main: str, order: NDArray[np.int64], names: Sequence[str]
) -> None:
    values, places = ratings.values[main][order].round(_DIGITS), np.arange(len(order))
    low, high = ratings.low[main][order], ratings.high[main][order]
    if np.isfinite(low).all():
        axes.hlines(places, low, high, color=BASELINE_COLOUR, linewidth=1.6)
    weight = ratings.values.get("nash_weight", np.zeros(len(order)))[order]
    axes.scatter(values, places, s=18.0 + 260.0 * weight, color=PALETTE[0], zorder=3)
    axes.set_yticks(places, names)
    axes.set_ylim(len(order) - 0.3, -0.7)
    # Room for the largest dot, which margins of data do not know the size of.
    axes.margins(x=0.08)
    axes.set_xlabel(_UNITS[main])


def _map(
    axes: Axes,
    table: NDArray[np.float64],
    names: Sequence[str],
    heads: Sequence[str],
    label: str,
    *,
    is_signed: bool,
) -> None:
    size = float(np.abs(table).max()) or 1.0
    limits = (-size, size) if is_signed else (float(table.min()), float(table.max()))
    image = axes.imshow(
        table,
        cmap="RdBu" if is_signed else "viridis",
        vmin=limits[0],
        vmax=limits[1],
        aspect="auto",
    )
    axes.grid(False)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(heads)), heads, rotation=60, ha="right")
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes, shrink=0.8, label=label)
