"""Writes ``docs/results/grasp.md``: every figure in it is computed from records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.results import grasp_stages
from benchmarks.results.page import not_learned, table_of, unfinished
from benchmarks.results.records import Scored
from benchmarks.results.rows import Row
from pkubench.tasks.registry import make_task
from pkubench.tasks.split_episodes import AT

TRAIN = "train"
KINDS = {"success": "any step", "success_hold": "last 30 steps", "success_final": "last step"}
"""Metric -> when the object is at its goal."""
_HEAD = """# Dexterous grasping: known objects and new ones

Written by `make results-grasp`; no score here is entered by hand. A hand lifts an object to a goal
20 cm above the place where it rests ([agents](../agents/grasping.md),
[pipelines](../agents/grasping-pipeline.md)). Rows of `grasp-specialists` begin as the generalist of
the pipeline's first seed and have as many steps, whatever the partition.

**Scores** are shares of episodes in which the object was within 5 cm of its goal: at any step (the
papers' success), at each of the last 30 steps, at the last step. Splits are of success at any step,
with the same number of episodes for every object, so that a share of episodes is a mean over
objects. The *gap* is success with the objects of training less that with new ones. Shares in the
simulators of the papers are no pass mark: the physics differs, and so do the objects.

"""


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records of all finished rows."""
    table = table_of(rows, scale, {})
    sections = [_HEAD, *not_learned(table)]
    for task, lines in table.items():
        sections += section(task, lines)
    sections += grasp_stages.section(grasp_stages.read())
    return "".join([*sections, *unfinished(rows, scale)])


def section(task: str, lines: Mapping[str, Scored]) -> Iterator[str]:
    """Yield the table of a task: kinds of success, splits, and gaps between them."""
    names = [metric.name for metric in make_task(task).metrics]
    splits = [name for name in names if AT in name]
    others = [name for name in splits if not name.endswith(f"{AT}{TRAIN}")]
    columns = ["agent", "training", *(f"success, {when} [95 %]" for when in KINDS.values())]
    columns += [f"{name.partition(AT)[2].replace('_', ' ')} [95 %]" for name in splits]
    columns += [f"gap to {name.partition(AT)[2].replace('_', ' ')}" for name in others]
    yield f"## {task}\n\n| {' | '.join([*columns, 'n'])} |\n|{'---|' * (len(columns) + 1)}\n"
    for name, line in lines.items():
        cells = [name, line.training, *(line.text(metric) for metric in (*KINDS, *splits))]
        own = f"success{AT}{TRAIN}"
        cells += [f"{100.0 * (line.mean(own) - line.mean(other)):+.1f} points" for other in others]
        yield f"| {' | '.join(cells)} | {line.metrics['success'][-1]} {line.sample} |\n"
    yield "\n"
