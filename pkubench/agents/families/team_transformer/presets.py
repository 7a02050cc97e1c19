"""The settings of the Multi-Agent Transformer (Wen et al., NeurIPS 2022).

``-paper`` have those of the official script for the particle tasks. The plain names have the
numbers of the CPU presets of HAPPO: 160 environments of 25 steps, a discount of 0.95, a learning
rate of 1e-3, five passes, a ratio within 0.2, and bootstrapping at the time limit. They were taken
over, not tuned for MAT.
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
PRESETS = {
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
