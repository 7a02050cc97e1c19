"""What an agent can do, as shares between 0 and 1 of what a diagnostic task has to give.

All functions are of plain numbers: which agent and which task an ability is measured with is for
the caller to say. Each diagnostic task has a *lazy* score, of what fails at the point of the task,
and a *best* one, its exact optimum; the ability is how far an agent is on the way between them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from pkubench.evaluation.statistics import StatisticsError


class Calibration(NamedTuple):
    """How well what an agent gets follows what it is asked for."""

    rank_correlation: float | None
    """Spearman's, in [-1, 1]: whether more is got where more is asked. None where all that is got
    is equal, so that there is no order."""
    error: float
    """Mean |got - asked|, in the units of the return."""


def calibration(asked: Sequence[float], got: Sequence[float]) -> Calibration:
    """Return the calibration of an agent that is asked for returns.

    Args:
        asked: target returns, two different ones or more.
        got: the mean return of the episodes of each.

    Raises:
        StatisticsError: the lengths differ, a number is not finite, or all targets are equal.

    >>> calibration([0.0, 1.0, 2.0], [0.5, 0.5, 2.0])
    Calibration(rank_correlation=0.8660254037844387, error=0.3333333333333333)
    """
    x, y = np.asarray(asked, dtype=np.float64), np.asarray(got, dtype=np.float64)
    if x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise StatisticsError("each target return needs one finite mean return")
    if len(set(x.tolist())) < 2:
        raise StatisticsError("a calibration needs two different target returns")
    error = float(np.abs(y - x).mean())
    if len(set(y.tolist())) < 2:
        return Calibration(None, error)
    ranks = rankdata(x), rankdata(y)
    return Calibration(float(np.corrcoef(*ranks)[0, 1]), error)


def share(score: float, lazy: float, best: float) -> float:
    """Return how far a score is from the lazy one to the best one, cut to [0, 1].

    Raises:
        StatisticsError: the lazy score is the best one.

    >>> share(0.75, lazy=0.5, best=1.0), share(0.0, lazy=0.5, best=1.0)
    (0.5, 0.0)
    """
    if lazy == best:
        raise StatisticsError("a task whose lazy score is its best one has no scale")
    return min(max((score - lazy) / (best - lazy), 0.0), 1.0)


def kept_share(changed: float, usual: float, lazy: float, best: float) -> float | None:
    """Return which share of its ability an agent keeps in a changed task, cut to [0, 1].

    Args:
        changed: its score in the changed task, such as one that pays late.
        usual: its score in the usual one.
        lazy: of both tasks.
        best: of both tasks.

    Returns:
        None where it has no ability in the usual task: then there is nothing to keep.

    >>> kept_share(0.4, usual=0.8, lazy=0.0, best=1.0), kept_share(0.4, 0.0, lazy=0.0, best=1.0)
    (0.5, None)
    """
    before = share(usual, lazy, best)
    if before == 0.0:
        return None
    return min(share(changed, lazy, best) / before, 1.0)


def longest_solved(scores: Mapping[int, float], least: float) -> int:
    """Return the largest length up to which all measured ones are solved; 0: not even the first.

    Args:
        scores: length -> score.
        least: the score from which on a length counts as solved.

    >>> longest_solved({1: 1.0, 10: 0.97, 30: 0.5, 100: 1.0}, 0.95)
    10
    """
    solved = 0
    for length in sorted(scores):
        if scores[length] < least:
            break
        solved = length
    return solved


def length_share(solved: int, longest: int) -> float:
    """Return a length on a logarithmic scale from 0 (none) to 1 (the longest that is measured).

    >>> length_share(9, 99), length_share(0, 99), length_share(99, 99)
    (0.5, 0.0, 1.0)
    """
    return math.log1p(solved) / math.log1p(longest)
