"""Two agents over several tasks at once, with any number of runs on each task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .intervals import Interval
from .samples import FloatArray, StatisticsError, generator, vector


class Runs(NamedTuple):
    """The values of one agent's runs on one task, higher being better."""

    name: str
    """Runs of one name are resampled alike wherever they occur: the agent and the task."""
    values: ArrayLike
    """(n,) array."""


def improvement_interval(
    pairs: Sequence[tuple[Runs, Runs]], seed: int = 0, resamples: int = 1000
) -> Interval:
    """Chance that a run of the first beats one of the second, averaged over pairs of samples.

    As ``stratified_bootstrap`` of ``probability_of_improvement`` (the 95 % percentile interval, too
    narrow for few runs), but samples may differ in size from task to task, and one that occurs in
    several pairs is resampled once for all of them, so that it does not count as several.

    Returns:
        The estimate and its interval; the bounds are NaN if a sample has a single run.

    Raises:
        StatisticsError: there are no pairs, or a sample is malformed.
    """
    samples = _checked(pairs)
    estimate = float(np.mean([_improvement(x, y) for x, y in samples]))
    if any(min(x.size, y.size) < 2 for x, y in samples):
        return Interval(estimate, math.nan, math.nan)
    resampled: dict[str, FloatArray] = {}
    for pair, values in zip(pairs, samples, strict=True):
        for runs, sample in zip(pair, values, strict=True):
            if runs.name not in resampled:
                draws = generator(seed, runs.name).integers(
                    sample.size, size=(resamples, sample.size)
                )
                resampled[runs.name] = sample[draws]
    drawn = np.zeros(resamples)
    for first, second in pairs:
        drawn += _improvement(resampled[first.name], resampled[second.name]) / len(pairs)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(estimate, float(low), float(high))


def permutation_test(
    pairs: Sequence[tuple[ArrayLike, ArrayLike]], seed: int = 0, draws: int = 9_999
) -> float:
    """Return the two-sided p-value of both agents being alike on every task.

    The statistic is the distance from one half of the probability that a run of the first beats one
    of the second, averaged over tasks. Under the null hypothesis the runs of a task are
    exchangeable, so they are permuted within their task.

    >>> sure = permutation_test([([5.0, 5.5, 6.0, 6.5], [1.0, 1.5, 2.0, 2.5])] * 2)
    >>> 0.0001 <= sure < 0.002  # 2 of 70 x 70 permutations are as far apart
    True

    Raises:
        StatisticsError: there are no tasks, or a sample is malformed.
    """
    samples = [(vector(x, "x"), vector(y, "y")) for x, y in pairs]
    if not samples:
        raise StatisticsError("there are no tasks to compare on")
    rng = generator(seed)
    seen, drawn = 0.0, np.zeros(draws)
    for x, y in samples:
        both = np.concatenate([x, y])
        ranks = _middle_ranks(both)
        order = rng.random((draws, both.size)).argsort(axis=1)[:, : x.size]
        # Mann-Whitney's U of the first from its sum of ranks
        least = x.size * (x.size + 1) / 2
        share = x.size * y.size * len(samples)
        seen += (ranks[: x.size].sum() - least) / share
        drawn += (ranks[order].sum(axis=1) - least) / share
    # as far, up to rounding
    as_far = int((np.abs(drawn - 0.5) >= abs(seen - 0.5) - 1e-12).sum())
    return (as_far + 1) / (draws + 1)


def _checked(pairs: Sequence[tuple[Runs, Runs]]) -> list[tuple[FloatArray, FloatArray]]:
    if not pairs:
        raise StatisticsError("there are no samples to compare")
    return [(vector(x.values, x.name), vector(y.values, y.name)) for x, y in pairs]


def _improvement(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the share of pairs of (..., n) and (..., m) in which x is higher, ties one half."""
    mine, theirs = x[..., :, None], y[..., None, :]
    # A tie is counted by >= and not by >, so the mean of the two counts it one half.
    wins = (mine > theirs).mean(axis=(-2, -1)) + (mine >= theirs).mean(axis=(-2, -1))
    return np.asarray(wins / 2)


def _middle_ranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1 on; equal values share the mean of theirs."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return np.asarray(below + (equal + 1) / 2)
