"""Any two agents of a board: how far apart they are on a task, and over the tasks of both.

On a task the runs of both agents are compared by Welch's test, as ``pkubench compare`` does; over
several tasks by permuting the runs within each task. Secret episodes are compared where both agents
played them; then what is published is rounded, as the scores are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from pkubench.errors import RecordError
from pkubench.evaluation.comparison import compare_records
from pkubench.evaluation.metrics import feasible
from pkubench.evaluation.report import RunRecords
from pkubench.evaluation.statistics import (
    Interval,
    Runs,
    holm,
    improvement_interval,
    permutation_test,
    welch_interval,
)
from pkubench.leaderboard.board.entries import Entry, rounded
from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The first entry minus the second, in the metric that ranks their task."""

    task: Task
    first: Entry
    second: Entry
    difference: Interval | None = None
    """With Welch's 95 % interval; bounds are NaN where a side has a single value."""
    p_value: float | None = None
    """Two-sided; None where a side has a single value."""
    corrected: float | None = None
    """The p-value, corrected for all comparisons that are shown together (Holm)."""
    chance: float | None = None
    """Probability that a run of the first is better than one of the second."""
    is_secret: bool = False
    """Whether secret episodes were compared; values are rounded then."""
    n: tuple[int, int] = (0, 0)
    """Runs of each side, or episodes of its only run."""
    why_not: str = ""
    """Why they cannot be compared."""

    @property
    def better(self) -> Entry | None:
        """The entry with the better mean; None if neither has."""
        if self.difference is None or self.difference.estimate == 0.0:
            return None
        is_first = (self.difference.estimate > 0.0) == self.task.ranking.higher_is_better
        return self.first if is_first else self.second

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        found = self.difference
        bounds = None
        if found is not None:
            bounds = {k: None if math.isnan(v) else v for k, v in found._asdict().items()}
        return {
            "task": self.task.id,
            "metric": self.task.ranking.name,
            "first": self.first.submitter.digest,
            "second": self.second.submitter.digest,
            "difference": bounds,
            "p_value": self.p_value,
            "corrected": self.corrected,
            "chance": self.chance,
            "is_secret": self.is_secret,
            "n": list(self.n),
            "why_not": self.why_not,
        }


def compare_entries(task: Task, first: Entry, second: Entry) -> Pairing:
    """Compare two entries of a task."""
    sides = (first, second)
    is_secret = all(entry.is_secret and len(entry.runs) > 1 for entry in sides)
    blank = Pairing(task=task, first=first, second=second, is_secret=is_secret)
    if is_secret:
        return _secretly(blank)
    if first.public.seed != second.public.seed:
        return replace(blank, why_not="evaluated on different episodes")
    runs = [
        [RunRecords(label=r.name, settings={}, records=r.records, digest="") for r in entry.runs]
        for entry in sides
    ]
    try:
        found = compare_records(runs, [e.public for e in sides], task, task.ranking)
    except RecordError:
        return replace(blank, why_not="an agent failed episodes, so it has no mean")
    low, high = (math.nan if bound is None else bound for bound in (found.low, found.high))
    return replace(
        blank,
        difference=Interval(found.difference, low, high),
        p_value=found.p_value,
        chance=found.probability_of_improvement,
        n=(found.first.n, found.second.n),
    )


def _secretly(blank: Pairing) -> Pairing:
    """Compare the means of runs over the secret episodes, which are published rounded only."""
    name = blank.task.ranking.name
    first, second = blank.first.values(name), blank.second.values(name)
    if first is None or second is None:
        return replace(blank, why_not="an agent failed episodes, so it has no mean")
    gap = welch_interval(first, second)
    sign = 1.0 if blank.task.ranking.higher_is_better else -1.0
    pair = (Runs("first", sign * first), Runs("second", sign * second))
    return replace(
        blank,
        difference=rounded(Interval(*gap[:3])),
        p_value=float(f"{gap.p_value:.1g}"),
        chance=round(improvement_interval([pair], resamples=1).estimate, 2),
        n=(len(first), len(second)),
    )


def compare_all(task: Task, entries: Sequence[Entry]) -> list[Pairing]:
    """Compare each two of some entries, the p-values corrected together."""
    found = [compare_entries(task, *pair) for pair in combinations(entries, 2)]
    tested = [pairing for pairing in found if pairing.p_value is not None]
    corrected = holm([pairing.p_value or 0.0 for pairing in tested])
    by_pair = {id(p): value for p, value in zip(tested, corrected, strict=True)}
    return [replace(pairing, corrected=by_pair.get(id(pairing))) for pairing in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overall:
    """Two agents over the tasks that both have at least two runs on."""

    tasks: tuple[str, ...]
    chance: Interval
    """Probability that a run of the first beats one of the second, averaged over the tasks, with a
    bootstrap's 95 % interval over runs."""
    p_value: float
    """By permuting the runs within each task."""


def compare_overall(
    tasks: Mapping[str, Task], first: Mapping[str, Entry], second: Mapping[str, Entry]
) -> Overall | None:
    """Compare two agents over the tasks that both played; None below two of them.

    Tasks on which either has a mean cost over the limit are left out: returns do not count there.

    Args:
        tasks: the tasks by id.
        first: the first agent's entries by task.
        second: the second's.
    """
    pairs: list[tuple[Runs, Runs]] = []
    used = []
    for name, task in tasks.items():
        if name not in first or name not in second:
            continue
        sides = (first[name], second[name])
        over = [feasible(task, _cost(entry)) is False for entry in sides]
        if any(over) or min(len(entry.runs) for entry in sides) < 2:
            continue
        is_secret = all(entry.is_secret for entry in sides)
        values = [_values(entry, task, is_secret) for entry in sides]
        if values[0] is None or values[1] is None:
            continue
        pairs.append((Runs(f"a {name}", values[0]), Runs(f"b {name}", values[1])))
        used.append(name)
    if len(pairs) < 2:
        return None
    p_value = permutation_test([(x.values, y.values) for x, y in pairs])
    chance = Interval(*(round(bound, 2) for bound in improvement_interval(pairs)))
    return Overall(tasks=tuple(used), chance=chance, p_value=float(f"{p_value:.2g}"))


def _cost(entry: Entry) -> float | None:
    found = entry.interval("cost")
    return None if found is None else found.estimate


def _values(entry: Entry, task: Task, is_secret: bool) -> list[float] | None:
    """Return the means of an entry's runs, a larger one being better; None if a run has none."""
    name, sign = task.ranking.name, 1.0 if task.ranking.higher_is_better else -1.0
    means = [(run.metrics if is_secret else run.shown).get(name) for run in entry.runs]
    known = [sign * mean for mean in means if mean is not None]
    return known if len(known) == len(means) else None
