"""The settings of each off-policy agent on a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.components import changed
from pkubench.agents.families.off_policy import hasac
from pkubench.agents.families.off_policy import saferl as saferl_off_policy
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

NAMES = (*hasac.NAMES, *saferl_off_policy.NAMES)
"""Every preset."""


def preset(agent: str, task: Task | None) -> OffPolicyConfig:
    """Return the settings of ``agent`` on ``task``, with the task's cost limit.

    Without a task: those for the tasks that the agent is mostly trained on.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in NAMES:
        raise UnknownName("off-policy preset", agent, NAMES)
    if task is None:
        return {**hasac.PRESETS, **saferl_off_policy.PRESETS}[agent]
    name = task.id.rpartition("/")[2].rpartition("-v")[0]
    preset_for = hasac.preset_for if agent in hasac.NAMES else saferl_off_policy.preset_for
    config = preset_for(agent, name)
    if task.cost_limit is None:
        return config
    return changed(config, {"cost_limit": task.cost_limit}, strict=False)
