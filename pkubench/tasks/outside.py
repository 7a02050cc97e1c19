"""Tasks of other packages: a module registers them, and ``module:namespace/Name-v0`` names one.

The spelling is Gymnasium's for environments of other packages. Naming a task this way imports its
module, which runs the code in it, as ``package.module:factory`` does for agents. Untrusted input
must never lead to it: see ``make_listed_task``.
"""

from __future__ import annotations

import importlib
import re

from pkubench.envs.core.registry import VARIANT, family_of, resolve
from pkubench.errors import ConfigError, UnknownName
from pkubench.plugins import note_registrant
from pkubench.tasks.task import Task

_FULL_ID = re.compile(r"[A-Za-z_][\w.]*:[\w.-]+/[\w.-]+-v\d+")
_NAME = re.compile(r"[A-Za-z_][\w.]*:([\w.-]+/)?[\w.-]+-v\d+")
_SUITE = re.compile(r"[a-z][a-z0-9_-]*")

_REGISTERED: dict[str, Task] = {}


def register_task(task: Task) -> None:
    """Make a task of another package known under its id. Registering it again changes nothing.

    Args:
        task: Its id is ``module:namespace/Name-v0``: the module that calls this, by the name it is
            imported under, and the environment's id, which is registered before.

    Raises:
        ConfigError: the id is not spelled so, or is that of another task.
        UnknownName: there is no such environment.
    """
    note_registrant()
    if not _FULL_ID.fullmatch(task.id):
        raise ConfigError(
            f"task id {task.id!r} must be module:namespace/Name-vN, such as "
            "'my_package.tasks:mine/Maze-v0': results are read with the module that is named in it"
        )
    if not _SUITE.fullmatch(task.suite):
        raise ConfigError(f"suite {task.suite!r} must be a word of lower-case letters and digits")
    resolve(task.id)
    if _REGISTERED.setdefault(task.id, task) != task:
        raise ConfigError(f"another task {task.id!r} is registered already; use a new name or -vN")


def registered_tasks() -> tuple[Task, ...]:
    """Return the tasks of other packages that modules imported so far have registered."""
    return tuple(_REGISTERED.values())


def is_outside(name: str) -> bool:
    """Return whether a name is spelled as a task of another package is."""
    name = name.partition(VARIANT)[0]
    return family_of(name) is None and _NAME.fullmatch(name) is not None


def imported_task(name: str) -> Task:
    """Return a task of another package, importing its module; the namespace may be left out.

    Raises:
        ConfigError: the module cannot be imported.
        UnknownName: it registers no such task.
    """
    module, _, rest = name.partition(":")
    own = _tasks_of(module)
    if not _matching(own, rest):
        try:
            importlib.import_module(module)
        except Exception as error:
            raise ConfigError(
                f"task {rest!r} is registered by the module {module!r}, which cannot be imported "
                f"({type(error).__name__}: {error}); install it, or name its folder, as in "
                "PYTHONPATH=. pkubench ..."
            ) from error
        own = _tasks_of(module)
    found = _matching(own, rest)
    if len(found) != 1:
        hint = "" if own else f"the module {module!r} registers no tasks (pkubench.register_task)"
        known = [f"{module}:{task.id.rpartition('/')[2]}" for task in own]
        raise UnknownName("task", name, known, hint)
    return found[0]


def _tasks_of(module: str) -> list[Task]:
    return [task for task in _REGISTERED.values() if task.id.startswith(f"{module}:")]


def _matching(own: list[Task], rest: str) -> list[Task]:
    return [task for task in own if rest in (task.id.partition(":")[2], task.id.rpartition("/")[2])]
