"""How good is what a retriever finds, against the exact optimal values and actions?"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from pkubench.data.episodes import FloatArray, IntArray
from pkubench.retrieval.optima import Optimum
from pkubench.retrieval.retrievers import GAIN_SCALE, Neighbors
from pkubench.retrieval.search import NONE


@dataclass(frozen=True)
class Quality:
    """Scores of one retriever on n queries of k rows each; None where undefined."""

    task_precision: float
    """Share of the rows that are of the query's task."""
    action_agreement: float
    """Share of the rows that share an optimal action with the query."""
    value_rmse: float
    """Root mean squared difference of V_mem, by the returns in the bank, from V*."""
    optimal_rmse: float
    """The same, with the optimal values of the rows in place of the returns."""
    ndcg: float
    """Discounted cumulative gain, as a share of the best possible; see :func:`gains`."""
    calibration: float | None
    """Spearman's correlation of the confidence with -|V_mem - V*|: 1 is best. None: constant."""
    queries: int

    def to_json(self) -> dict[str, float | None]:
        """Return the scores by name."""
        return asdict(self)


def gains(rows: IntArray, queries: Optimum, bank: Optimum) -> FloatArray:
    """Return what each row (n, k) is worth to its query: exp(-|V* - V*'| / 0.05), or 0.

    0 is for rows that share no optimal action, and for places without a row.

    Args:
        rows: of the bank; -1 for none.
        queries: the exact answers of n queries.
        bank: those of all rows.
    """
    away = np.abs(bank.values[rows] - queries.values[:, None])
    shares = agrees(rows, queries, bank)
    return np.where(shares, np.exp(-away / GAIN_SCALE), 0.0)


def agrees(rows: IntArray, queries: Optimum, bank: Optimum) -> IntArray:
    """Return whether each row (n, k) shares an optimal action with its query."""
    shared = (bank.actions[rows] & queries.actions[:, None]) != 0
    found: IntArray = shared & (rows != NONE)
    return found


def dcg(gained: FloatArray) -> FloatArray:
    """Return sum_i g_i / log2(i + 1) with i from 1 (Jarvelin and Kekalainen, 2002), (n,)."""
    ranks = np.arange(1, gained.shape[1] + 1)
    found: FloatArray = (gained / np.log2(ranks + 1)).sum(axis=1)
    return found


def quality(
    found: Neighbors,
    best: Neighbors,
    tasks: tuple[IntArray, IntArray],
    answers: tuple[Optimum, Optimum],
    returns_to_go: FloatArray,
) -> Quality:
    """Score what was found for n queries.

    Args:
        found: by the retriever.
        best: by the oracle, under the same exclusions.
        tasks: of the queries (n,), and of the rows of the bank (M,).
        answers: exact answers for both.
        returns_to_go: of the rows of the bank (M,).
    """
    queries, bank = answers
    is_found = found.rows != NONE
    of_task = (tasks[1][found.rows] == tasks[0][:, None]) & is_found
    count = max(int(is_found.sum()), 1)
    error = np.abs(found.mean(returns_to_go) - queries.values)
    optimal_error = found.mean(bank.values) - queries.values
    gained = dcg(gains(found.rows, queries, bank))
    possible = dcg(gains(best.rows, queries, bank))
    has_any = possible > 0
    return Quality(
        task_precision=float(of_task.sum() / count),
        action_agreement=float(agrees(found.rows, queries, bank).sum() / count),
        value_rmse=float(np.sqrt(np.mean(error**2))),
        optimal_rmse=float(np.sqrt(np.mean(optimal_error**2))),
        ndcg=float((gained[has_any] / possible[has_any]).mean()) if has_any.any() else 0.0,
        calibration=spearman(found.confidence, -error),
        queries=len(error),
    )


def spearman(left: FloatArray, right: FloatArray) -> float | None:
    """Return Spearman's rank correlation; None where one of them is constant."""
    from scipy.stats import spearmanr  # slow to import

    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(spearmanr(left, right).statistic)
