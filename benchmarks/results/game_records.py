"""Records of population learners: one file a row, a curve a seed.

Unlike a trained network's, a population's curve is the result, and anybody can compute it again
from agent, game and seed; so records hold curves and no weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pkubench.files import write_json

_ZERO = 1e-9
RECORDS = Path(__file__).parent / "records" / "games"
MIXTURE = "mixture model"
CLOCK = "processor"
"""What seconds of records count; those of a wall clock, as older ones have, are another figure."""


@dataclass(frozen=True)
class GameRow:
    """One row of a table: an agent on a game, so many seeds of so many iterations."""

    agent: str
    game: str
    iterations: int
    seeds: int
    every: int
    """Iterations between two points of the curve."""

    @property
    def method(self) -> str:
        """The algorithm's name without the suffix of its settings."""
        return self.agent.removesuffix("-paper")

    @property
    def is_deep(self) -> bool:
        """Whether responses are learnt from plays, so that episodes are those played."""
        return self.method.endswith("-deep")

    @property
    def heading(self) -> str:
        """The part of the page that it stands in: what is counted differently stands apart."""
        return f"{self.game}, learnt from plays" if self.is_deep else self.game

    @property
    def path(self) -> Path:
        """Where its record is."""
        folder = "".join(c if c.isalnum() else "-" for c in self.game).strip("-")
        return RECORDS / folder / f"{self.agent}.json"


class Line(NamedTuple):
    """One row with all its runs."""

    row: GameRow
    runs: list[dict[str, Any]]

    def at(self, column: str, budget: str, most: float) -> list[float]:
        """Return each run's value at a budget, on the line between the points around it.

        The last point before would say where a run was up to ``every`` iterations ago. Of a run
        that ends sooner it is the end.
        """
        return [
            _rounded(float(np.interp(most, run["curve"][budget], run["curve"][column])))
            for run in self.runs
        ]

    def ends(self, column: str) -> list[float]:
        """Return each run's last value."""
        return [_rounded(run["curve"][column][-1]) for run in self.runs]

    def solved(self) -> str:
        """Return how many runs came to an equilibrium, and after how many iterations."""
        taken = [run["curve"]["iterations"][-1] for run in self.runs if run["finished"]]
        return f"{len(taken)}, at {np.mean(taken):.0f}" if taken else "0"


def _rounded(value: float) -> float:
    """Return a value, or 0 for what rounding leaves of it."""
    return value if abs(value) > _ZERO else 0.0


def read(row: GameRow) -> list[dict[str, Any]]:
    """Return the runs of a row that are done, of these iterations, points and clock, by seed."""
    if not row.path.exists():
        return []
    record = json.loads(row.path.read_text())
    told = (record["iterations"], record["every"], record.get("clock"))
    return list(record["runs"]) if told == (row.iterations, row.every, CLOCK) else []


def write(row: GameRow, runs: Sequence[Mapping[str, Any]], versions: Mapping[str, str]) -> None:
    """Keep a row's runs. What all have in common, the settings, is told once."""
    row.path.parent.mkdir(parents=True, exist_ok=True)
    settings = runs[-1].get("settings")
    if settings is None:
        settings = json.loads(row.path.read_text())["settings"]
    command = f"pkubench train {row.agent} '{row.game}' --steps {row.iterations} --seed SEED"
    if row.game == MIXTURE:
        command = f"python -m benchmarks.results.games --only '^{row.agent} {MIXTURE}'"
    write_json(
        row.path,
        {
            "agent": row.agent,
            "game": row.game,
            "iterations": row.iterations,
            "every": row.every,
            "clock": CLOCK,
            "command": command,
            "settings": settings,
            "versions": dict(versions),
            "runs": [{k: v for k, v in run.items() if k != "settings"} for run in runs],
        },
    )
