"""Are shipped weights of the policy that a run had learned, or of one that it lost again?

``python -m benchmarks.results.kept`` lists the shipped weights whose score is below half of their
run's best evaluation, both counted from the task's floor, and exits with 1 if there are any. The
best evaluation is the best point of validation; runs that were not validated have only returns of
training episodes, of which the best mean over a tenth of the budget is taken. Where the task has a
cost limit, what was over it is not counted. ``--stage ship`` refuses such weights of a validated
run.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pkubench.agents.registry import WEIGHTS
from pkubench.agents.saved.files import CONFIG
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task

SCORE = "score.json"
"""A shipped run's score, which a test compares with a new evaluation."""
LEAST = 0.5
"""Least share of the best evaluation that weights may ship with."""
_POINTS = 20
"""Points of a training curve at which its mean over a tenth of the budget is taken."""


class Kept(NamedTuple):
    """Shipped weights beside the best that their run was seen to have."""

    folder: Path
    score: float
    best: float
    share: float
    """Score over best, both from the task's floor up."""
    is_validated: bool
    """Whether the best is one of validation; else it is one of training episodes."""

    @property
    def is_lost(self) -> bool:
        """Whether the run had a policy more than twice as good."""
        return self.share < LEAST

    @property
    def text(self) -> str:
        """The numbers as one line."""
        of = "validation" if self.is_validated else "training returns"
        return f"score {self.score:.4g}, best {of} {self.best:.4g}, share {self.share:.2f}"


def share_of_best(score: float, best: float, task: Task) -> float:
    """Return a score over its run's best evaluation, both from the task's floor up.

    A run whose best is not above the floor learned nothing that could have been lost: 1.
    """
    floor = 0.0 if task.floor is None else task.floor.score
    return 1.0 if best <= floor else (score - floor) / (best - floor)


def best_of(points: Sequence[Mapping[str, Any]], task: Task) -> float | None:
    """Return the best return of points of validation whose cost is within the task's limit."""
    limit = math.inf if task.cost_limit is None else task.cost_limit
    found = [p["return"] for p in points if "return" in p and p.get("cost", 0.0) <= limit]
    return max(found, default=None)


def smoothed(log: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, float]]:
    """Yield means of return and cost over the tenth of a curve that ends at each of some points."""
    known = [line for line in log if isinstance(line.get("return"), float)]
    end = known[-1]["steps"] if known else 0.0
    for k in range(2, _POINTS + 1):
        at = end * k / _POINTS
        near = [line for line in known if at - 0.1 * end < line["steps"] <= at]
        if near:
            names = [name for name in ("return", "cost") if name in near[0]]
            yield {name: sum(line[name] for line in near) / len(near) for name in names}


def compared(folder: Path, score: float, task: Task) -> Kept | None:
    """Compare the score of a run's weights with its best evaluation; None where it had none."""
    points = json.loads((folder / CONFIG).read_text()).get("validation", {}).get("points")
    curve = folder / "training.jsonl"
    if not points and curve.exists():
        best = best_of([*smoothed([*map(json.loads, curve.read_text().splitlines())])], task)
    else:
        best = best_of(points or (), task)
    if best is None:
        return None
    return Kept(folder, score, best, share_of_best(score, best, task), bool(points))


def is_withheld(record: Mapping[str, Any], task: Task) -> bool:
    """Return whether a record's run had a policy more than twice as good, so does not ship.

    A record has the best return of all validations, those over a cost limit too, so this can be
    true of weights that ship, but is never false of weights that were refused.
    """
    best = record.get("validation", {}).get("best")
    if best is None or task.ranking.name != "return":
        return False
    score = record["report"]["metrics"]["return"]["mean"]
    return share_of_best(score, best, task) < LEAST


def shipped() -> Iterator[Kept]:
    """Yield all shipped weights that are scored by return."""
    for path in sorted(WEIGHTS.rglob(SCORE)):
        score = json.loads(path.read_text())
        task = make_task(path.parent.parent.name)
        found = compared(path.parent, score["mean"], task) if score["metric"] == "return" else None
        if found is not None:
            yield found


def main() -> int:
    """List what was lost."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    lost = [each for each in shipped() if each.is_lost]
    for each in lost:
        print(f"{' '.join(each.folder.parts[-3:])}: {each.text}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
