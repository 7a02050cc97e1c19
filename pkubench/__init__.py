"""pkubench: standardized multi-agent, constrained, game and alignment tasks, and agents for them.

``import pkubench`` registers the environments, so that ``gymnasium.make("pkubench/...")`` works.
Heavy libraries are imported when something needs them, not here.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pkubench.envs.core.registry import register_declared as _register_declared
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pkubench import tasks
    from pkubench.agents.contract import Agent, Entrant, Population, Team
    from pkubench.agents.registry import register_family, register_preset
    from pkubench.envs.adapters.factories import parallel_env
    from pkubench.envs.core.registry import make_batch, register_environment
    from pkubench.evaluation.report import Report
    from pkubench.evaluation.run.execution import Backend, Limits
    from pkubench.evaluation.run.harness import Progress
    from pkubench.evaluation.run.sources import AgentSource
    from pkubench.tasks.outside import register_task
    from pkubench.tasks.registry import make_task, register_suite
    from pkubench.tasks.task import Task
    from pkubench.training.api import train

__version__ = "0.1.0"

_LAZY = {
    "Agent": "pkubench.agents.contract",
    "Population": "pkubench.agents.contract",
    "Team": "pkubench.agents.contract",
    "Task": "pkubench.tasks.task",
    "make_batch": "pkubench.envs.core.registry",
    "make_task": "pkubench.tasks.registry",
    "parallel_env": "pkubench.envs.adapters.factories",
    "register_environment": "pkubench.envs.core.registry",
    "register_family": "pkubench.agents.registry",
    "register_preset": "pkubench.agents.registry",
    "register_suite": "pkubench.tasks.registry",
    "register_task": "pkubench.tasks.outside",
    "train": "pkubench.training.api",
}

__all__ = [
    "Agent",
    "Population",
    "Task",
    "Team",
    "__version__",
    "evaluate",
    "load_agent",
    "make_batch",
    "make_task",
    "parallel_env",
    "register_environment",
    "register_family",
    "register_preset",
    "register_suite",
    "register_task",
    "tasks",
    "train",
]


def evaluate(
    agent: str | Path | Entrant | AgentSource,
    task: str | Task,
    *,
    episodes: int | None = None,
    seed: int = 0,
    workers: int = 1,
    out: Path | str | None = None,
    trust: bool = False,
    name: str | None = None,
    act: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    backend: Backend | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Score an agent on a task.

    Args:
        agent: A spelling (``random``, ``happo``, ``runs/my-run``, ``package.module:factory``,
            ``onnx:policy.onnx``, ...), or an agent, team or population as an object. For a game
            also a policy of OpenSpiel, which is read at every information state.
        task: A task, or its name.
        episodes: Episodes of each run; None is the task's own number.
        seed: Chooses the set of episodes.
        workers: Processes; never changes a result.
        out: Folder for records and report; None keeps records in memory.
        trust: Allow ``sb3:`` files, which run code when they are read.
        name: Name of an agent given as an object.
        act: Settings of acting of a saved agent, such as ``{"mode": "sampled"}``.
        limits: How long the agent may take.
        backend: Where blocks of episodes run; overrides ``workers``.
        progress: Called whenever a block is done.

    Raises:
        PkubenchError: the task or agent does not exist or cannot be loaded, ``out`` cannot be
            used, or an argument is not of its kind. What an agent does wrong while acting is in the
            report instead.
    """
    from pkubench.agents.resolve.acting import acting_as
    from pkubench.agents.resolve.loading import resolve_agent, spelled
    from pkubench.agents.resolve.sources import AgentSource as Resolved
    from pkubench.agents.resolve.user_code import checked_entrant
    from pkubench.evaluation.run import harness
    from pkubench.evaluation.run.sources import AgentSource
    from pkubench.tasks.registry import as_task

    task = as_task(task)
    source: Entrant | AgentSource
    if isinstance(agent, str | os.PathLike):
        source = resolve_agent(spelled(agent), task, trust=trust)
    elif isinstance(agent, AgentSource):
        source = agent
    else:
        source = checked_entrant(agent, "what was given to evaluate", task.id)
        name = name or type(agent).__name__
    if act:
        if not isinstance(source, Resolved):
            raise ConfigError("act has settings of a saved agent, and this one is an object")
        source = acting_as(source, {key: str(value) for key, value in act.items()})
    return harness.evaluate(
        source,
        task,
        episodes=episodes,
        seed=seed,
        workers=workers,
        out=out,
        name=name,
        limits=limits,
        backend=backend,
        progress=progress,
    )


def load_agent(
    spelling: str | Path, task: str | Task | None = None, *, trust: bool = False
) -> Entrant:
    """Load an agent by its spelling, or from a path; of an agent with several runs, the first.

    Raises:
        PkubenchError: there is no such agent or task, or it cannot be loaded.
    """
    from pkubench.agents.resolve import loading
    from pkubench.tasks.registry import as_task

    chosen = None if task is None else as_task(task)
    return loading.load_agent(loading.spelled(spelling), chosen, trust=trust)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "tasks":  # a callable package: see its docstring
        return importlib.import_module("pkubench.tasks")
    if name not in _LAZY:
        raise AttributeError(f"module 'pkubench' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


_register_declared()
