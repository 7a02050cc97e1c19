"""Figures from plain data: training curves, score intervals, profiles, return against cost.

Each function takes what the records hold (lines of ``training.jsonl``, metrics of ``report.json``,
arrays of scores), writes one SVG or PNG file, and returns its path. An agent has the same colour
in every figure, the caption says what the marks mean and over how many runs, and the same data
give the same bytes. Needs the ``plots`` extra.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pkubench.errors import RecordError, UnknownName

from .plot_style import (
    BASELINE_COLOUR,
    FEASIBLE_COLOUR,
    add_references,
    agent_styles,
    canvas,
    shown,
)
from .solved_axis import Curve, bottom_of, held, set_log_axis
from .statistics import mean_interval, profile_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]
Run = Sequence[Mapping[str, Any]]
"""The lines of one run's ``training.jsonl``: ``{"steps": ..., metric: value, ...}``."""

ROUNDING = 1e-13
"""Scores below are drawn as 0, and scores that are nearer are one."""

_GRID_POINTS = 400
_FAR = 8.0
"""Limits of cost beyond which those who keep one would stand in a heap on a linear axis."""
_LABEL_LETTERS = 34
"""As many go along the height of a figure."""
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
        runs: For each agent its runs, one a training seed.
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
        f"Thin: each seed. {_counts({name: len(c) for name, c in curves.items()}, 'seed')}"
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
        f"{_counts({name: len(c) for name, c in curves.items()}, 'seed')}"
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


def score_intervals(
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]],
    out: str | os.PathLike[str],
    *,
    title: str = "",
    x_label: str = "score",
    higher_is_better: bool | None = None,
    references: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Draw each agent's score and interval, one panel a task with a scale of its own.

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
    x_label: str = "normalised score τ",
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
        f"{_counts({name: len(values) for name, values in arrays.items()}, 'run')}"
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
        f"{_counts({name: len(of_agent) for name, of_agent in runs.items()}, 'run')}"
    )
    styles, every = agent_styles(runs), [run for of_agent in runs.values() for run in of_agent]
    with canvas(out, title, caption, height=4.2) as (axes,):
        for name, of_agent in runs.items():
            cost = np.array([_finite(run, cost_key, name) for run in of_agent])
            value = np.array([_finite(run, return_key, name) for run in of_agent])
            colour, _, marker = styles[name]
            if len(of_agent) > 1:
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


def _squeeze_far_costs(axes: Axes, cost_limit: float, right: float) -> tuple[float, float]:
    """Leave half of the costs' axis to those near the limit, and return its ends."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    axes.set_xscale("symlog", linthresh=2.0 * cost_limit)
    marks = [0.0, *(k * cost_limit for k in (1, 2, 4, 10, 20, 40, 100) if k * cost_limit < right)]
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    return -0.2 * cost_limit, 1.1 * right


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
    # What a solver leaves of zero says no more than 0, and an axis fitted to it would say nothing.
    mean, low, high = (0.0 if abs(value) < ROUNDING else value for value in (mean, low, high))
    return mean, low, high, n


def _finite(run: Mapping[str, Any], key: str, name: str) -> float:
    value = run.get(key)
    if not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise RecordError(f"a run of {name!r} has no finite {key!r}, got {value!r}")
    return float(value)


def _counts(counts: Mapping[str, int], noun: str) -> str:
    """Say over how many runs: once if all agree, else for each agent."""
    if len(set(counts.values())) == 1:
        n = next(iter(counts.values()))
        return f"n = {n} {noun}{'' if n == 1 else 's'}{' an agent' if len(counts) > 1 else ''}."
    each = ", ".join(f"{name} {n}" for name, n in counts.items())
    return f"n in {noun}s: {each}."
