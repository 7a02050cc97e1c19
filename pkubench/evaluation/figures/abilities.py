"""Figures of abilities: a radar of shares, and what an agent gets against what it is asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pkubench.errors import RecordError
from pkubench.evaluation.figures.style import BASELINE_COLOUR, agent_styles, canvas, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RINGS = (0.25, 0.5, 0.75, 1.0)


class Asked(NamedTuple):
    """What an agent got when it was asked for a return."""

    target: float
    mean: float
    low: float | None = None
    """95 % interval of the mean; None: a single run."""
    high: float | None = None


def ability_radar(
    abilities: Mapping[str, Mapping[str, float | None]],
    out: str | os.PathLike[str],
    *,
    title: str = "",
) -> Path:
    """Draw each agent's abilities as a polygon, one spoke per ability.

    Args:
        abilities: agent -> ability -> share in [0, 1]; the same abilities of every agent, three or
            more. None is not measured: the polygon is open there.
        out: File to write, ``.svg`` or ``.png``.
        title: Line above the figure.

    Returns:
        The path written.

    Raises:
        RecordError: There is no agent; fewer than three abilities; agents with different ones; or a
            share out of [0, 1].
        MissingExtra, ConfigError, StorageError: As ``canvas``.
    """
    names = _abilities_of(abilities)
    styles = agent_styles(abilities)
    caption = (
        "Center: the score of what fails at the point of the task. Rim: its exact optimum. Mean "
        "over runs; open where not measured."
    )
    corners = [_corner(k, len(names)) for k in range(len(names))]
    with canvas(out, title, caption, height=4.6) as (axes,):
        _draw_web(axes, names, corners)
        for agent, shares in abilities.items():
            colour, dash, marker = styles[agent]
            values = [shares[name] for name in names]
            points = [
                (math.nan, math.nan) if v is None else (v * x, v * y)
                for v, (x, y) in zip(values, corners, strict=True)
            ]
            axes.plot(
                *zip(*points, points[0], strict=True),
                color=colour,
                linestyle=dash,
                marker=marker,
                markersize=4,
                label=shown(agent),
            )
    return Path(out)


def _abilities_of(abilities: Mapping[str, Mapping[str, float | None]]) -> tuple[str, ...]:
    """Return the names of the abilities, checked."""
    if not abilities:
        raise RecordError("nothing to draw: a radar needs the abilities of at least one agent")
    names = tuple(next(iter(abilities.values())))
    if len(names) < 3:
        raise RecordError(f"a radar needs three abilities or more, got {len(names)}")
    for agent, shares in abilities.items():
        if tuple(shares) != names:
            raise RecordError(f"{agent} has the abilities {list(shares)}, wanted {list(names)}")
        for name, value in shares.items():
            if value is not None and not 0.0 <= value <= 1.0:
                raise RecordError(f"{name} of {agent} must be a share in [0, 1], got {value}")
    return names


def _corner(k: int, count: int) -> tuple[float, float]:
    """Return the end of spoke k: the first points up, the others follow clockwise."""
    angle = math.pi / 2 - 2 * math.pi * k / count
    return math.cos(angle), math.sin(angle)


def _draw_web(axes: Axes, names: Sequence[str], corners: Sequence[tuple[float, float]]) -> None:
    axes.set_axis_off()
    axes.set_aspect("equal")
    closed = [*corners, corners[0]]
    for ring in _RINGS:
        line = [(ring * x, ring * y) for x, y in closed]
        axes.plot(*zip(*line, strict=True), color=BASELINE_COLOUR, linewidth=0.5, zorder=1)
    for name, (x, y) in zip(names, corners, strict=True):
        axes.plot((0, x), (0, y), color=BASELINE_COLOUR, linewidth=0.5, zorder=1)
        side = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
        axes.annotate(name, (1.08 * x, 1.08 * y), ha=side, va="center", fontsize=9)
    axes.set_xlim(-1.7, 1.7)
    axes.set_ylim(-1.15, 1.2)


def calibration_curves(
    curves: Mapping[str, Sequence[Asked]],
    out: str | os.PathLike[str],
    *,
    title: str = "",
    unit: str = "return",
) -> Path:
    """Draw what agents got against what they were asked for; the diagonal is what was asked.

    Args:
        curves: name -> its target returns, in any order.
        out: File to write, ``.svg`` or ``.png``.
        title: Line above the figure.
        unit: What both axes count.

    Returns:
        The path written.

    Raises:
        RecordError: There is nothing to draw.
        MissingExtra, ConfigError, StorageError: As ``canvas``.
    """
    if not curves or not all(curves.values()):
        raise RecordError("nothing to draw: each agent needs at least one target return")
    styles = agent_styles(curves)
    ends = [point.target for points in curves.values() for point in points]
    caption = "Line: mean. Band: 95 % t interval over runs. Dashed: what was asked for."
    with canvas(out, title, caption) as (axes,):
        diagonal = (min(ends), max(ends))
        axes.plot(diagonal, diagonal, color=BASELINE_COLOUR, linestyle=(0, (4, 2)), linewidth=1.3)
        for name, points in curves.items():
            colour, dash, marker = styles[name]
            ordered = sorted(points)
            x = [point.target for point in ordered]
            axes.plot(
                x,
                [point.mean for point in ordered],
                color=colour,
                linestyle=dash,
                marker=marker,
                markersize=4,
                label=shown(name),
            )
            if all(point.low is not None and point.high is not None for point in ordered):
                low, high = ([float(p[k] or 0.0) for p in ordered] for k in (2, 3))
                axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set(xlabel=f"{unit} asked for", ylabel=f"{unit} got")
    return Path(out)
