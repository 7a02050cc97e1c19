"""Small pictures as inline SVG: intervals, bars and training curves. Colours come from the CSS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pkubench.evaluation.statistics import Interval

FloatArray = npt.NDArray[np.float64]

COLOURS = 8
"""Classes ``c0`` ... of the style sheet."""
MINUS = "\N{MINUS SIGN}"
LOG_FLOOR = 1e-8
"""Rounding error of an exact solver around 0; smaller values are drawn here on a log axis."""
_POINTS = 160
_LARGEST = 1e100
"""Larger values of a curve are left out: their differences could be infinite."""


class Scale(NamedTuple):
    """The span of values that a row of interval pictures shares."""

    low: float
    high: float
    marks: tuple[tuple[str, float], ...]
    """Name and value of dashed lines: reference scores, a cost limit."""

    @classmethod
    def around(cls, intervals: Sequence[Interval], marks: Mapping[str, float]) -> Scale | None:
        """Return a scale that shows the intervals, and the marks near them; None without any.

        A mark further away than the intervals are wide would squeeze them into dots.
        """
        values = [v for i in intervals for v in i if math.isfinite(v)]
        if not values:
            return None
        low, high = min(values), max(values)
        span = (high - low) or 0.5 * abs(high) or 1.0
        near = {k: v for k, v in marks.items() if low - span <= v <= high + span}
        low, high = min(low, *near.values(), high), max(high, *near.values(), low)
        margin = 0.08 * max(high - low, span)
        return cls(low - margin, high + margin, tuple(near.items()))

    def at(self, value: float, width: float) -> float:
        """Return the horizontal place of a value on a picture ``width`` wide."""
        return width * (value - self.low) / (self.high - self.low)

    def side(self, value: float) -> int:
        """Return -1, 0 or 1: whether a value lies left of the span, in it, or right of it."""
        return int(value > self.high) - int(value < self.low)


def number(value: float | None, digits: int = 4) -> str:
    """Format a number for display: four significant digits, a minus sign, short exponents.

    >>> number(-37.25149), number(2711.5), number(0.000012), number(1e-12), number(None)
    ('\N{MINUS SIGN}37.25', '2,712', '1.2e\N{MINUS SIGN}5', '0', '\N{EN DASH}')
    """
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    size = abs(value)
    if size < 1e-9:  # rounding errors of exact solvers around 0
        return "0"
    if size < 1e-3 or size >= 1e7:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    else:
        text = f"{value:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}"
    return text.replace("-", MINUS)


def interval_picture(interval: Interval, scale: Scale, label: str) -> Markup:
    """Draw a mean as a dot on its interval; reference scores as dashed lines."""
    width, middle = 240.0, 13.0
    parts = [f'<line class="axis" x1="0" y1="{middle:g}" x2="{width:g}" y2="{middle:g}"/>']
    for name, value in scale.marks:
        x = _c(scale.at(value, width))
        parts.append(f'<line class="mark mark-{name}" x1="{x}" y1="1" x2="{x}" y2="25"/>')
    side = scale.side(interval.estimate)
    if side:  # an arrow at the edge: further that way
        edge, back = (1.0, 9.0) if side < 0 else (width - 1.0, width - 9.0)
        points = f"{_c(edge)},{middle:g} {_c(back)},{middle - 6:g} {_c(back)},{middle + 6:g}"
        parts.append(f'<polygon class="dot" points="{points}"/>')
        return _svg("interval", width, 26, label, parts)
    if math.isfinite(interval.low):
        low, high = (
            _c(scale.at(min(max(bound, scale.low), scale.high), width)) for bound in interval[1:]
        )
        parts.append(f'<line class="span" x1="{low}" y1="{middle:g}" x2="{high}" y2="{middle:g}"/>')
    dot = _c(scale.at(interval.estimate, width))
    parts.append(f'<circle class="dot" cx="{dot}" cy="{middle:g}" r="5"/>')
    return _svg("interval", width, 26, label, parts)


def bar_picture(share: float, label: str) -> Markup:
    """Draw a normalised score as a bar from 0 (floor) to 1 (reference), cut at -0.25 and 1.25."""
    width, low, high = 120.0, -0.25, 1.25

    def at(value: float) -> float:
        return width * (min(max(value, low), high) - low) / (high - low)

    start, end = sorted((at(0.0), at(share)))
    parts = [
        f'<rect class="track" x="{_c(at(0))}" y="5" width="{_c(at(1) - at(0))}" height="8"/>',
        f'<rect class="bar" x="{_c(start)}" y="5" width="{_c(end - start)}" height="8"/>',
        f'<line class="tick" x1="{_c(at(0))}" y1="2" x2="{_c(at(0))}" y2="16"/>',
        f'<line class="tick" x1="{_c(at(1))}" y1="2" x2="{_c(at(1))}" y2="16"/>',
    ]
    return _svg("bar", width, 18, label, parts)


class Curve(NamedTuple):
    """Training curves of one agent: the mean over its runs and each run."""

    name: str
    colour: int
    steps: FloatArray
    mean: FloatArray
    runs: tuple[FloatArray, ...]


def curve_of(
    name: str, colour: int, runs: Sequence[Sequence[Mapping[str, Any]]], metric: str
) -> Curve | None:
    """Join the training lines of an agent's runs on the span of steps that they share.

    Args:
        name: its label in the legend.
        colour: number of its colour.
        runs: for each run the lines of its ``training.jsonl``.
        metric: key to draw; lines without a finite value are left out.
    """
    series = []
    for lines in runs:
        points = [
            (float(line["steps"]), float(line[metric]))
            for line in lines
            if _is_number(line.get("steps")) and _is_number(line.get(metric))
        ]
        if len(points) > 1:
            series.append(np.array(sorted(points), dtype=np.float64))
    if not series:
        return None
    start, end = max(s[0, 0] for s in series), min(s[-1, 0] for s in series)
    if end <= start:
        return None
    grid = np.linspace(start, end, _POINTS)
    values = tuple(np.interp(grid, s[:, 0], s[:, 1]) for s in series)
    return Curve(name, colour % COLOURS, grid, np.mean(values, axis=0), values)


def curves_picture(
    curves: Sequence[Curve],
    label: str,
    marks: Mapping[str, float],
    *,
    with_runs: bool,
    log: bool = False,
) -> Markup:
    """Draw training curves over steps: means, and each run faint behind where asked for.

    With ``log`` the vertical axis is logarithmic, and values below ``LOG_FLOOR`` are drawn there.
    """
    if log:
        curves = [
            curve._replace(mean=_log10(curve.mean), runs=tuple(map(_log10, curve.runs)))
            for curve in curves
        ]
        marks = {name: float(_log10(np.array(value))) for name, value in marks.items()}
    left, right, top, bottom, width, height = 58.0, 10.0, 10.0, 30.0, 420.0, 230.0
    shown = [c.mean for c in curves] + [r for c in curves if with_runs for r in c.runs]
    values = np.concatenate([*shown, np.array(list(marks.values()), dtype=np.float64)])
    y_ticks = nice_ticks(float(values.min()), float(values.max()))
    x_ticks = nice_ticks(0.0, max(float(c.steps[-1]) for c in curves), 4)
    x_high = max(float(c.steps[-1]) for c in curves)
    y_low = min(y_ticks[0], float(values.min()))
    y_high = max(y_ticks[-1], float(values.max()))

    def x_of(value: FloatArray | float) -> Any:
        return left + (width - left - right) * value / x_high

    def y_of(value: FloatArray | float) -> Any:
        share = (value - y_low) / ((y_high - y_low) or 1.0)
        return height - bottom - (height - top - bottom) * share

    parts = []
    for tick in y_ticks:
        y = _c(y_of(tick))
        y_label = f"{10.0**tick:g}".replace("-", MINUS) if log else tick_label(tick)
        if log and tick != round(tick):
            continue
        parts.append(f'<line class="grid" x1="{left:g}" y1="{y}" x2="{width - right:g}" y2="{y}"/>')
        parts.append(f'<text x="{left - 6:g}" y="{y}" dy="4" text-anchor="end">{y_label}</text>')
    for tick in x_ticks:
        if tick > x_high:
            continue
        anchor = "end" if x_of(tick) > width - 30 else "middle"
        parts.append(
            f'<text x="{_c(x_of(tick))}" y="{height - 10:g}" text-anchor="{anchor}">'
            f"{tick_label(tick)}</text>"
        )
    for name, value in marks.items():
        ends = f'x1="{left:g}" x2="{width - right:g}" y1="{_c(y_of(value))}" y2="{_c(y_of(value))}"'
        parts.append(f'<line class="mark mark-{name}" {ends}/>')
    for curve in curves:
        xs = x_of(curve.steps)
        if with_runs and len(curve.runs) > 1:
            for run in curve.runs:
                parts.append(f'<path class="run c{curve.colour}" d="{_path(xs, y_of(run))}"/>')
        parts.append(f'<path class="curve c{curve.colour}" d="{_path(xs, y_of(curve.mean))}"/>')
    return _svg("curves", width, height, label, parts)


def curves_data(
    curves: Sequence[Curve], marks: Mapping[str, float], *, with_runs: bool, log: bool = False
) -> dict[str, Any]:
    """Return what a picture of curves shows as JSON values, for the script that lets readers zoom.

    Numbers have six significant digits; with ``log`` those below ``LOG_FLOOR`` are that.
    """

    def values(array: FloatArray) -> list[float]:
        return [float(f"{v:.6g}") for v in (np.maximum(array, LOG_FLOOR) if log else array)]

    return {
        "log": log,
        "marks": dict(marks),
        "curves": [
            {
                "name": curve.name,
                "colour": curve.colour,
                "steps": [float(f"{step:.6g}") for step in curve.steps],
                "mean": values(curve.mean),
                "runs": [values(run) for run in curve.runs]
                if with_runs and len(curve.runs) > 1
                else [],
            }
            for curve in curves
        ],
    }


def _log10(values: FloatArray) -> FloatArray:
    return np.log10(np.maximum(values, LOG_FLOOR))


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers that span ``low`` to ``high``.

    >>> nice_ticks(-61.2, -36.9)
    [-70.0, -60.0, -50.0, -40.0, -30.0]
    >>> nice_ticks(0.0, 1.0)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if not high - low > 1e-12 * max(abs(high), abs(low), 1e-200):  # equal, but for rounding
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def tick_label(value: float) -> str:
    """Write a tick: ``10M`` rather than ``10,000,000``.

    >>> tick_label(10e6), tick_label(2500.0), tick_label(-0.5), tick_label(0.0)
    ('10M', '2.5k', '\N{MINUS SIGN}0.5', '0')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}".replace("-", MINUS)
    return f"{round(value, 12):.3g}".replace("-", MINUS)


def _svg(kind: str, width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    body = Markup("").join(Markup(part) for part in parts)
    return Markup(
        '<svg class="{}" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>'
    ).format(kind, width, height, label, body)


def _path(xs: FloatArray, ys: FloatArray) -> str:
    return "M" + "L".join(f"{_c(x)} {_c(y)}" for x, y in zip(xs, ys, strict=True))


def _c(value: float) -> str:
    """Write a coordinate: short, and the same on every machine."""
    return f"{round(float(value), 1) + 0.0:g}"


def _is_number(value: Any) -> bool:
    """Return whether a value of a submitted curve can be drawn; integers may exceed any float."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= _LARGEST
