"""Figures of learning, from plain data: a metric over training, exploitability on a log axis.

As in ``plots``: lines of ``training.jsonl`` in, one SVG or PNG out, the same bytes for the same
data.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pkubench.errors import RecordError, UnknownName
from pkubench.evaluation.statistics import mean_interval

from .solved_axis import Curve, bottom_of, held, set_log_axis
from .style import add_references, agent_styles, canvas, counts, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Run = Sequence[Mapping[str, Any]]
"""The lines of one run's ``training.jsonl``: ``{"steps": ..., metric: value, ...}``."""

_GRID_POINTS = 400
_LABEL_LETTERS = 34
"""Number of letters that fit along the height of a figure."""
_NEVER_BELOW_0 = frozenset({"cost", "training_cost", "excess_cost"})
"""Metrics of a training log whose bands end at 0."""


def training_curves(
    runs: Mapping[str, Sequence[Run]],
    out: str | os.PathLike[str],
    *,
    metric: str = "return",
    title: str = "",
    references: Mapping[str, float] | None = None,
    x_label: str = "environment steps",
    y_label: str | None = None,
    confidence: float = 0.95,
) -> Path:
    """Draw a metric over training: mean and interval over seeds, each seed faint behind.

    Seeds logged at different steps are joined by linear interpolation over the span they share.
    Lines without the metric (or with NaN, as before the first episode ends) are left out.

    Args:
        runs: For each agent its runs, one per training seed.
        out: File to write, ``.svg`` or ``.png``.
        metric: Key of the lines to draw.
        title: Line above the figure, such as the task's id.
        references: Scores drawn as dashed lines, such as ``{"random": -60.2}``.
        x_label: What ``steps`` counts.
        y_label: Name and unit of the metric; the metric's key if None.
        confidence: Coverage of the Student t band, in (0, 1); one seed has no band.

    Returns:
        The path written.

    Raises:
        RecordError: If there is no run, or a run has no usable line.
        UnknownName: If no line of any run has the metric.
    """
    curves = _curves(runs, metric)
    caption = (
        f"Line: mean over seeds. Band: {100 * confidence:g} % Student t interval over seeds. "
        f"Thin: each seed. {counts({name: len(c) for name, c in curves.items()}, 'seed')}"
    )
    with canvas(out, title, caption) as (axes,):
        floor = 0.0 if metric in _NEVER_BELOW_0 else -math.inf
        _draw_curves(axes, curves, confidence, log=False, floor=floor)
        add_references(axes, references or {})
        axes.set(xlabel=x_label, ylabel=_in_lines(y_label or metric))
    return Path(out)


def exploitability_curves(
    runs: Mapping[str, Sequence[Run]],
    out: str | os.PathLike[str],
    *,
    metric: str = "exploitability",
    title: str = "",
    references: Mapping[str, float] | None = None,
    x_label: str = "iterations",
    y_label: str | None = None,
    confidence: float = 0.95,
    log_x: bool = False,
) -> Path:
    """Draw exploitability over learning on a log axis; 0 is a solved game.

    Mean and band are those of the logarithm (a geometric mean), so the band cannot cross zero.
    Values below ``EXPLOITABILITY_FLOOR`` are a solved game's: they are drawn, and count in the
    mean, on the bottom line of the axis, a power of ten below all others; a run that ends there
    stays there. With ``log_x`` the other axis is logarithmic too, without what is at 0 on it.
    Other arguments and errors are those of :func:`training_curves`.
    """
    curves = {name: held(seeds) for name, seeds in _curves(runs, metric).items()}
    if log_x:
        curves = {n: [(x[x > 0], y[x > 0]) for x, y in seeds] for n, seeds in curves.items()}
    found = np.concatenate([values for seeds in curves.values() for _, values in seeds])
    bottom = bottom_of(found)
    found = np.maximum(found, bottom or 0.0)
    curves = {
        name: [(steps, np.maximum(values, bottom or 0.0)) for steps, values in seeds]
        for name, seeds in curves.items()
    }
    solved = "" if bottom is None else ", which counts as the bottom line"
    caption = (
        f"Line: geometric mean over seeds. Band: {100 * confidence:g} % Student t interval of the "
        f"logarithm. Thin: each seed. 0 is an equilibrium{solved}. "
        f"{counts({name: len(c) for name, c in curves.items()}, 'seed')}"
    )
    with canvas(out, title, caption) as (axes,):
        from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

        axes.set_yscale("log")
        _draw_curves(axes, curves, confidence, log=True)
        # A log axis has no place for an equilibrium's 0, and its label would break the layout.
        known = {n: score for n, score in (references or {}).items() if score > (bottom or 0.0)}
        add_references(axes, known)
        set_log_axis(axes, np.append(found, list(known.values())), bottom)
        if log_x:
            axes.set_xscale("log")
            low, high = axes.get_xlim()
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel=x_label, ylabel=_in_lines(y_label or metric))
    return Path(out)


def _curves(runs: Mapping[str, Sequence[Run]], metric: str) -> dict[str, list[Curve]]:
    if not runs or not all(runs.values()):
        raise RecordError("nothing to draw: each agent needs at least one run")
    seen = {key for of_agent in runs.values() for run in of_agent for line in run for key in line}
    if metric not in seen:
        raise UnknownName("metric", metric, seen - {"steps"})
    return {
        name: [_curve(run, metric, f"run {i} of {name!r}") for i, run in enumerate(of_agent)]
        for name, of_agent in runs.items()
    }


def _curve(run: Run, metric: str, whose: str) -> Curve:
    try:
        pairs = [(float(line["steps"]), line.get(metric)) for line in run]
        kept = [(step, float(v)) for step, v in pairs if v is not None and math.isfinite(v)]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{whose}: each line of a curve needs numbers under 'steps' and {metric!r} ({error})"
        ) from None
    if not kept:
        raise RecordError(f"{whose} has no finite {metric!r}: train longer or leave it out")
    steps, values = np.array(kept).T
    order = np.argsort(steps, kind="stable")
    return steps[order], values[order]


def _draw_curves(
    axes: Axes,
    curves: Mapping[str, list[Curve]],
    confidence: float,
    *,
    log: bool,
    floor: float = -math.inf,
) -> None:
    from matplotlib.ticker import EngFormatter

    styles = agent_styles(curves)
    for name, seeds in curves.items():
        colour, dash, _ = styles[name]
        if log:
            seeds = [(x, np.log10(y)) for x, y in seeds]
        back = (lambda y: np.power(10.0, y)) if log else np.asarray
        if len(seeds) > 1:
            for x, y in seeds:
                dot = "." if x.size == 1 else ""
                axes.plot(x, back(y), color=colour, marker=dot, linewidth=0.7, alpha=0.35)
        common = _on_one_grid(seeds)
        if common is None:  # there is no mean to draw, only the runs
            axes.plot([], [], color=colour, alpha=0.35, label=f"{shown(name)} (no steps in common)")
            continue
        grid, values = common
        if len(seeds) > 1:
            spans = np.array([mean_interval(column, confidence) for column in values.T])
            low, high = np.maximum(back(spans[:, 1]), floor), back(spans[:, 2])
            axes.fill_between(grid, low, high, color=colour, alpha=0.2, linewidth=0)
        # A curve of one point would draw nothing as a line.
        dot = "o" if grid.size == 1 else ""
        mean = back(values.mean(axis=0))
        axes.plot(grid, mean, color=colour, linestyle=dash, marker=dot, label=shown(name))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.margins(x=0.01)


def _on_one_grid(seeds: Sequence[Curve]) -> Curve | None:
    """Bring the runs of an agent to common steps: (points,) and (runs, points); None without."""
    first = seeds[0][0]
    if all(np.array_equal(first, steps) for steps, _ in seeds):
        return first, np.stack([values for _, values in seeds])
    start, end = max(x[0] for x, _ in seeds), min(x[-1] for x, _ in seeds)
    if start > end:
        return None
    grid = np.unique(np.concatenate([x[(x >= start) & (x <= end)] for x, _ in seeds]))
    if grid.size > _GRID_POINTS:
        grid = np.linspace(start, end, _GRID_POINTS)
    return grid, np.stack([np.interp(grid, x, y) for x, y in seeds])


def _in_lines(label: str) -> str:
    """Return an axis label with its unit on a line of its own if both are too long for one."""
    return label if len(label) <= _LABEL_LETTERS else label.replace(" (", "\n(", 1)
