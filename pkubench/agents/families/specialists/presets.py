"""The settings of specialists, and the learner that they are for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pkubench.agents.learner import Context, Learner
from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.update_rules.ppo_clip import PPOClip
from pkubench.errors import ConfigError, MissingExtra, UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialistsConfig(OnPolicyConfig):
    """PPO of each specialist, and how tasks are divided among them."""

    partition: Literal["geometry", "random", "category"] = "geometry"
    """``geometry``: clusters of the autoencoder's codes; ``random``: groups of the same sizes, as
    in generalist-specialist learning (Jia et al. 2022); ``category``: families stay whole."""
    partition_seed: int | None = None
    """Of the random partition; null: the training seed."""

    def __post_init__(self) -> None:
        """Check the domains."""
        OnPolicyConfig.__post_init__(self)
        if self.observation_norm or self.is_recurrent:
            raise ConfigError(
                "specialists begin as a generalist without memory or moments of observations: "
                "leave observation_norm and memory as they are"
            )


PRESETS = {
    "grasp-specialists": SpecialistsConfig(
        update=PPOClip(actor_lr=5e-5, entropy=0.0, epochs=5),
        encoder=MLPEncoder(
            hidden=(256, 256, 128), activation="relu", layer_norm=False, init="orthogonal"
        ),
        num_envs=128,
        rollout_steps=32,
        gamma=0.98,
        critic_epochs=5,
        minibatches=4,
        critic_lr=3e-4,
        adam_epsilon=1e-8,
        max_grad_norm=1.0,
        std="log",
        log_std_init=math.log(0.06),
        huber_delta=None,
    )
}
"""As the pipelines' PPO: a deviation of 0.06 and a discount of 0.98 keep what was imitated."""


def preset(agent: str, task: Task | None) -> SpecialistsConfig:
    """Return the settings, the same on every task.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in PRESETS:
        raise UnknownName("specialists", agent, PRESETS)
    return PRESETS[agent]


def make_learner(context: Context) -> Learner:
    """Make one training run; torch is imported here, not before.

    Raises:
        MissingExtra: torch or MuJoCo is not installed.
        ConfigError: the settings do not fit the task.
    """
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
    from pkubench.agents.families.specialists.training import SpecialistsTraining

    return SpecialistsTraining(context)
