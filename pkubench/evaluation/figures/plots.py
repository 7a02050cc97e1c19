"""Figures of scores, from plain data: intervals, performance profiles, return against cost.

Each function takes what the records hold (metrics of ``report.json``, arrays of scores), writes one
SVG or PNG file, and returns its path. An agent has the same colour in every figure, the caption
says what the marks mean and over how many runs, and the same data give the same bytes. Needs the
``plots`` extra. Figures of learning are in ``curves``, those of games in ``games``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pkubench.errors import RecordError
from pkubench.evaluation.statistics import mean_interval, profile_band

from .style import (
    BASELINE_COLOUR,
    FEASIBLE_COLOUR,
    add_references,
    agent_styles,
    canvas,
    counts,
    shown,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

ROUNDING = 1e-13
"""Scores below this are drawn as 0, and scores closer together count as equal."""

_GRID_POINTS = 400
_FAR = 8.0
"""Multiple of the cost limit beyond which feasible agents would overlap on a linear axis."""


def score_intervals(
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]],
    out: str | os.PathLike[str],
    *,
    title: str = "",
    x_label: str = "score",
    higher_is_better: bool | None = None,
    references: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Draw each agent's score and interval, one panel per task with its own scale.

    Args:
        scores: ``scores[task][agent]`` is a metric of ``report.json``: ``{"mean", "low", "high",
            "n"}``, and ``"sample"`` if known (``runs`` or ``episodes``, what n counts). Bounds that
            are None or NaN draw the point alone; with ``"feasible"`` False it is hollow.
        out: File to write, ``.svg`` or ``.png``.
        title: Line above the figure.
        x_label: Name and unit of the score.
        higher_is_better: Says so under the axis; None says nothing.
        references: For each task, scores drawn as dashed lines.

    Returns:
        The path written.

    Raises:
        RecordError: If there is no task, a task has no agent, or a metric is malformed.
    """
    if not scores or not all(scores.values()):
        raise RecordError("nothing to draw: each task needs the metrics of at least one agent")
    styles = agent_styles(name for agents in scores.values() for name in agents)
    sizes = [len(agents) + 0.4 for agents in scores.values()]
    caption = "Point: mean. Bar: 95 % confidence interval. Right: mean and n of the interval."
    every = [measured for agents in scores.values() for measured in agents.values()]
    if any(measured.get("feasible") is False for measured in every):
        caption += " Hollow: over the cost limit, so without a score."
    height = 1.0 + 0.33 * sum(sizes) + 0.62 * len(scores)
    better = {True: ", right is better", False: ", left is better", None: ""}[higher_is_better]
    with canvas(out, title, caption, height=height, panels=sizes) as panels:
        for axes, (task, agents) in zip(panels, scores.items(), strict=True):
            task_references = (references or {}).get(task, {})
            axes.set_title(shown(task), pad=16 if task_references else 6)
            add_references(axes, task_references, vertical=True)
            for row, (name, measured) in enumerate(agents.items()):
                mean, low, high, n = _measured(task, name, measured)
                colour, _, marker = styles[name]
                axes.hlines(row, low, high, color=colour, linewidth=7, alpha=0.35)
                is_over = measured.get("feasible") is False
                face = "white" if is_over else colour
                axes.plot(mean, row, marker, color=colour, markerfacecolor=face, markersize=5)
                label = f"{mean:.4g}".replace("-", "−")
                for words, shift, size, grey in (
                    (label, 6, 10, "#222222"),
                    (_size(n, measured.get("sample")), 56, 8, "#777777"),
                ):
                    axes.annotate(
                        words,
                        (1.0, row),
                        xycoords=axes.get_yaxis_transform(),
                        xytext=(shift, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=size,
                        color=grey,
                    )
            axes.set_yticks(range(len(agents)), map(shown, agents))
            axes.set_ylim(len(agents) - 0.4, -0.6)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.margins(x=0.12)
        panels[-1].set_xlabel(x_label + better)
    return Path(out)


def _size(n: int, sample: str | None) -> str:
    return f"n={n}" if sample is None or n == 1 else f"{n} {sample}"


def performance_profiles(
    scores: Mapping[str, ArrayLike],
    out: str | os.PathLike[str],
    *,
    title: str = "",
    thresholds: ArrayLike | None = None,
    x_label: str = "normalized score τ",
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Path:
    """Draw the fraction of runs above each score, over all tasks, with bootstrap bands.

    Args:
        scores: For each agent a (runs, tasks) array of normalised scores.
        out: File to write, ``.svg`` or ``.png``.
        title: Line above the figure.
        thresholds: (points,) scores to draw at; None spans the scores given.
        x_label: Name of the score.
        seed: Seed of the bootstrap.
        resamples: Resamples of the bootstrap.
        confidence: Coverage of the bands, in (0, 1); an agent with one run has none.

    Returns:
        The path written.

    Raises:
        RecordError: If there is no agent.
        StatisticsError: If an array or setting is malformed.
    """
    if not scores:
        raise RecordError("nothing to draw: a performance profile needs at least one agent")
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}
    if thresholds is None:
        pooled = np.concatenate([values.ravel() for values in arrays.values()])
        low, high = (float(pooled.min()), float(pooled.max())) if pooled.size else (0.0, 1.0)
        margin = 0.04 * (high - low) if high - low > ROUNDING else 0.5
        thresholds = np.linspace(low - margin, high + margin, _GRID_POINTS)
    points = np.asarray(thresholds, dtype=np.float64)
    bands = {n: profile_band(v, points, seed, resamples, confidence) for n, v in arrays.items()}
    caption = (
        f"Height: fraction of runs, over all tasks, that score above τ. Band: pointwise "
        f"{100 * confidence:g} % stratified bootstrap. "
        f"{counts({name: len(values) for name, values in arrays.items()}, 'run')}"
    )
    styles = agent_styles(arrays)
    with canvas(out, title, caption) as (axes,):
        for name, band in bands.items():
            colour, dash, _ = styles[name]
            axes.fill_between(points, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(points, band.estimate, color=colour, linestyle=dash, label=shown(name))
        axes.set(xlabel=x_label, ylabel="fraction of runs above τ", ylim=(-0.02, 1.02))
        axes.margins(x=0)
    return Path(out)


def return_against_cost(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    out: str | os.PathLike[str],
    *,
    cost_limit: float,
    title: str = "",
    references: Mapping[str, float] | None = None,
    return_key: str = "return",
    cost_key: str = "cost",
    x_label: str = "episode cost",
    y_label: str = "episode return",
    confidence: float = 0.95,
) -> Path:
    """Draw return against cost with the cost limit: feasible agents lie left of the line.

    The mark of an agent whose mean cost is over the limit is hollow.

    Args:
        runs: For each agent its runs, each a mapping with the mean return and the mean cost.
        out: File to write, ``.svg`` or ``.png``.
        cost_limit: The task's limit on the mean cost.
        title: Line above the figure.
        references: Returns drawn as dashed lines, such as the best feasible one.
        return_key: Key of the return.
        cost_key: Key of the cost.
        x_label: Name and unit of the cost.
        y_label: Name and unit of the return.
        confidence: Coverage of the Student t crosses, in (0, 1).

    Returns:
        The path written.

    Raises:
        RecordError: If there is no run, or one lacks a finite return or cost.
    """
    if not runs or not all(runs.values()):
        raise RecordError("nothing to draw: each agent needs at least one run")
    is_crossed = any(len(of_agent) > 1 for of_agent in runs.values())
    mark = f"Cross: mean and {100 * confidence:g} % Student t intervals over runs"
    caption = (
        f"{mark if is_crossed else 'Mark: mean of a run'}, hollow where the mean cost is over the "
        f"limit of {cost_limit:g}. {'Faint: each run. ' if is_crossed else ''}Shaded: feasible. "
        f"{counts({name: len(of_agent) for name, of_agent in runs.items()}, 'run')}"
    )
    styles, every = agent_styles(runs), [run for of_agent in runs.values() for run in of_agent]
    with canvas(out, title, caption, height=4.2) as (axes,):
        for name, of_agent in runs.items():
            cost = np.array([_finite(run, cost_key, name) for run in of_agent])
            value = np.array([_finite(run, return_key, name) for run in of_agent])
            _cross(axes, name, cost, value, styles[name], cost_limit, confidence)
        left, right = axes.get_xlim()
        if right > _FAR * cost_limit > 0.0 and all(run[cost_key] >= 0.0 for run in every):
            left, right = _squeeze_far_costs(axes, cost_limit, right)
            x_label = f"{x_label}, logarithmic from {2.0 * cost_limit:g} on"
        else:
            span = max(right, cost_limit) - min(left, cost_limit)
            left, right = min(left, cost_limit - 0.1 * span), max(right, cost_limit + 0.1 * span)
        axes.axvspan(left, cost_limit, color=FEASIBLE_COLOUR, linewidth=0, zorder=0)
        axes.axvline(cost_limit, color=BASELINE_COLOUR, linestyle=(0, (4, 2)), linewidth=1.3)
        add_references(axes, references or {})
        axes.annotate(
            f"limit {cost_limit:g}",
            (cost_limit, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
            color="#555555",
        )
        axes.set(xlabel=x_label, ylabel=y_label, xlim=(left, right))
    return Path(out)


def _cross(
    axes: Axes,
    name: str,
    cost: FloatArray,
    value: FloatArray,
    style: tuple[str, Any, str],
    cost_limit: float,
    confidence: float,
) -> None:
    """Draw one agent's mean return and cost with their intervals, and each run faint behind."""
    colour, _, marker = style
    if len(cost) > 1:
        axes.plot(cost, value, marker, color=colour, alpha=0.3, markersize=4, linewidth=0)
    x, y = mean_interval(cost, confidence), mean_interval(value, confidence)
    low = max(x.low, 0.0) if cost.min() >= 0.0 else x.low  # no cost is below 0
    axes.hlines(y.estimate, low, x.high, color=colour, linewidth=1.6, zorder=2.5)
    axes.vlines(x.estimate, y.low, y.high, color=colour, linewidth=1.6, zorder=2.5)
    axes.plot(
        x.estimate,
        y.estimate,
        marker,
        color=colour,
        markerfacecolor=colour if x.estimate <= cost_limit else "white",
        markeredgewidth=1.8,
        markersize=8,
        label=shown(name),
        zorder=3,
    )


def _squeeze_far_costs(axes: Axes, cost_limit: float, right: float) -> tuple[float, float]:
    """Leave half of the costs' axis to those near the limit, and return its ends."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    axes.set_xscale("symlog", linthresh=2.0 * cost_limit)
    marks = [0.0, *(k * cost_limit for k in (1, 2, 4, 10, 20, 40, 100) if k * cost_limit < right)]
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    return -0.2 * cost_limit, 1.1 * right


def _measured(task: str, name: str, metric: Mapping[str, Any]) -> tuple[float, float, float, int]:
    try:
        mean, n = float(metric["mean"]), int(metric["n"])
        low, high = (float("nan" if metric[k] is None else metric[k]) for k in ("low", "high"))
    except (KeyError, TypeError, ValueError):
        raise RecordError(
            f"{name!r} on {task!r}: a metric needs numbers under mean, low, high and n; "
            f"got {dict(metric) if isinstance(metric, Mapping) else metric!r}"
        ) from None
    if not math.isfinite(mean):
        raise RecordError(f"{name!r} on {task!r} has no finite mean to draw: leave it out")
    # A solver's rounding error around 0 means 0, and an axis fitted to it would show nothing.
    mean, low, high = (0.0 if abs(value) < ROUNDING else value for value in (mean, low, high))
    return mean, low, high, n


def _finite(run: Mapping[str, Any], key: str, name: str) -> float:
    value = run.get(key)
    if not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise RecordError(f"a run of {name!r} has no finite {key!r}, got {value!r}")
    return float(value)
