"""pkubench: standardized multi-agent, constrained, game and alignment tasks, and agents for them.

``import pkubench`` registers the environments, so that ``gymnasium.make("pkubench/...")`` works.
Heavy libraries are imported when something needs them, not here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pkubench.envs.core.registry import register_declared as _register_declared

if TYPE_CHECKING:
    from pathlib import Path

    from pkubench import tasks
    from pkubench.agents.contract import Agent, Entrant, Population, Team
    from pkubench.agents.registry import register_family, register_preset
    from pkubench.envs.adapters.factories import parallel_env
    from pkubench.envs.core.registry import make_batch, register_environment
    from pkubench.evaluation.report import Report
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
    agent: str | Entrant | AgentSource,
    task: str | Task,
    *,
    episodes: int | None = None,
    seed: int = 0,
    workers: int = 1,
    out: Path | str | None = None,
    trust: bool = False,
    **options: Any,
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
        options: Passed on to ``pkubench.evaluation.run.harness.evaluate``.

    Raises:
        PkubenchError: the task or agent does not exist or cannot be loaded, or ``out`` cannot be
            used. What an agent does wrong while acting is in the report instead.
    """
    from pkubench.agents.resolve.loading import resolve_agent
    from pkubench.agents.resolve.user_code import checked_entrant
    from pkubench.evaluation.run import harness
    from pkubench.evaluation.run.sources import AgentSource
    from pkubench.tasks.registry import as_task

    task = as_task(task)
    source: Entrant | AgentSource
    if isinstance(agent, str):
        source = resolve_agent(agent, task, trust=trust)
    elif isinstance(agent, AgentSource):
        source = agent
    else:
        source = checked_entrant(agent, "what was given to evaluate", task.id)
        options.setdefault("name", type(agent).__name__)
    return harness.evaluate(
        source, task, episodes=episodes, seed=seed, workers=workers, out=out, **options
    )


def load_agent(spelling: str, task: str | Task | None = None, *, trust: bool = False) -> Entrant:
    """Load an agent by its spelling; of an agent with several runs, the first.

    Raises:
        PkubenchError: there is no such agent or task, or it cannot be loaded.
    """
    from pkubench.agents.resolve import loading
    from pkubench.tasks.registry import as_task

    chosen = None if task is None else as_task(task)
    return loading.load_agent(spelling, chosen, trust=trust)


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
