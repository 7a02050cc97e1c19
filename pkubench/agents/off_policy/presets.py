"""Which settings an off-policy agent's name stands for on a task."""

from __future__ import annotations

from dataclasses import replace

from pkubench.agents import hasac, saferl_off_policy
from pkubench.agents.off_policy.config import OffPolicyConfig
from pkubench.errors import UnknownName
from pkubench.tasks.task import Task

_MODULES = (hasac, saferl_off_policy)
NAMES = tuple(name for module in _MODULES for name in module.NAMES)
"""Every preset."""


def preset(agent: str, task: Task) -> OffPolicyConfig:
    """Return the settings of ``agent`` on ``task``, whose cost limit it takes.

    Raises:
        UnknownName: no such preset.
    """
    for module in _MODULES:
        if agent in module.NAMES:
            config = module.preset_for(agent, task.id.rpartition("/")[2].rpartition("-v")[0])
            limit = config.cost_limit if task.cost_limit is None else task.cost_limit
            return replace(config, cost_limit=limit)
    raise UnknownName("off-policy preset", agent, NAMES)
