"""Several tests at once: p-values corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence

from .samples import StatisticsError


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979): the family-wise error is kept.

    The k-th smallest of m is multiplied by m - k + 1, and none falls below a smaller one's.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Raises:
        StatisticsError: a value is not a probability.
    """
    wrong = [p for p in p_values if not 0.0 <= p <= 1.0]
    if wrong:
        raise StatisticsError(f"p-values must lie in 0..1, got {wrong[0]}")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        largest = max(largest, (len(p_values) - rank) * p_values[k])
        corrected[k] = min(largest, 1.0)
    return corrected
