"""The settings of each on-policy agent on a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pkubench.agents.components import changed, tuned_for
from pkubench.agents.families.on_policy import credit, harl, memory, saferl
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.envs.core.registry import traits
from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

PRESETS: dict[str, OnPolicyConfig] = {
    **harl.PRESETS,
    **saferl.PRESETS,
    **credit.PRESETS,
    **memory.PRESETS,
}
TUNED = {**harl.TUNED, **saferl.TUNED, **credit.TUNED}
"""Prefix of a task's name -> agent -> settings that replace the preset's; longer prefixes win."""


def preset(agent: str, task: Task | None) -> OnPolicyConfig:
    """Return the settings of ``agent`` on ``task``; without one, before a task changes them.

    Three things depend on the task: numbers tuned for its environment (``TUNED``), the cost limit,
    and whether agents can share an actor (the papers disable sharing where agents differ in their
    spaces).

    Raises:
        UnknownName: no such preset.
    """
    if agent not in PRESETS:
        raise UnknownName("on-policy preset", agent, PRESETS)
    if task is None:
        return PRESETS[agent]
    config = changed(PRESETS[agent], tuned(agent, task.id), strict=False)
    if task.cost_limit is not None:
        limits = tuple(f"{key}:{limit!r}" for key, limit in task.cost_limits.items())
        several = {"cost_limits": limits} if limits else {}
        config = changed(config, {"cost_limit": task.cost_limit, **several}, strict=False)
    if config.shared and not traits(task.id, **task.env_kwargs).are_agents_alike:
        config = changed(config, {"shared": False})
    return config


def tuned(agent: str, task_id: str) -> dict[str, Any]:
    """Return ``agent``'s settings tuned for an environment or its family, by its paper or us."""
    return tuned_for({start: of.get(agent, {}) for start, of in TUNED.items()}, task_id)
