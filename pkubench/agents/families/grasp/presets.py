"""Settings of the pipelines, and how a budget of steps is divided among their stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pkubench.agents.components import changed, tuned_for
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """What the stages are, and the settings that they share."""

    curriculum: Literal["geometry", "category", "none"] = "geometry"
    """Which tasks the first generalist meets first: those in the middle of the codes of clouds,
    one family (UniDexGrasp), or all at once."""
    partition: Literal["geometry", "category", "random"] = "geometry"
    """How tasks are divided among specialists."""
    warm_start: Literal["demonstration", "none"] = "demonstration"
    """Whether the generalist begins as a clone of edited demonstrations, or from scratch."""
    rounds: int = 1
    """Times that specialists are trained and distilled (n_S)."""

    clusters: int | None = None
    """Groups of tasks; null: as ``task-geometry`` has them for the task."""
    geometry_steps: int | None = None
    """Gradient steps of the autoencoder; null: as ``task-geometry`` has them for the task."""

    demonstration: float = 0.16
    """Share of the steps for edits of the demonstration; 0: only the search for it."""
    clone: float = 0.03
    """Share for the clone of what edits do."""
    generalist: float = 0.44
    """Share for PPO of the generalist, curriculum included."""
    level: float = 0.1
    """Share of the generalist's own steps for each level of the curriculum but the last."""
    specialists: float = 0.31
    """Share for PPO of all specialists of a round together."""
    distillation: float = 0.06
    """Share for the distillation of a round."""
    vision: float = 0.03
    """Share for a student that sees a cloud, on tasks that show one."""

    hidden: tuple[int, ...] = (256, 256, 128)
    """Hidden layers of actors and critics."""
    num_envs: int = 128
    """Environments of PPO."""
    rollout_steps: int = 32
    """Steps of each between updates."""
    gamma: float = 0.98
    """Discount per step."""
    actor_lr: float = 5e-5
    """Learning rate of PPO's actor."""
    critic_warmup: int = 10
    """Updates of critics alone, of PPO that begins with a clone, whose critic has seen little."""
    sigma: float = 0.06
    """Standard deviation of actions at the start of each stage."""
    student_envs: int = 64
    """Environments of a distillation."""
    student_updates: int = 300
    """Gradient steps of the actor between its rollouts."""
    vision_envs: int = 32
    """Environments of the student that sees."""
    vision_updates: int = 80
    """Gradient steps of its actor between its rollouts."""
    point_hidden: tuple[int, ...] = (32, 64, 128)
    """Layers of its encoder that all points share."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=(
                *("num_envs", "rollout_steps", "student_envs", "student_updates"),
                *("vision_envs", "vision_updates"),
            ),
            shares=("gamma", "demonstration", "level"),
            positive=(
                *("clone", "generalist", "specialists", "distillation", "vision"),
                *("actor_lr", "sigma"),
            ),
        )
        for name in ("rounds", "critic_warmup"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("clusters", "geometry_steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"hidden must be a list of layer sizes, got {self.hidden}")

    def shares(self, has_vision: bool) -> dict[str, float]:
        """Return the share of each kind of stage in a budget; they add up to 1."""
        has_demonstration = self.warm_start == "demonstration"
        found = {
            "demonstration": has_demonstration * self.demonstration,
            "clone": has_demonstration * self.clone,
            "generalist": self.generalist,
            "specialists": self.rounds * self.specialists,
            "distillation": self.rounds * self.distillation,
            "vision": has_vision * self.vision,
        }
        return {name: share / sum(found.values()) for name, share in found.items()}

    def policy(self) -> dict[str, Any]:
        """Return the settings of PPO, of generalist and specialists."""
        return {
            **self.network(),
            "num_envs": self.num_envs,
            "rollout_steps": self.rollout_steps,
            "actor_lr": self.actor_lr,
        }

    def network(self) -> dict[str, Any]:
        """Return the settings that every stage with a policy shares."""
        return {
            "hidden": list(self.hidden),
            "gamma": self.gamma,
            "log_std_init": math.log(self.sigma),
        }


OF_PPO: Mapping[str, Any] = {
    "activation": "relu",
    "init": "orthogonal",
    "layer_norm": False,
    "observation_norm": False,
    "action_map": "clip",
    "value_norm": True,
    "value_clip": 0.2,
    "critic_l2": 0.0,
    "minibatches": 4,
    "epochs": 5,
    "critic_epochs": 5,
    "critic_lr": 3e-4,
    "lr_decay": False,
    "target_kl": None,
    "max_grad_norm": 1.0,
}
"""How PPO differs from the preset of robots, so that it may start from a student's networks."""

PRESETS = {
    "unidexgrasp": PipelineConfig(),
    "unidexgrasp-category": PipelineConfig(curriculum="category", partition="category"),
    "gsl": PipelineConfig(curriculum="none", partition="random"),
}
_FULL: Mapping[str, Any] = {
    "rounds": 2,
    "hidden": (1024, 1024, 512, 512),
    "num_envs": 1000,
    "rollout_steps": 8,
    "point_hidden": (128, 256),
}
_ONE_OBJECT: Mapping[str, Any] = {
    "curriculum": "none",
    "rounds": 0,
    "demonstration": 0.0,
    "clone": 0.15,
    "generalist": 0.85,
    "student_envs": 32,
    "student_updates": 600,
}
TUNED: Mapping[str, Mapping[str, Any]] = {
    "GraspSphere": _ONE_OBJECT,
    "GraspFull": _FULL,
}
"""Prefix of a task's name -> settings that replace a preset's. The ball has no geometry to divide;
networks, rounds and copies of the 3,200 objects are the paper's, as far as they are published."""


def preset(agent: str, task: Task | None) -> PipelineConfig:
    """Return the settings of a pipeline on a task.

    Raises:
        UnknownName: no such pipeline.
    """
    if agent not in PRESETS:
        raise UnknownName("pipeline of grasping", agent, PRESETS)
    if task is None:
        return PRESETS[agent]
    found: PipelineConfig = changed(PRESETS[agent], tuned_for(TUNED, task.id))
    return found
