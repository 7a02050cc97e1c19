"""All ratings of a table of results, each with an interval over its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pkubench.envs.games.alpha_rank import (
    MAX_PROFILES,
    alpha_rank,
    alpha_rank_general,
    alpha_rank_symmetric,
)
from pkubench.envs.games.forest import Floats
from pkubench.evaluation.ratings.elo import POINTS, elo, hodge, log_odds
from pkubench.evaluation.ratings.nash_averaging import nash_average, nash_average_of_tasks
from pkubench.evaluation.ratings.tables import Kind, Results

_TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Settings:
    """Settings of the ratings.

    Attributes:
        alpha: Selection of alpha-rank, in units of 1 over an entry of the table.
        population: Individuals of its populations.
        resamples: Tables drawn for the intervals.
        seed: Of these draws.
    """

    alpha: float = 1.0
    population: int = 50
    resamples: int = 500
    seed: int = 0


@dataclass(frozen=True)
class Ratings:
    """Ratings of agents.

    Attributes:
        kind: What the table is of.
        names: Agents.
        columns: Agents again, or tasks.
        runs: Least number of runs behind an entry.
        table: float64 ``(agents, columns)``; the mean table.
        values: Rating -> float64 ``(agents,)``; see ``rated``.
        low: Rating -> lower ends of 95 % intervals; NaN with one run.
        high: Upper ends.
        cyclic: float64 ``(agents, agents)``; what ratings cannot explain, in log-odds or payoffs;
            None where agents do not play a zero-sum game.
        cyclic_share: Its share of the table's sum of squares, with an interval; None likewise.
        weights: float64 ``(columns,)``; the opponents, or tasks, that Nash averaging weighs.
    """

    kind: Kind
    names: tuple[str, ...]
    columns: tuple[str, ...]
    runs: int
    table: Floats
    values: Mapping[str, Floats]
    low: Mapping[str, Floats]
    high: Mapping[str, Floats]
    cyclic: Floats | None
    cyclic_share: tuple[float, float, float] | None
    weights: Floats | None

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON values."""
        agents = []
        for k, name in enumerate(self.names):
            own = {
                rating: {
                    "value": float(values[k]),
                    "low": float(self.low[rating][k]),
                    "high": float(self.high[rating][k]),
                }
                for rating, values in self.values.items()
            }
            agents.append({"agent": name, **own})
        share = self.cyclic_share
        return {
            "kind": self.kind,
            "runs": self.runs,
            "agents": agents,
            "columns": list(self.columns),
            "table": self.table.tolist(),
            "cyclic": None if self.cyclic is None else self.cyclic.tolist(),
            "cyclic_share": None if share is None else dict(zip(_ENDS, share, strict=True)),
            "nash_weights_of_columns": None if self.weights is None else self.weights.tolist(),
        }


_ENDS = ("value", "low", "high")
_SHARE = "cyclic share"


def rate(results: Results, settings: Settings | None = None) -> Ratings:
    """Return all ratings of a table, with percentile intervals over resampled runs.

    Args:
        results: The table.
        settings: Of alpha-rank and of the intervals.

    Raises:
        ConfigError, GameError, RecordError: A setting or a table is out of its domain.
    """
    settings = settings or Settings()
    table = results.table()
    values, share = rated(results.kind, table, settings)
    draws: dict[str, list[Floats]] = {name: [] for name in (*values, _SHARE)}
    if results.runs > 1:
        rng = np.random.default_rng(settings.seed)
        for _ in range(settings.resamples):
            drawn, cyclic = rated(results.kind, results.resampled(rng), settings)
            for name, of in drawn.items():
                draws[name].append(of)
            draws[_SHARE].append(np.array([np.nan if cyclic is None else cyclic]))
    ends = {name: _quantiles(rows, len(values.get(name, (0.0,)))) for name, rows in draws.items()}
    odds = log_odds(table) if results.kind == "wins" else table
    is_zero_sum = results.kind in ("wins", "payoffs")
    weights = None
    if results.kind == "scores":
        weights = nash_average_of_tasks(table).opponents
    elif is_zero_sum:
        weights = values["nash_weight"]
    return Ratings(
        kind=results.kind,
        names=results.names,
        columns=results.columns,
        runs=results.runs,
        table=table,
        values=values,
        low={name: ends[name][0] for name in values},
        high={name: ends[name][1] for name in values},
        cyclic=hodge(odds).cyclic if is_zero_sum else None,
        cyclic_share=None
        if share is None
        else (share, float(ends[_SHARE][0][0]), float(ends[_SHARE][1][0])),
        weights=weights,
    )


def rated(kind: Kind, table: Floats, settings: Settings) -> tuple[dict[str, Floats], float | None]:
    """Return the ratings of one table, and its cyclic share where it is zero-sum.

    ``mean`` is the mean of an agent's row; ``elo`` (of wins only) the likeliest Elo ratings and
    ``hodge`` the means of log-odds in Elo points; ``nash_rating`` and ``nash_weight`` are those of
    Nash averaging; ``alpha_rank`` and ``alpha_rank_limit`` the shares of time that alpha-rank gives
    an agent with ``alpha`` and in the limit of infinite selection.
    """
    alpha: dict[str, Any] = {"alpha": settings.alpha, "population": settings.population}
    if kind == "general":
        return {"mean": table.mean(axis=1), "alpha_rank": alpha_rank_general(table, **alpha)}, None
    values: dict[str, Floats] = {"mean": table.mean(axis=1)}
    if kind == "scores":
        average = nash_average_of_tasks(table)
        values |= {"nash_rating": average.ratings, "nash_weight": average.weights}
        if table.size <= MAX_PROFILES:
            values["alpha_rank"] = alpha_rank(table, **alpha).x
            values["alpha_rank_limit"] = alpha_rank(table).x
        return values, None
    odds = log_odds(table) if kind == "wins" else table
    parts = hodge(odds)
    if kind == "wins":
        values |= {"elo": elo(table), "hodge": POINTS * parts.ratings}
    average = nash_average(odds)
    zero_sum = table - 0.5 if kind == "wins" else table
    values |= {"nash_rating": average.ratings, "nash_weight": average.weights}
    if len(table) <= MAX_PROFILES:
        values["alpha_rank"] = alpha_rank_symmetric(zero_sum, **alpha)
        values["alpha_rank_limit"] = alpha_rank_symmetric(zero_sum)
    return values, parts.share


def _quantiles(rows: list[Floats], size: int) -> tuple[Floats, Floats]:
    if not rows:
        return np.full(size, np.nan), np.full(size, np.nan)
    low, high = np.quantile(np.stack(rows), _TAILS, axis=0)
    return low, high
