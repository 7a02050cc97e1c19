"""Credit over agents and time, beside what happened in the episode."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pkubench.agents.contract import Array, FloatArray
from pkubench.envs.core.recording import Recording
from pkubench.envs.core.traits import DENSE_REWARD
from pkubench.evaluation.credit_quality import value_gains
from pkubench.evaluation.figures.style import PALETTE, canvas, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = "RdBu"
"""Negative credit is red and positive blue, for every kind of colour vision."""
_MARKERS: Final = ("D", "s", "*", "x", "o", "^", "v", "P")
_INK: Final = "#222222"
_GREY: Final = "#bbbbbb"


def credit_map(
    recording: Recording,
    shares: FloatArray,
    out: str | os.PathLike[str],
    *,
    title: str,
    caption: str = "",
    episode: int = 0,
) -> Path:
    """Draw the credit of one episode as a map of agents and steps, above the team's rewards.

    Args:
        recording: of the episode, and perhaps of others.
        shares: (T, N, agents), the credit of all of them.
        out: File to write, ``.svg`` or ``.png``.
        title: Line above the figure.
        caption: More about the episode.
        episode: Its number in the recording.

    Returns:
        The file.

    Raises:
        MissingExtra, ConfigError, StorageError: As ``canvas``.
    """
    length = int(recording.lengths[episode])
    agents = recording.agents
    map_ = shares[:length, episode].T
    events = {name: np.argwhere(of[:length, episode].T) for name, of in recording.events.items()}
    height = 3.4 + 0.26 * max(len(agents), 2)
    panels = (0.3 * max(len(agents), 2) + 0.3, 1.6)
    with canvas(out, title, caption, height=height, panels=panels) as (upper, lower):
        _draw_map(upper, [upper, lower], map_, agents)
        _draw_events(upper, events)
        _draw_rewards(upper, lower, recording, shares, episode, length)
        _align(upper, lower, length)
    return Path(out)


def limit_of(shares: Array) -> float:
    """Return the credit at the ends of the colour scale: the largest in size, and not 0."""
    return float(np.abs(shares).max()) or 1.0


def _draw_map(axes: Axes, panels: list[Axes], map_: FloatArray, agents: tuple[str, ...]) -> None:
    """Draw the map, and the scale beside all panels, so that they stay equally wide."""
    count, length = map_.shape
    limit = limit_of(map_)
    mesh = axes.pcolormesh(
        np.arange(length + 1) + 0.5,
        np.arange(count + 1) - 0.5,
        map_,
        cmap=COLOURS,
        vmin=-limit,
        vmax=limit,
        edgecolors="white" if length <= 60 else "none",
        linewidth=0.6,
    )
    axes.set_yticks(range(count), [shown(agent) for agent in agents])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    bar = axes.figure.colorbar(mesh, ax=panels, pad=0.02, aspect=30)
    bar.set_label("credit (reward)")
    bar.outline.set_visible(False)


def _draw_events(axes: Axes, events: dict[str, Any]) -> None:
    for marker, (name, places) in zip(_MARKERS * len(events), events.items(), strict=False):
        if not len(places):
            continue
        looks: dict[str, Any] = {"facecolors": "white", "edgecolors": _INK}
        if marker == "x":
            looks = {"color": _INK}
        size = 70 if marker == "*" else 26
        axes.scatter(
            places[:, 1] + 1,
            places[:, 0],
            s=size,
            marker=marker,
            linewidth=1.0,
            label=name,
            **looks,
        )


def _draw_rewards(
    legend: Axes,
    axes: Axes,
    recording: Recording,
    shares: FloatArray,
    episode: int,
    length: int,
) -> None:
    """Draw what each step earned the team, what it is credited with, and what it gained."""
    steps = np.arange(1, length + 1)
    earned = recording.team_rewards[:length, episode]
    axes.bar(steps, earned, width=0.8, color=_GREY)
    is_late = DENSE_REWARD in recording.info
    name = "withheld reward" if is_late else "reward"
    legend.plot([], [], "s", color=_GREY, markersize=9, label=name)
    curves = {"team credit": shares[:length, episode].sum(-1)}
    gains = value_gains(recording)
    if gains is not None:
        curves["optimal value gain"] = gains[:length, episode]
    for colour, (name, values) in zip(PALETTE, curves.items(), strict=False):
        (line,) = axes.plot(steps, values, color=colour, marker="o", markersize=2.5, linewidth=1.3)
        legend.plot([], [], color=colour, linewidth=line.get_linewidth(), label=name)
    axes.axhline(0.0, color=_INK, linewidth=0.8)
    axes.set_ylabel("reward (team)")
    axes.set_xlabel("step")


def _align(upper: Axes, lower: Axes, length: int) -> None:
    """Give both panels the same steps."""
    from matplotlib.ticker import MaxNLocator

    for axes in (upper, lower):
        axes.set_xlim(0.5, length + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    upper.tick_params(axis="x", labelbottom=False, length=0)
