"""The settings of VDN (Sunehag et al. 2018), QMIX (Rashid et al. 2018), HAD3QN (Zhong et al. 2024).

``vdn-paper`` and ``qmix-paper`` have the numbers of PyMARL2 (Hu et al. 2021);
``-epymarl-paper`` those of EPyMARL (Papoudakis et al., NeurIPS
2021): networks without memory, one-step targets, one environment, standardised rewards.

The plain names are for a CPU: 16 environments, and batches of 32 episodes, so that learning
begins after 32 episodes; for HAD3QN the sizes of the other off-policy agents. These numbers were
not tuned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pkubench.agents.components import changed, tuned_for
from pkubench.agents.rl.value_based.config import DecompositionConfig
from pkubench.agents.rl.value_based.dueling_config import DuelingConfig
from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

_PYMARL2 = DecompositionConfig(dead_agents="included")
_EPYMARL = changed(
    replace(
        _PYMARL2,
        hidden=(64, 64),
        last_action=False,
        num_envs=1,
        batch_episodes=32,
        epsilon_steps=50_000,
        lam=0.0,
        reward_norm="standardise",
        target_interval=200,
        loss="squared",
        lr=5e-4,
    ),
    {"memory": "none"},
)
_SMALL = DecompositionConfig(
    num_envs=16, updates=4, batch_episodes=32, epsilon_steps=50_000, target_interval=100
)
_BASES = {"": _SMALL, "-paper": _PYMARL2, "-epymarl-paper": _EPYMARL}
PRESETS: dict[str, DecompositionConfig | DuelingConfig] = {
    f"{mixer}{suffix}": changed(config, {"mixer": mixer})
    for mixer in ("qmix", "vdn")
    for suffix, config in _BASES.items()
}
PRESETS["had3qn-paper"] = DuelingConfig()
PRESETS["had3qn"] = DuelingConfig(
    hidden=(64, 64), head=64, batch_size=256, updates_per_step=3.0, actor_lr=1e-3
)
_SIX_AGAINST_EIGHT = {"lam": 0.3, "epsilon_steps": 500_000}
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "MicroBattle6h_vs_8z": dict.fromkeys(("qmix-paper", "vdn-paper"), _SIX_AGAINST_EIGHT),
}
"""Prefix of a task's name -> agent -> settings that replace the preset's: PyMARL2's."""


def preset(agent: str, task: Task | None) -> DecompositionConfig | DuelingConfig:
    """Return the settings of ``agent`` on ``task``; without one, before a task changes them.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in PRESETS:
        raise UnknownName("value-based preset", agent, PRESETS)
    if task is None:
        return PRESETS[agent]
    tuned = tuned_for({start: of.get(agent, {}) for start, of in TUNED.items()}, task.id)
    return changed(PRESETS[agent], tuned)
