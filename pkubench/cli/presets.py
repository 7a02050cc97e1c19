"""Which agents train on a task, in words, and what their settings mean."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

from pkubench.agents.registry import Preset, family_of, presets
from pkubench.agents.suitability import can_train, is_meant_for, trainable, why_not
from pkubench.cli.names import handful, short
from pkubench.errors import ConfigError, nearest
from pkubench.tasks.registry import tasks
from pkubench.tasks.task import Task


def check_meant_for(agent: Preset, task: Task) -> None:
    """Refuse an agent that is not trained at all, or not on tasks of a task's suite.

    Raises:
        ConfigError: The message names a task that it trains on, or agents that train on this one.
    """
    if not family_of(agent).is_trained:
        trained = handful(other.name for other in presets().values() if family_of(other).is_trained)
        raise ConfigError(
            f"agent {agent.name!r} is not trained; these are: {trained}, and more in "
            "`pkubench list`"
        )
    if not is_meant_for(agent, task):
        raise _refusal(agent, task)


def check_trains(agent: Preset, task: Task) -> None:
    """Refuse a task that an agent does not train on.

    Raises:
        ConfigError: As :func:`check_meant_for`, or the task lacks what the agent needs.
    """
    check_meant_for(agent, task)
    if why_not(agent, task):
        raise _refusal(agent, task)


def _refusal(agent: Preset, task: Task) -> ConfigError:
    near = nearest(task.id, [t.id for t in tasks() if can_train(agent, t)], cutoff=0.75)
    guess = f"did you mean {short(near)!r}? " if near else ""
    fitting = handful(other.name for other in trainable(task))
    return ConfigError(
        f"{agent.name} does not train on {short(task.id)}: {why_not(agent, task)}; {guess}"
        f"agents for it: {fitting or 'none'}; `pkubench list --suite {task.suite}` shows all"
    )


def meanings(cls: type[Any]) -> dict[str, str]:
    """Return the docstrings that stand under a dataclass's fields, inherited ones too."""
    found: dict[str, str] = {}
    for part in reversed(cls.__mro__[:-1]):  # all but object
        tree = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        assert isinstance(tree, ast.ClassDef)
        found |= _field_docs(tree.body)
    return found


def _field_docs(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, after in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            yield field.target.id, " ".join(after.value.value.replace("``", "").split())
