"""Records of population learners: one file per row, one curve per seed.

Unlike for a trained network, the curve of a population is the result, and it can be computed again
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
"""The clock behind the seconds of records; older records have wall-clock seconds."""
ALIKE = 1.25
"""Largest ratio of the yardsticks of rows whose seconds are compared (see ``timed_alike``)."""


@dataclass(frozen=True)
class GameRow:
    """One row of a table: agent, game, number of seeds and iterations."""

    agent: str
    game: str
    iterations: int
    seeds: int
    every: int
    """Iterations between two points of the curve."""
    changes: tuple[tuple[str, Any], ...] = ()
    """Settings that differ from the agent's, such as ``(("diversity_step", 0.5),)``."""
    label: str = ""
    """Its name in tables; the algorithm's if empty."""

    @property
    def method(self) -> str:
        """Its name in tables: the algorithm's, without the suffix of its settings."""
        return self.label or self.agent.removesuffix("-paper")

    @property
    def is_deep(self) -> bool:
        """Whether responses are learned from plays, so that episodes are those played."""
        return self.method.endswith("-deep")

    @property
    def heading(self) -> str:
        """The section of the page: rows whose episodes are counted differently have their own."""
        return f"{self.game}, learned from plays" if self.is_deep else self.game

    @property
    def path(self) -> Path:
        """Where its record is."""
        folder = "".join(c if c.isalnum() else "-" for c in self.game).strip("-")
        changes = "".join(f"+{name}={value}" for name, value in self.changes)
        return RECORDS / folder / f"{self.agent}{changes}.json"


class Line(NamedTuple):
    """One row with all its runs."""

    row: GameRow
    runs: list[dict[str, Any]]

    def at(self, column: str, budget: str, most: float) -> list[float]:
        """Return each run's value at a budget, interpolated between the neighbouring points.

        The previous point alone could be up to ``every`` iterations old. For a run that ends sooner
        it is the last value.
        """
        return [
            _rounded(float(np.interp(most, run["curve"][budget], run["curve"][column])))
            for run in self.runs
        ]

    @property
    def yardstick(self) -> float | None:
        """Median over runs of the seconds of a fixed computation; None if a run is without."""
        found = [run["yardstick"] for run in self.runs if "yardstick" in run]
        return float(np.median(found)) if len(found) == len(self.runs) else None

    def ends(self, column: str) -> list[float]:
        """Return each run's last value."""
        return [_rounded(run["curve"][column][-1]) for run in self.runs]

    def solved(self) -> str:
        """Return how many runs reached an equilibrium, and after how many iterations."""
        taken = [run["curve"]["iterations"][-1] for run in self.runs if run["finished"]]
        return f"{len(taken)}, at {np.mean(taken):.0f}" if taken else "0"


def timed_alike(lines: Sequence[Line]) -> list[Line]:
    """Return the most rows whose seconds may be compared, because their yardsticks are alike.

    These differ by at most ``ALIKE``. Rows of which no run has one were timed by one release, on a
    machine that did nothing else, and are alike among themselves. Of equally large groups, the
    quickest.
    """
    groups = [[line for line in lines if not any("yardstick" in run for run in line.runs)]]
    for least in sorted(line.yardstick for line in lines if line.yardstick is not None):
        groups.append(
            [
                line
                for line in lines
                if line.yardstick is not None and least <= line.yardstick <= ALIKE * least
            ]
        )
    return max(groups, key=len)


def _rounded(value: float) -> float:
    """Return a value, or 0 if it is a rounding error."""
    return value if abs(value) > _ZERO else 0.0


def read(row: GameRow) -> list[dict[str, Any]]:
    """Return the finished runs of a row with these iterations, points and clock, by seed."""
    if not row.path.exists():
        return []
    record = json.loads(row.path.read_text())
    recorded = (record["iterations"], record["every"], record.get("clock"))
    return list(record["runs"]) if recorded == (row.iterations, row.every, CLOCK) else []


def write(row: GameRow, runs: Sequence[Mapping[str, Any]], versions: Mapping[str, str]) -> None:
    """Write a row's runs. The settings, which all share, are written once."""
    row.path.parent.mkdir(parents=True, exist_ok=True)
    settings = runs[-1].get("settings")
    if settings is None:
        settings = json.loads(row.path.read_text())["settings"]
    command = f"pkubench train {row.agent} '{row.game}' --steps {row.iterations} --seed SEED"
    command += "".join(f" --set {name}={value}" for name, value in row.changes)
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
