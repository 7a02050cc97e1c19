"""Suites and tasks by name, found by declaration.

A module of ``pkubench.tasks.suites`` declares ``SUITE``; other packages call
``pkubench.register_suite``, from a module that an entry point of the group ``pkubench.suites``
names. Single tasks of modules that are not installed: ``pkubench.tasks.outside``.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import pkgutil
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from pkubench.envs.core.delayed_reward import DELAY
from pkubench.envs.core.registry import (
    VARIANT,
    current_id,
    family_of,
    resolve,
    superseded,
    unknown_id,
)
from pkubench.errors import ConfigError, UnknownName
from pkubench.plugins import load_entry_points, note_registrant
from pkubench.tasks.claim import Claim
from pkubench.tasks.outside import imported_task, is_outside, registered_tasks
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Reference, Task

REFERENCES = "references.json"
"""Measured by ``tools/measure_references.py``; task id -> anchor -> score, n, agent, command."""
ENTRY_POINTS = "pkubench.suites"
"""Group of the entry points by which other packages add suites."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_SUITES: dict[str, Suite] = {}


def register_suite(suite: Suite) -> None:
    """Make a suite and its tasks known to every verb. Again, it changes nothing.

    Raises:
        ConfigError: another suite has the name, a task names another suite or is one of
            another suite, or a claim has the name of another claim.
        UnknownName: a task is on an environment that is not registered.
    """
    note_registrant()
    _register_declared()
    _add(suite)


def _add(suite: Suite) -> None:
    if not _NAME.fullmatch(suite.name):
        raise ConfigError(f"suite {suite.name!r} must be a word of lower-case letters and digits")
    known = _SUITES.get(suite.name)
    if known is not None:
        if known != suite:
            raise ConfigError(f"another suite {suite.name!r} is registered already")
        return
    taken = {task.id for other in _SUITES.values() for task in other.tasks}
    for task in suite.tasks:
        if task.suite != suite.name:
            raise ConfigError(
                f"task {task.id!r} is of the suite {task.suite!r}, not {suite.name!r}"
            )
        if task.id in taken:
            raise ConfigError(f"another suite has the task {task.id!r} already")
        resolve(task.id)
    # resolving an id may import a plug-in, which has all suites registered first: this one too
    both = {**_SUITES, suite.name: suite}
    names = [claim.name for each in both.values() for claim in each.claims]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"there are two claims {twice[0]!r}")
    _SUITES[suite.name] = suite
    tasks.cache_clear()


def suites() -> Mapping[str, Suite]:
    """Return every suite by name, in the order of lists."""
    _register_declared()
    load_entry_points(ENTRY_POINTS)
    return dict(sorted(_SUITES.items(), key=lambda item: item[1].place))


@functools.cache
def _register_declared() -> None:
    package = importlib.import_module("pkubench.tasks.suites")
    measured = json.loads((resources.files("pkubench.tasks") / REFERENCES).read_bytes())
    for found in pkgutil.iter_modules(package.__path__):
        suite: Suite = importlib.import_module(f"{package.__name__}.{found.name}").SUITE
        own = tuple(_with_references(task, measured.get(task.id, {})) for task in suite.tasks)
        _add(dataclasses.replace(suite, tasks=own))


def claims() -> Mapping[str, tuple[str, Claim]]:
    """Return every claim by name, with the name of its suite, suite by suite."""
    return {
        claim.name: (suite.name, claim) for suite in suites().values() for claim in suite.claims
    }


@functools.cache
def tasks() -> tuple[Task, ...]:
    """Return every task of every suite, suite by suite."""
    return tuple(task for suite in suites().values() for task in suite.tasks)


def make_task(name: str) -> Task:
    """Return a task by its full id, by its name without the namespace, or for a named game.

    ``module:Name-v0`` names one of another package and imports the module
    (``pkubench.tasks.outside``). ``Name-v0+delay=20`` is the task ``Name-v0`` with rewards paid
    every 20 steps and at the end of an episode: returns, and reference scores, are the same. An
    environment may declare further variants (``TMazePassive-v0+corridor=100``), and a name may have
    several.

    >>> make_task("SimpleSpread-v0+delay=episode").id
    'pkubench/SimpleSpread-v0+delay=episode'
    >>> make_task("LeducPoker-v0").ranking.name
    'exploitability'
    >>> make_task("openspiel:tic_tac_toe").scoring.name
    'population'

    Raises:
        UnknownName: no such task; the message names the nearest one.
        ConfigError: the module that a name begins with cannot be imported; another delay.
    """
    base, plus, change = name.rpartition(VARIANT)
    if plus:
        try:
            task = make_task(base)
        except UnknownName as error:
            if error.nearest is None:
                raise
            raise unknown_id("task", name, [error.nearest.partition(VARIANT)[0]]) from None
        return _variant(task, change)
    family = family_of(name)
    if family is not None:
        for suite in suites().values():
            if family.prefix in suite.by_name:
                return suite.by_name[family.prefix](name)
        raise UnknownName("task", name, (), f"no suite has tasks called {family.prefix}:NAME")
    if is_outside(name):
        return imported_task(name)
    known = {task.id: task for task in tasks()}
    full = current_id(name)
    if full not in known and "/" not in name:  # of another namespace, if one alone has the name
        found = [task_id for task_id in known if task_id.partition("/")[2] == name]
        full = found[0] if len(found) == 1 else full
    if full not in known:
        raise unknown_id("task", name, known)
    return known[full]


def _variant(task: Task, change: str) -> Task:
    spec = resolve(f"{task.id}{VARIANT}{change}")
    own = spec.id.rpartition(VARIANT)[2]
    protocol = task.protocol
    if spec.variant_of is not None and spec.horizon != spec.variant_of.horizon:
        protocol = dataclasses.replace(protocol, horizon=spec.horizon)
    return dataclasses.replace(task, id=f"{task.id}{VARIANT}{own}", protocol=protocol)


def why_outdated(task_id: str) -> str | None:
    """Return why records of a task, given by its full id, are not of the present version, if so.

    Records of an earlier version are of episodes that can no longer be played.
    """
    current = superseded().get(task_id)
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
    """Return a task of a suite, as :func:`make_task`, but no game or variant that is only named.

    Untrusted input (a submission) must not make this machine look for files, build games of any
    size or import modules. A task of another package is found if whoever runs this has installed
    the package or imported the task's module.

    Raises:
        UnknownName: no such task, or a game that is not listed.
        ConfigError: it is a variant of one.
    """
    for task in registered_tasks():
        if task.id == name:
            return task
    base, plus, change = name.partition(VARIANT)
    if plus and base in {task.id for task in tasks()}:
        short = base.rpartition("/")[2]
        why = ""
        if change.partition("=")[0] == DELAY:
            why = f"; it pays the rewards of {short} later, and its returns are those of {short}"
        raise ConfigError(
            f"boards take no variants of tasks, such as {short}{plus}{change}{why}: evaluate the "
            f"agent on {short} and submit that"
        )
    if family_of(name) is not None or is_outside(name) or VARIANT in name:
        raise UnknownName(
            "listed task", name, (), "`pkubench list` shows all tasks that boards accept"
        )
    return make_task(name)


def _with_references(task: Task, measured: dict[str, dict[str, Any]]) -> Task:
    anchors = {anchor: Reference(**entry) for anchor, entry in measured.items()}
    return dataclasses.replace(task, references=anchors) if anchors else task
