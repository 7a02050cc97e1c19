"""Figures of populations in games: what they can play, and where their policies lie.

As in ``plots``: plain data in, one SVG or PNG out, the same bytes for the same data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pkubench.errors import RecordError

from .style import BASELINE_COLOUR, agent_styles, canvas, shown

FloatArray = NDArray[np.float64]
T = TypeVar("T")


def gamescape(
    payoffs: Mapping[str, ArrayLike], out: str | os.PathLike[str], *, title: str = ""
) -> Path:
    """Draw each population's gamescape: the convex hull of its policies' payoffs, in a plane.

    A policy is the point of its payoffs in two directions (Balduzzi et al. 2019 take the first two
    of the payoff table's Schur form); mixtures are all points of the hull. A larger hull is not a
    lower population exploitability, which the figure cannot show.

    Args:
        payoffs: For each agent (policies, 2) coordinates, of one run and one plane for all.
        out: File to write, ``.svg`` or ``.png``.
        title: Line above the figure.

    Returns:
        The path written.

    Raises:
        RecordError: If there is no agent, or coordinates are not finite and of shape (n, 2).
    """
    clouds = {name: _points(name, points) for name, points in _some(payoffs).items()}
    caption = (
        "Point: a policy's payoffs in the plane in which the game varies most. Outline: all "
        "mixtures of the population. One run each. Larger is not less exploitable."
    )
    styles = agent_styles(clouds)
    with canvas(out, title, caption, height=4.4) as (axes,):
        for name, points in clouds.items():
            colour, dash, marker = styles[name]
            axes.plot(*points.T, marker, color=colour, alpha=0.45, markersize=3.5, linewidth=0)
            outline = hull(points)
            axes.plot(*outline.T, linestyle=dash, color=colour, label=shown(name))
        axes.set(xlabel="first direction (payoff)", ylabel="second direction (payoff)")
    return Path(out)


def policies_in_plane(
    policies: Mapping[str, ArrayLike],
    out: str | os.PathLike[str],
    *,
    centres: ArrayLike,
    title: str = "",
) -> Path:
    """Draw where the policies of populations lie in the plane of the mixture model.

    Args:
        policies: For each agent (policies, 2) points of the plane, of one run.
        out: File to write, ``.svg`` or ``.png``.
        centres: (bells, 2).
        title: Line above the figure.

    Returns:
        The path written.

    Raises:
        RecordError: If there is no agent, or points are not finite and of shape (n, 2).
    """
    clouds = {name: _points(name, points) for name, points in _some(policies).items()}
    bells = _points("centres", centres)
    caption = "Point: a policy of one run. Cross: the top of a bell; each beats three others."
    styles = agent_styles(clouds)
    with canvas(out, title, caption, height=4.8) as (axes,):
        axes.plot(*bells.T, "x", color=BASELINE_COLOUR, markersize=9, markeredgewidth=2)
        for name, points in clouds.items():
            colour, _, marker = styles[name]
            axes.plot(
                *points.T, marker, color=colour, alpha=0.6, markersize=4, label=shown(name), lw=0
            )
        axes.set_aspect("equal")
        axes.set(xlabel="x", ylabel="y")
    return Path(out)


def hull(points: FloatArray) -> FloatArray:
    """Return the corners of the convex hull in order, the first again at the end.

    Andrew's monotone chain, which takes points on a line and repeated ones too.

    Args:
        points: (n, 2).
    """
    ordered = np.unique(points, axis=0)
    chains = []
    for side in (ordered, ordered[::-1]):
        chain: list[FloatArray] = []
        for point in side:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0.0:
                chain.pop()
            chain.append(point)
        chains += chain[:-1]
    corners = chains or [ordered[0]]
    return np.array([*corners, corners[0]])


def _turn(a: FloatArray, b: FloatArray, c: FloatArray) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _some(values: Mapping[str, T]) -> Mapping[str, T]:
    if not values:
        raise RecordError("nothing to draw: a figure of populations needs at least one agent")
    return values


def _points(name: str, points: ArrayLike) -> FloatArray:
    array = np.asarray(points, np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or not len(array) or not np.isfinite(array).all():
        raise RecordError(f"{name!r}: expected finite points of shape (n, 2), got {array.shape}")
    return array


def ratios_by_step(
    ratios: Mapping[str, Mapping[float, ArrayLike]],
    out: str | os.PathLike[str],
    *,
    title: str = "",
    x_label: str = "step",
    y_label: str = "ratio",
) -> Path:
    """Draw ratios against a setting, on a log axis: the geometric mean of games, each game faint.

    Args:
        ratios: For each method, setting -> positive ratios, one per game.
        out: File to write, ``.svg`` or ``.png``.
        title: Line above the figure.
        x_label: The setting.
        y_label: What is divided by what.

    Returns:
        The path written.

    Raises:
        RecordError: If there is no method, or a ratio is not positive and finite.
    """
    drawn = _some(ratios)
    for name, line in drawn.items():
        for values in line.values():
            array = np.asarray(values, np.float64)
            if not (array.size and np.isfinite(array).all() and (array > 0.0).all()):
                raise RecordError(f"the ratios of {name!r} must be positive and finite")
    caption = "Line: geometric mean over games. Point: one game, the mean of its runs."
    styles = agent_styles(drawn)
    with canvas(out, title, caption) as (axes,):
        for name, line in drawn.items():
            colour, dash, marker = styles[name]
            settings = sorted(line)
            for setting in settings:
                values = np.asarray(line[setting], np.float64)
                axes.plot(
                    np.full(values.shape, setting),
                    values,
                    marker,
                    color=colour,
                    alpha=0.45,
                    markersize=4,
                )
            means = [float(np.exp(np.log(np.asarray(line[s])).mean())) for s in settings]
            axes.plot(settings, means, linestyle=dash, color=colour, label=shown(name))
        axes.axhline(1.0, color=BASELINE_COLOUR, linewidth=1.0)
        axes.set(xlabel=x_label, ylabel=y_label, yscale="log")
    return Path(out)
