"""pkubench: standardized multi-agent, constrained, game and alignment tasks, and agents for them.

``import pkubench`` registers the environments, so that ``gymnasium.make("pkubench/...")`` works.
Heavy libraries are imported when something needs them, not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pkubench.envs.catalogue import register_all as _register_all

if TYPE_CHECKING:
    from pkubench.agents.agent import Agent, Population, Team
    from pkubench.agents.loading import load_agent
    from pkubench.envs.faces import parallel_env
    from pkubench.envs.registry import make_batch
    from pkubench.evaluation.harness import evaluate
    from pkubench.tasks.catalogue import make_task, tasks
    from pkubench.tasks.task import Task

__version__ = "0.1.0"

_LAZY = {
    "Agent": "pkubench.agents.agent",
    "Population": "pkubench.agents.agent",
    "Team": "pkubench.agents.agent",
    "Task": "pkubench.tasks.task",
    "evaluate": "pkubench.evaluation.harness",
    "load_agent": "pkubench.agents.loading",
    "make_batch": "pkubench.envs.registry",
    "make_task": "pkubench.tasks.catalogue",
    "parallel_env": "pkubench.envs.faces",
    "tasks": "pkubench.tasks.catalogue",
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
    "tasks",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module 'pkubench' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


_register_all()
