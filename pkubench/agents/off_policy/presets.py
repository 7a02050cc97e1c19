"""Which settings an off-policy agent's name stands for on a task."""

from __future__ import annotations

from pkubench.agents import hasac
from pkubench.agents.off_policy.config import OffPolicyConfig
from pkubench.errors import UnknownName
from pkubench.tasks.task import Task


def preset(agent: str, task: Task) -> OffPolicyConfig:
    """Return the settings of ``agent`` on ``task``.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in hasac.NAMES:
        raise UnknownName("off-policy preset", agent, hasac.NAMES)
    return hasac.preset_for(agent, task.id.rpartition("/")[2].rpartition("-v")[0])
