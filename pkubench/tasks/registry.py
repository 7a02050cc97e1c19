"""Every standardized task, by name."""

from __future__ import annotations

import dataclasses
import functools
import json
from importlib import resources
from typing import Any

from pkubench.envs.core.registry import SUPERSEDED, current_id, family_of
from pkubench.errors import ConfigError, UnknownName
from pkubench.tasks.outside import imported_task, is_outside, registered_tasks
from pkubench.tasks.suites import constrained, diagnostics, games, marl
from pkubench.tasks.task import Reference, Task

SUITES = {suite.SUITE: suite for suite in (marl, constrained, games, diagnostics)}
"""Suite name -> the module that lists its tasks."""
REFERENCES = "references.json"
"""Measured by ``tools/measure_references.py``; task id -> anchor -> score, n, agent, command."""


@functools.cache
def tasks() -> tuple[Task, ...]:
    """Return every task of pkubench, suite by suite."""
    measured = json.loads((resources.files("pkubench.tasks") / REFERENCES).read_bytes())
    return tuple(
        _with_references(task, measured.get(task.id, {}))
        for suite in SUITES.values()
        for task in suite.tasks()
    )


def make_task(name: str) -> Task:
    """Return a task by its full id, by the name without the namespace, or of a named game.

    ``module:Name-v0`` names one of another package and imports the module
    (``pkubench.tasks.outside``).

    >>> make_task("LeducPoker-v0").ranking.name
    'exploitability'
    >>> make_task("openspiel:tic_tac_toe").kind
    'population'

    Raises:
        UnknownName: no such task; the message names the nearest one.
        ConfigError: the module that a name begins with cannot be imported.
    """
    if family_of(name) is not None:
        return games.task_by_name(name)
    if is_outside(name):
        return imported_task(name)
    known = {task.id: task for task in tasks()}
    full = current_id(name)
    if full not in known:
        raise UnknownName("task", name, known, "`pkubench list` shows all")
    return known[full]


def why_outdated(task_id: str) -> str | None:
    """Return why records of a task, named by its full id, are not of the present one, if so.

    Records of an earlier version are of episodes that nobody can play any more.
    """
    current = SUPERSEDED.get(task_id)
    if current is None:
        return None
    before, now = (part.rpartition("/")[2] for part in (task_id, current))
    return f"records are of {before}, which is {now} now: evaluate again"


def as_task(task: Task | str) -> Task:
    """Return a task given as itself or by name, as :func:`make_task` takes it.

    Raises:
        UnknownName, ConfigError: as ``make_task``, or it is neither.
    """
    if isinstance(task, Task):
        return task
    if not isinstance(task, str):
        raise ConfigError(f"task must be a Task or the name of one, got {task!r:.80}")
    return make_task(task)


def make_listed_task(name: str) -> Task:
    """Return a task of the catalogue, as :func:`make_task`, and no game that is only named.

    What comes from outside (a submission) may not have this machine look for files, build games of
    any size or import modules. A task of another package is found if its module was imported by
    whoever runs this.

    Raises:
        UnknownName: no such task, or a game that is not listed.
    """
    for task in registered_tasks():
        if task.id == name:
            return task
    if family_of(name) is not None or is_outside(name):
        raise UnknownName("listed task", name, (), "`pkubench list` shows all that boards take")
    return make_task(name)


def _with_references(task: Task, measured: dict[str, dict[str, Any]]) -> Task:
    anchors = {anchor: Reference(**entry) for anchor, entry in measured.items()}
    return dataclasses.replace(task, references=anchors) if anchors else task
