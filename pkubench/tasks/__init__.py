"""Standardized tasks: environment, protocol, metrics and reference scores.

The package is also the function the design promises: ``pkubench.tasks()`` lists every task.
"""

from __future__ import annotations

import sys
import types

from pkubench.tasks.task import Metric, Protocol, Reference, Task

__all__ = ["Metric", "Protocol", "Reference", "Task"]


class _TasksModule(types.ModuleType):
    """A module that can be called, because a subpackage shadows a function of its name."""

    def __call__(self) -> tuple[Task, ...]:
        """Return every task, in the order of the suites."""
        from pkubench.tasks.registry import tasks

        return tasks()


sys.modules[__name__].__class__ = _TasksModule
