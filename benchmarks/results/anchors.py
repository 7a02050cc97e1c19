"""Lines of a table that are not trained: random, the lazy policies, a controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.results.records import Scored, by_old_rules, scored_agent
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task

_SCRIPTED = "scripted:"


def lazy_names(task: Task) -> dict[str, float | None]:
    """Return the lines of a task's lazy policies; a number is a stated score, not a measured one.

    >>> lazy_names(make_task("MultiWalker2d2x3-v0"))
    {'scripted:no-op': None, 'standing': 1000.0}
    """
    return {
        name if score is not None else f"{_SCRIPTED}{name}": score
        for name, score in task.lazy.items()
    }


def is_trained(name: str) -> bool:
    """Return whether a line is of a learner."""
    return name not in ("random", "standing") and not name.startswith(_SCRIPTED)


def anchor_lines(task_id: str, others: Sequence[str]) -> dict[str, Scored]:
    """Evaluate random, the lazy policies and others, untrained too; return their lines by name."""
    task = make_task(task_id)
    lines = {"random": scored_agent("random", task_id)}
    for name, score in lazy_names(task).items():
        lines[name] = scored_agent(name, task_id) if score is None else _stated(name, score, task)
    return lines | {name: scored_agent(name, task_id) for name in others}


def _stated(name: str, score: float, task: Task) -> Scored:
    """Return the line of a policy that survives and does nothing else, whose score is known."""
    known = {metric.name: 0.0 for metric in task.metrics} | {task.ranking.name: score}
    metrics = {metric: (value, None, None, 1) for metric, value in known.items()}
    return Scored(name, "-", "stated", metrics, [known])


def floor_of(task_id: str, lines: Mapping[str, Scored]) -> str:
    """Return the name of the best line that only takes a lazy policy or random play."""
    task = make_task(task_id)
    names = [name for name in ("random", *lazy_names(task)) if name in lines]
    sign = 1.0 if task.ranking.higher_is_better else -1.0
    return max(names, key=lambda name: sign * lines[name].mean(task.ranking.name))


def old_floor(task_id: str) -> float:
    """Return what the best of random and the lazy policies scores by the particle v2 rules."""
    return max(by_old_rules(name, task_id) for name in ("random", *lazy_names(make_task(task_id))))


def not_above_floor(task_id: str, lines: Mapping[str, Scored]) -> list[str]:
    """Return the trained lines whose interval is not better than that of every untrained lazy line.

    A line without an interval is taken at its mean.
    """
    task = make_task(task_id)
    metric = task.ranking
    sign = 1.0 if metric.higher_is_better else -1.0

    def ends(name: str) -> tuple[float, float]:
        mean, low, high, _ = lines[name].metrics[metric.name]
        found = [sign * mean if end is None else sign * end for end in (low, high)]
        return min(found), max(found)

    top = max(ends(name)[1] for name in ("random", *lazy_names(task)) if name in lines)
    return [name for name in lines if is_trained(name) and ends(name)[0] <= top]
