"""The settings of MAT (Wen et al., NeurIPS 2022) and of Sable (Mahjoub et al., ICML 2025).

MAT's ``-paper`` presets have the numbers of the official script for the particle tasks,
``sable-paper`` those of Mava, with 16 environments. The plain names have the
numbers of the CPU presets of HAPPO: 160 environments of 25 steps, a discount of 0.95, a learning
rate of 1e-3, five passes, a ratio within 0.2, and bootstrapping at the time limit. They were taken
over, not tuned for these agents.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pkubench.agents.rl.team_transformer.config import TeamTransformerConfig
from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

_PAPER = TeamTransformerConfig()
_SMALL = replace(
    _PAPER,
    num_envs=160,
    epochs=5,
    lr=1e-3,
    clip=0.2,
    gamma=0.95,
    max_grad_norm=10.0,
    truncation="bootstrap",
)
_SABLE = replace(
    _PAPER,
    memory="retention",
    num_envs=16,
    rollout_steps=128,
    lr=5e-4,
    clip=0.2,
    value_weight=0.5,
    max_grad_norm=10.0,
    truncation="bootstrap",
)
PRESETS = {
    "sable": replace(_SMALL, memory="retention"),
    "sable-paper": _SABLE,
    "mat": _SMALL,
    "mat-dec": replace(_SMALL, execution="decentralised"),
    "mat-paper": _PAPER,
    "mat-dec-paper": replace(_PAPER, execution="decentralised"),
}


def preset(agent: str, task: Task | None) -> TeamTransformerConfig:
    """Return the settings of ``agent``, the same on every task.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in PRESETS:
        raise UnknownName("preset of a transformer over agents", agent, PRESETS)
    return PRESETS[agent]
