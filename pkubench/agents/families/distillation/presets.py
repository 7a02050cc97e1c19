"""The settings of students."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.rl.on_policy.config import StudentConfig
from pkubench.agents.rl.update_rules.ppo_clip import PPOClip
from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

PRESETS = {
    "dagger-value": StudentConfig(
        update=PPOClip(actor_lr=3e-4, entropy=0.0),
        encoder=MLPEncoder(
            hidden=(256, 256, 128), activation="relu", layer_norm=False, init="orthogonal"
        ),
        num_envs=64,
        rollout="episodes",
        rollout_steps=1,
        gamma=0.98,
        critic_epochs=5,
        minibatches=4,
        critic_lr=3e-4,
        adam_epsilon=1e-8,
        std="log",
        log_std_init=math.log(0.06),
        huber_delta=None,
    )
}
"""Rates, passes and lambda are those of UniDexGrasp++'s released code; the deviation of 0.06 is one
that PPO may start from without losing what was imitated."""


def preset(agent: str, task: Task | None) -> StudentConfig:
    """Return the settings of a student, the same on every task.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in PRESETS:
        raise UnknownName("student", agent, PRESETS)
    return PRESETS[agent]
