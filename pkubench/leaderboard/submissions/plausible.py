"""Claims that honest trainings do not make: flagged, shown with the reason, and not ranked.

Three tests, each at a level of :data:`LEVEL`; a board cannot know, so none is a verdict on the
submitter:

* a mean above the best that any agent can have, where a task's optimum is known (one-sided t-test
  over episodes, because luck may lift a mean);
* a training curve at least :data:`FASTER` times faster than the reference agent's to half of
  the way between floor and reference (one-sided Welch test of the logarithms of the steps, because
  curves and steps are the submitter's word);
* runs whose episodes are equal up to rounding, as those of independent trainings are not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.envs.core.registry import traits
from pkubench.errors import AgentError, UnknownName
from pkubench.leaderboard.board.reading import CURVE
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.task import Task

LEVEL = 0.001
"""Probability that a test flags an honest entry."""
FASTER = 100.0
"""How many times faster than the reference is implausible: off-policy learners are ten times faster
than on-policy ones."""
CLOSE = 1e-6
"""Difference of two returns, as a share of their spread over episodes, that rounding explains."""
_ROUNDING = 1e-9
_MIN_CURVES = 3

FloatArray = npt.NDArray[np.float64]
Curves = Sequence[Sequence[Mapping[str, Any]]]
"""For each run the lines of its ``training.jsonl``."""


def implausible(
    task: Task,
    records: Mapping[str, Sequence[EpisodeRecord]],
    curves: Curves,
    reference: Curves | None = None,
) -> str:
    """Return why an entry is implausible, in a sentence; "" if it is not.

    Args:
        task: gives metric, optimum and reference.
        records: of each run, on the same episodes.
        curves: of the runs that have one.
        reference: the reference agent's; None reads those of the shipped weights.
    """
    values = {
        run: np.array([v for r in lines if (v := r.value(task.ranking.name)) is not None])
        for run, lines in records.items()
    }
    table = [array for array in values.values() if array.size]
    if len(table) < len(values) or len({array.size for array in table}) != 1:
        return ""  # episodes failed, which is a reason of its own
    if found := above_optimum(task, np.stack(table)):
        return found
    if found := too_alike(task, values):
        return found
    known = shipped_curves(task) if reference is None else reference
    return too_fast(task, curves, known)


def above_optimum(task: Task, values: FloatArray) -> str:
    """Return whether a mean is above the best that any agent can have; "" if not, or not known.

    Runs play the same episodes, so their mean on each episode is the sample.

    Args:
        task: says whether its reference is an optimum; tasks with a cost limit are not tested,
            because more than the optimum can be had beyond the limit.
        values: (runs, episodes) of the ranking metric.
    """
    top = task.references.get("reference")
    if not task.is_reference_optimal or top is None or task.cost_limit is not None:
        return ""
    sign = 1.0 if task.ranking.higher_is_better else -1.0
    excess = sign * (values.mean(axis=0) - top.score)
    mean, scale = float(excess.mean()), max(1.0, abs(top.score))
    if mean <= _ROUNDING * scale:
        return ""
    p_value = 0.0
    if float(excess.std()) > _ROUNDING * scale:
        p_value = float(stats.ttest_1samp(excess, 0.0, alternative="greater").pvalue)
    if p_value >= LEVEL:
        return ""
    return (
        f"its mean is better than {top.score:.6g}, the best that any agent can have (one-sided "
        f"t-test over episodes, p = {p_value:.1g})"
    )


def too_alike(task: Task, values: Mapping[str, FloatArray]) -> str:
    """Return which two runs play the same episodes up to rounding; "" if none do.

    Equal episodes alone are no evidence where actions are discrete or the optimum can be learned:
    there independent trainings may play alike. Equal up to differences of rounding are evidence
    everywhere, and so are equal ones of continuous actions.

    Args:
        task: gives the kind of actions.
        values: of each run (episodes,) the ranking metric.
    """
    is_continuous = traits(task.id).action == "box" and not task.is_reference_optimal
    for (first, a), (second, b) in combinations(values.items(), 2):
        spread = float(a.std())
        is_varied = np.unique(a).size > a.size / 2 and spread > _ROUNDING * float(np.abs(a).max())
        if not is_varied or a.size < 4:
            continue
        gaps = np.abs(a - b)
        close = gaps <= CLOSE * spread
        if close.mean() < 0.5:
            continue
        if bool((gaps[close] > 0.0).any()) or (is_continuous and bool(close.all())):
            return (
                f"{first} and {second} play {int(close.sum())} of {a.size} episodes alike up to "
                "rounding, which independent trainings do not"
            )
    return ""


def too_fast(task: Task, curves: Curves, reference: Curves) -> str:
    """Return whether curves rise implausibly earlier than the reference's; "" if not, or not known.

    Args:
        task: gives the metric, and floor and reference, half way between which is looked for.
        curves: of the entry's runs.
        reference: of the reference agent's runs.
    """
    middle = half_way(task)
    if middle is None:
        return ""
    own, known = (log_steps(task, middle, side) for side in (curves, reference))
    if min(len(own), len(known)) < _MIN_CURVES:
        return ""
    ratio = 10.0 ** (float(np.mean(known)) - float(np.mean(own)))
    if ratio < FASTER:
        return ""
    p_value = 0.0
    if max(float(np.std(own)), float(np.std(known))) > _ROUNDING:
        p_value = float(stats.ttest_ind(own, known, equal_var=False, alternative="less").pvalue)
    if p_value >= LEVEL:
        return ""
    return (
        f"its curves reach {middle:.4g}, half of the reference's way, {ratio:,.0f} times earlier "
        f"than the reference's own (one-sided Welch's test of log steps, p = {p_value:.1g})"
    )


def half_way(task: Task) -> float | None:
    """Return the middle of floor and reference in the ranking metric; None without both."""
    low, high = task.normalised(0.0), task.normalised(1.0)
    top, floor = task.references.get("reference"), task.floor
    if low is None or high is None or top is None or floor is None:
        return None
    return (floor.score + top.score) / 2


def log_steps(task: Task, level: float, curves: Curves) -> list[float]:
    """Return for each curve that reaches a level the logarithm of its steps when it first does."""
    sign, name, found = (1.0 if task.ranking.higher_is_better else -1.0), task.ranking.name, []
    for lines in curves:
        points = [
            (float(line["steps"]), float(line[name]))
            for line in lines
            if _is_number(line.get("steps")) and _is_number(line.get(name)) and line["steps"] > 0
        ]
        reached = [steps for steps, value in sorted(points) if sign * (value - level) >= 0.0]
        if reached:
            found.append(math.log10(reached[0]))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100


def shipped_curves(task: Task) -> Curves:
    """Return the curves of the reference agent's shipped weights; empty where there are none."""
    top = task.references.get("reference")
    if top is None:
        return []
    try:
        source = resolve_agent(top.agent, task)
    except (AgentError, UnknownName):
        return []
    folders = [part for run in source.runs for part in run.arguments if isinstance(part, Path)]
    files = (folder / CURVE for folder in folders)
    return [lines_of(file.read_bytes()) for file in files if file.is_file()]


def lines_of(curve: bytes) -> list[Mapping[str, Any]]:
    """Return the lines of a curve that was checked when its bundle was read."""
    return [json.loads(line) for line in curve.splitlines()]


def curves_of(curves: Iterable[bytes]) -> Curves:
    """Return the curves of runs, without those that have none."""
    return [lines_of(curve) for curve in curves if curve]
