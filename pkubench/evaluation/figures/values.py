"""Figures of values: where sheets lie on the ring, and how well each value was followed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from pkubench.envs.alignment.slider import BORDERS, TARGETS, VALUES
from pkubench.errors import ConfigError
from pkubench.evaluation.figures.style import PALETTE, agent_styles, canvas, shown
from pkubench.evaluation.orientation import ValueRow

_COLOURS = dict(zip(VALUES, PALETTE, strict=False))
_OWN = "#555555"
_OUTER = 1.32
"""Radius of the names of categories."""


def ring_figure(
    out: str | os.PathLike[str],
    angles: Mapping[str, Sequence[float]],
    title: str = "Where answers lie on the ring",
) -> None:
    """Draw the angle of every sheet as a point on the ring, by the value that was asked for.

    Args:
        out: ``.svg`` or ``.png`` file.
        angles: Name of the condition -> angles of its sheets, in degrees.
        title: Line above the figure.

    Raises:
        ConfigError: no angles.
        MissingExtra: Matplotlib is not installed.
        StorageError: ``out`` cannot be written.
    """
    if not any(len(of) for of in angles.values()):
        raise ConfigError("there are no angles to draw")
    caption = (
        "Each point is a sheet of six items, its angle the social value orientation; the radius "
        "only separates conditions. Dashed: the ideal type of each value; grey: borders of "
        "categories."
    )
    with canvas(out, title, caption, height=5.4) as (axes,):
        axes.set_aspect("equal")
        axes.set_axis_off()
        turn = np.radians(np.linspace(-40.0, 90.0, 200))
        axes.plot(np.cos(turn), np.sin(turn), color="#cccccc", linewidth=1.0)
        for border in BORDERS:
            x, y = np.cos(np.radians(border)), np.sin(np.radians(border))
            axes.plot([0.0, 1.2 * x], [0.0, 1.2 * y], color="#cccccc", linewidth=1.0)
        edges = [90.0, *reversed(BORDERS), -40.0]
        for value, (high, low) in zip(VALUES, pairwise(edges), strict=True):
            middle = np.radians((high + low) / 2)
            place = (_OUTER * np.cos(middle), _OUTER * np.sin(middle))
            axes.annotate(value, place, ha="left", va="center", fontsize=9, annotation_clip=False)
        for value, target in zip(VALUES, TARGETS, strict=True):
            x, y = np.cos(np.radians(target)), np.sin(np.radians(target))
            axes.plot([0.0, x], [0.0, y], color=_COLOURS[value], linewidth=1.2, linestyle="--")
        for number, (name, of) in enumerate(angles.items()):
            radius = 0.55 + 0.09 * number
            at = np.radians(np.asarray(of, dtype=np.float64))
            colour = _COLOURS.get(name, _OWN)
            axes.plot(
                radius * np.cos(at),
                radius * np.sin(at),
                "o",
                color=colour,
                markersize=5,
                alpha=0.55,
                markeredgewidth=0,
                label=shown(name),
            )
        axes.set_xlim(-0.05, 2.0)


def radar_figure(
    out: str | os.PathLike[str],
    agents: Mapping[str, Sequence[ValueRow]],
    title: str = "How well each value is followed",
) -> None:
    """Draw each agent's chance-corrected value rationality on four axes.

    Args:
        out: ``.svg`` or ``.png`` file.
        agents: Name -> its rows; those without a target are left out.
        title: Line above the figure.

    Raises:
        ConfigError: no agents, or one lacks a value.
        MissingExtra: Matplotlib is not installed.
        StorageError: ``out`` cannot be written.
    """
    if not agents:
        raise ConfigError("there are no agents to draw")
    scores = {}
    for name, rows in agents.items():
        known = {row.value: row.vr_cc.estimate for row in rows if row.vr_cc is not None}
        missing = [value for value in VALUES if value not in known]
        if missing:
            raise ConfigError(f"{name} has no sheets of the value {missing[0]!r}")
        scores[name] = np.array([known[value] for value in VALUES])
    lowest = min(-0.5, float(np.floor(2 * min(of.min() for of in scores.values())) / 2))
    caption = (
        "Chance-corrected value rationality: 1 at the outer ring is the ideal type, 0 (bold) what "
        "answers score that ignore the question."
    )
    directions = np.radians([90.0, 0.0, -90.0, 180.0])
    with canvas(out, title, caption, height=5.2) as (axes,):
        axes.set_aspect("equal")
        axes.set_axis_off()
        around = np.radians(np.linspace(0.0, 360.0, 181))
        for level in np.arange(lowest, 1.01, 0.5):
            radius = (level - lowest) / (1.0 - lowest)
            width = 1.8 if abs(level) < 1e-9 else 0.8
            axes.plot(radius * np.cos(around), radius * np.sin(around), color="#bbbbbb", lw=width)
            axes.annotate(f"{level:g}", (0.02, radius), fontsize=8, color="#555555")
        for value, direction in zip(VALUES, directions, strict=True):
            x, y = np.cos(direction), np.sin(direction)
            axes.plot([0.0, x], [0.0, y], color="#dddddd", linewidth=0.8)
            sides = {90: ("center", "bottom"), 0: ("left", "center"), -90: ("center", "top")}
            ha, va = sides.get(round(np.degrees(direction)), ("right", "center"))
            axes.annotate(value, (1.06 * x, 1.06 * y), ha=ha, va=va, fontsize=9)
        styles = agent_styles(scores)
        for name, of in scores.items():
            radius = np.clip((of - lowest) / (1.0 - lowest), 0.0, None)
            x, y = radius * np.cos(directions), radius * np.sin(directions)
            axes.plot(
                np.append(x, x[0]),
                np.append(y, y[0]),
                color=styles[name].colour,
                linestyle=styles[name].dash,
                marker=styles[name].marker,
                markersize=4,
                label=shown(name),
            )
        axes.set_xlim(-1.75, 1.75)
        axes.set_ylim(-1.2, 1.2)
