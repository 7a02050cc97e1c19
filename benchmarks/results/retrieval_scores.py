"""Normalised scores on grid worlds and the area under their curve, for the pages of retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.results.records import BY_OPTION
from pkubench.evaluation.statistics import Interval, mean_interval

Array = npt.NDArray[Any]
Anchors = Sequence[Sequence[float]]
"""Of each task: the mean return of random play, and that of the shortest ways."""


def normalised(returns: Mapping[str, float], anchors: Anchors) -> Array:
    """Return n = (R - random) / (optimum - random) of each task, (tasks,), from returns by task.

    >>> normalised({"return:task=0": 0.5, "return:task=1": 0.1}, [[0.0, 1.0], [0.1, 0.9]]).tolist()
    [0.5, 0.0]
    """
    low, high = np.array(anchors, dtype=np.float64).T
    found = np.array([returns[f"{BY_OPTION}task={k}"] for k in range(len(low))])
    scores: Array = (found - low) / (high - low)
    return scores


def area(steps: Sequence[float], scores: Array) -> Array:
    """Return the area under curves, by trapezoids, as a share of the steps until the last point.

    Curves begin at 0, the score of random play, before the first step.

    Args:
        steps: at which the agent was scored, (points,).
        scores: (points, ...).

    Returns:
        (...), 1 for the optimum from the first step on.

    >>> area([50, 100], np.array([[1.0], [1.0]])).tolist()
    [0.75]
    """
    at = np.array([0.0, *steps])
    whole = np.concatenate([np.zeros_like(scores[:1]), scores])
    found: Array = np.trapezoid(whole, at / at[-1], axis=0)
    return found


def steps_to(level: float, steps: Sequence[float], scores: Array) -> float:
    """Return the steps at which the mean score first reaches ``level``; infinite if it never does.

    Args:
        level: of the mean over tasks.
        steps: (points,).
        scores: (points, tasks).
    """
    reached = np.flatnonzero(scores.mean(1) >= level)
    return float(steps[reached[0]]) if len(reached) else float("inf")


def difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[Interval, int]:
    """Return the mean difference of pairs of runs, with its interval, and their number.

    Both sides are in the order of the same seeds.
    """
    return mean_interval([a - b for a, b in zip(ours, theirs, strict=True)]), len(ours)


def text_of(found: Interval) -> str:
    """Return ``estimate [low, high]``, or the estimate alone where it has no interval."""
    if not np.isfinite(found.low):
        return f"{found.estimate:.3f}"
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"


def verdict(found: Interval) -> str:
    """Return what a 95 % interval of a difference shows.

    >>> verdict(Interval(0.1, 0.05, 0.15)), verdict(Interval(0.1, -0.05, 0.25))
    ('supported', 'not shown')
    """
    if found.low > 0:
        return "supported"
    return "contradicted" if found.high < 0 else "not shown"
