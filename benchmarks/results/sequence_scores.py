"""Scores of ``docs/results/sequence.md`` that are of several rows: abilities, curves, margins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.results.page import Table
from benchmarks.results.records import Scored
from pkubench.evaluation.abilities import (
    calibration,
    kept_share,
    length_share,
    longest_solved,
    share,
)
from pkubench.evaluation.figures.abilities import Asked
from pkubench.evaluation.statistics import mean_interval, welch_interval
from pkubench.tasks.registry import make_task

SOLVED = 0.95
"""Return of a T-maze from which on its corridor counts as solved: the optimum is 1, luck 0.5."""
OPTIMUM = "scripted:optimum"
_CORRIDOR = "TMazePassive-v0"
_DEFAULT_CORRIDOR = 10
_LATE = ("GraphPath-v0", "GraphPath-v0+delay=episode")


class Ability(NamedTuple):
    """One spoke of a radar: a task and its lazy policy."""

    name: str
    task: str
    lazy: str
    """Name among the task's references; "" is the floor."""


LEARNED_FROM_DATA = (
    Ability("stitching", "Stitching-v0", "safe"),
    Ability("telling luck from skill", "LuckyArm-v0", "lucky"),
    Ability("long credit", "KeyToDoor-v0", "without-key"),
    Ability("shortest ways", "GraphPath-v0", ""),
    Ability("late rewards", _LATE[1], ""),
)
WITH_MEMORY = (
    Ability("memory", "TMazePassive-v0", "memoryless"),
    Ability("memory and credit", "TMazeActive-v0", "memoryless"),
    Ability("long credit", "KeyToDoor-v0", "without-key"),
    Ability("long memory", _CORRIDOR, ""),
)
_LONG_MEMORY = WITH_MEMORY[-1]


def abilities_of(table: Table, which: tuple[Ability, ...]) -> dict[str, dict[str, float | None]]:
    """Return the shares of each agent that has a row on the first of these abilities' tasks.

    A radar has the lines of three abilities or more: with fewer tasks measured there is none.
    """
    if sum(each.task in table for each in which) < 3:
        return {}
    names = [name for name in table.get(which[0].task, {}) if _is_agent(table, name, which[0])]
    return {name: {each.name: _ability(table, name, each) for each in which} for name in names}


def _is_agent(table: Table, name: str, of: Ability) -> bool:
    return name != "random" and not name.startswith("scripted:") and name in table[of.task]


def _ability(table: Table, name: str, of: Ability) -> float | None:
    if of == _LONG_MEMORY:
        scores = corridors(table).get(name, {})
        longest = max(max(found) for found in corridors(table).values())
        return length_share(longest_solved(scores, SOLVED), longest) if len(scores) > 1 else None
    line = table.get(of.task, {}).get(name)
    if line is None:
        return None
    lazy, best = ends_of(of.task, of.lazy)
    return share(line.mean(make_task(of.task).ranking.name), lazy, best)


def ends_of(task: str, lazy: str = "") -> tuple[float, float]:
    """Return a task's lazy score and its optimum; without a name the floor is the lazy one."""
    found = make_task(task)
    if found.floor is None:
        raise ValueError(f"{task} has no floor")
    low = found.references[lazy].score if lazy else found.floor.score
    return low, found.references["reference"].score


def corridors(table: Table) -> dict[str, dict[int, float]]:
    """Return agent -> cells of the corridor -> mean return, of agents with several corridors."""
    found: dict[str, dict[int, float]] = {}
    for task, lines in table.items():
        base, _, text = task.partition("+corridor=")
        if base == _CORRIDOR:
            for name, line in lines.items():
                if _is_agent(table, name, Ability("", task, "")):
                    cells = int(text) if text else _DEFAULT_CORRIDOR
                    found.setdefault(name, {})[cells] = line.mean(make_task(task).ranking.name)
    return {name: scores for name, scores in found.items() if len(scores) > 1}


def kept(table: Table, timely: str, late: str) -> list[tuple[str, str, str, float | None]]:
    """Return agents with both rows: name, score in time, score with late rewards, share kept.

    The share is None where the optimum is not known, or nothing was earned in time.
    """
    found = []
    of = make_task(timely)
    best = of.references.get("reference")
    ends = ends_of(timely) if best is not None and best.agent == OPTIMUM else None
    metric = of.ranking.name
    for name, line in table.get(late, {}).items():
        other = table.get(timely, {}).get(name)
        if other is not None and _is_agent(table, name, Ability("", late, "")):
            part = kept_share(line.mean(metric), other.mean(metric), *ends) if ends else None
            found.append((name, other.text(metric), line.text(metric), part))
    return found


def asked_of(task: str, line: Scored) -> list[Asked]:
    """Return what a row's runs got for each target return, ascending.

    The target of a share of the data's returns is the same in all runs: they have the same data.
    """
    metric = make_task(task).ranking.name
    points = []
    for places in zip(*line.asked, strict=True):
        got = [place["metrics"][metric]["mean"] for place in places]
        if len(got) > 1:
            points.append(Asked(places[0]["target"], *mean_interval(got)))
        else:
            points.append(Asked(places[0]["target"], got[0]))
    return sorted(points)


def calibration_text(task: str, line: Scored) -> tuple[str, str]:
    """Return rank correlation and error of a row, each averaged over runs, as cells."""
    metric = make_task(task).ranking.name
    found = [
        calibration(
            [place["target"] for place in run], [place["metrics"][metric]["mean"] for place in run]
        )
        for run in line.asked
    ]
    ranks = [each.rank_correlation for each in found if each.rank_correlation is not None]
    rank = f"{sum(ranks) / len(ranks):.2f}" if ranks else "- (all equal)"
    if ranks and len(ranks) < len(found):
        rank += f" ({len(ranks)} of {len(found)} runs)"
    return rank, f"{sum(each.error for each in found) / len(found):.3g}"


def margins(table: Table) -> list[tuple[str, str, str, str]]:
    """Return task, agent, the better imitator, and the difference of means with its interval."""
    found = []
    for task, lines in table.items():
        for end in ("", "-1k", "-medium", "-mixed"):
            imitators = {n: lines[n] for n in (f"bc{end}", f"bc-10{end}") if n in lines}
            if not imitators:
                continue
            metric = make_task(task).ranking.name
            best = max(imitators, key=lambda name: imitators[name].mean(metric))
            for name in (f"{agent}{end}" for agent in _RIVALS):
                if name in lines:
                    found.append((task, name, best, _difference(lines, name, best, metric)))
    return found


_RIVALS = ("dt", "odt", "odt-short", "tt", "iql", "cql")


def _difference(lines: Mapping[str, Scored], name: str, other: str, metric: str) -> str:
    ours, theirs = ([run[metric] for run in lines[n].runs] for n in (name, other))
    if min(len(ours), len(theirs)) < 2:
        return f"{sum(ours) / len(ours) - sum(theirs) / len(theirs):.4g}"
    found = welch_interval(ours, theirs)
    if found.low != found.low:  # all runs of both sides are equal
        return f"{found.estimate:.4g}"
    return f"{found.estimate:.4g} [{found.low:.4g}, {found.high:.4g}]"
