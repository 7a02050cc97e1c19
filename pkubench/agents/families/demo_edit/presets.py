"""The settings of each agent on a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.components import changed, tuned_for
from pkubench.agents.families.demo_edit.config import (
    DemonstrationConfig,
    PolicyGradientConfig,
    RegressionConfig,
)
from pkubench.agents.learner import Context, Learner
from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.rl.update_rules.ppo_clip import PPOClip
from pkubench.errors import MissingExtra, UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

PRESETS: dict[str, DemonstrationConfig] = {
    "demograsp": RegressionConfig(),
    "demograsp-paper": PolicyGradientConfig(
        update=PPOClip(clip=0.2, entropy=0.0, epochs=5, actor_lr=3e-4),
        encoder=MLPEncoder(
            hidden=(1024, 1024, 512, 512), activation="relu", layer_norm=False, init="orthogonal"
        ),
        num_envs=7000,
        rollout_steps=1,
        critic_epochs=5,
        minibatches=4,
        critic_lr=3e-4,
        adam_epsilon=1e-8,
        max_grad_norm=1.0,
        std="log",
        log_std_init=-0.223,
        value_norm=False,
        value_clip=0.2,
        huber_delta=None,
        window=7000,
    ),
}
"""``-paper``: section 4 of DemoGrasp and its released settings, without the rate that adapts to the
divergence and with ReLU for ELU; the input is ``shapes`` instead of a PointNet's features."""
TUNED: dict[str, dict[str, dict[str, object]]] = {
    "GraspFull": {"demograsp": {"objects": 240, "num_envs": 240}},
}


def preset(agent: str, task: Task | None) -> DemonstrationConfig:
    """Return the settings of ``agent`` on ``task``; without one, before a task changes them.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in PRESETS:
        raise UnknownName("agent that edits a demonstration", agent, PRESETS)
    if task is None:
        return PRESETS[agent]
    changes = tuned_for({start: of.get(agent, {}) for start, of in TUNED.items()}, task.id)
    return changed(PRESETS[agent], changes)


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
    from pkubench.agents.families.demo_edit.policy_gradient import PolicyGradientTraining
    from pkubench.agents.families.demo_edit.regression import RegressionTraining

    if isinstance(context.settings, PolicyGradientConfig):
        return PolicyGradientTraining(context)
    return RegressionTraining(context)
