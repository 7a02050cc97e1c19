"""How many runs a comparison needs."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike
from scipy import special  # scipy.stats would add most of a second to the import

from .samples import StatisticsError, vector

MAX_RUNS = 10_000
"""No number of runs above it is returned: nobody trains so many."""


def runs_needed(
    x: ArrayLike,
    y: ArrayLike | None,
    difference: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Return the runs of each side with which Welch's test would show a difference of means.

    The variances of the two samples are taken for the true ones, which few runs estimate badly: the
    answer is a guide to the order of size. The power is that of the two-sided test by the
    noncentral t distribution (Cohen 1988), with as many runs on one side as on the other.

    >>> x = [0.0, 1.0, 2.0]  # of variance 1
    >>> runs_needed(x, x, 0.5), runs_needed(x, x, 0.8)  # Cohen's table: 64 and 26
    (64, 26)

    Args:
        x: (n,) array, one value per run, n at least 2.
        y: The same of the other side; None if the other side is a known number.
        difference: The true difference of the means that is to be shown, in units of the values.
        alpha: Level of the test, in (0, 1).
        power: Probability to show the difference, in (alpha, 1).

    Returns:
        The smallest number of runs of each side, at least 2; None if it is above ``MAX_RUNS``, if
        ``difference`` is 0, or if neither sample varies.

    Raises:
        StatisticsError: a sample has a single value, or alpha and power do not fit.
    """
    samples = [vector(x, "x"), *([] if y is None else [vector(y, "y")])]
    if min(sample.size for sample in samples) < 2:
        raise StatisticsError("a single run says nothing about spread; give two of each side")
    if not 0.0 < alpha < power < 1.0:
        raise StatisticsError(f"0 < alpha < power < 1, got alpha {alpha} and power {power}")
    variances = [float(sample.var(ddof=1)) for sample in samples]
    total = sum(variances)
    if difference == 0.0 or total == 0.0:
        return None
    # Welch-Satterthwaite for n runs of each side: the degrees are n - 1 times this factor
    factor = 1.0 / sum((variance / total) ** 2 for variance in variances)

    def reaches(n: int) -> bool:
        degrees = factor * (n - 1)
        shift = abs(difference) * math.sqrt(n / total)
        critical = -float(special.stdtrit(degrees, alpha / 2))
        if shift > critical + 8.0:  # beyond the range of the noncentral distribution's series
            return True
        missed = float(special.nctdtr(degrees, shift, critical))
        return 1.0 - missed >= power

    if not reaches(MAX_RUNS):
        return None
    low, high = 1, MAX_RUNS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
