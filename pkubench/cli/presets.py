"""What an agent's name stands for on a task: whether it learns it, and with which settings."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

from pkubench.agents.catalogue import AGENTS, AgentSpec, import_function
from pkubench.cli.names import handful, short
from pkubench.errors import ConfigError, nearest
from pkubench.tasks.registry import tasks
from pkubench.tasks.task import Task

PRESET_MODULES = (
    "pkubench.agents.families.on_policy.harl",
    "pkubench.agents.families.off_policy.hasac",
    "pkubench.agents.families.on_policy.saferl",
    "pkubench.agents.families.off_policy.saferl",
    "pkubench.agents.families.psro.training",
)
"""Where ``PRESETS`` are: agent name -> a config dataclass."""


def check_learns(spec: AgentSpec, task: Task) -> None:
    """Refuse a task that an agent does not learn.

    Raises:
        ConfigError: The message names a task that it learns or agents that learn this one.
    """
    if spec.trainer is None:
        trained = handful(name for name, other in AGENTS.items() if other.trainer)
        raise ConfigError(
            f"agent {spec.name!r} is not trained; these are: {trained}, and more in `pkubench list`"
        )
    if task.suite in spec.suites:
        return
    *most, last = spec.suites
    learnt = f"{', '.join(most)} and {last}" if most else last
    near = nearest(task.id, [t.id for t in tasks() if t.suite in spec.suites], cutoff=0.75)
    guess = f"did you mean {short(near)!r}? " if near else ""
    learners = [n for n, s in AGENTS.items() if s.trainer and task.suite in s.suites]
    if task.suite == "constrained":  # of both: for a team its learners first, else the others
        learners.sort(key=lambda name: name.startswith("ha") != ("/Multi" in task.id))
    fitting = handful(sorted(learners, key=lambda name: name.endswith("-paper")))
    raise ConfigError(
        f"{spec.name} learns {learnt} tasks and {short(task.id)} is one of {task.suite}; {guess}"
        f"agents for it: {fitting or 'none'}; `pkubench list --suite {task.suite}` shows all"
    )


def preset_of(spec: AgentSpec, task: Task | None) -> Any:
    """Return the settings of an agent, on a task or before a task changes them.

    None for an agent that is not trained.

    Raises:
        ConfigError: The agent does not learn the task.
    """
    if task is not None:
        check_learns(spec, task)
    package = str(spec.trainer).partition(":")[0]
    if task is not None and task.kind != "population":
        return import_function(f"{package}.presets:preset")(spec.name, task)
    for name in PRESET_MODULES:
        presets = getattr(importlib.import_module(name), "PRESETS", {})
        if spec.name in presets:
            return presets[spec.name]
    return None


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
