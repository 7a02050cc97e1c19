"""Settings of geometry, and the learner that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pkubench.agents.components import changed, tuned_for
from pkubench.agents.learner import Context, Learner
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError, MissingExtra, UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryConfig:
    """An autoencoder, and what is made of its codes; the defaults are the published ones."""

    code: int = 64
    """Length of a code."""
    points: int = 1024
    """Points of a cloud, and of its reconstruction."""
    point_hidden: tuple[int, ...] = (64, 128, 128, 256)
    """Widths of the encoder's layers, shared by all points."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the decoder's layers."""
    batch: int = 32
    """Clouds in a gradient step."""
    lr: float = 5e-4
    """Learning rate of Adam, which falls along half a cosine to 1e-7."""
    weight_decay: float = 1e-5
    """Of Adam (in the gradient)."""
    gradient_steps: int = 20_000
    """Of the autoencoder, unless a budget is given."""
    clusters: int = 20
    """Groups that tasks are cut into."""
    levels: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Clusters of each level of the curriculum but the last, which has all tasks."""
    yaws: int = 4
    """Rotations about the vertical that the code of a task is the mean over."""
    threads: int = 1
    """Threads of torch."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=(
                *("code", "points", "batch", "gradient_steps", "clusters", "yaws", "threads"),
            ),
            positive=("lr",),
            not_negative=("weight_decay",),
        )
        if min((1, *self.point_hidden, *self.hidden)) < 1:
            raise ConfigError("point_hidden and hidden must be lists of layer sizes")


DEFAULT = GeometryConfig()
TUNED: Mapping[str, Mapping[str, Any]] = {
    "GraspSmall": {
        "points": 256,
        "point_hidden": (32, 64, 128),
        "gradient_steps": 3000,
        "clusters": 4,
        "levels": (1, 4),
    },
}
"""Prefix of a task's name -> settings that replace the published ones, sized for a CPU."""


def preset(agent: str, task: Task | None) -> GeometryConfig:
    """Return the settings on a task.

    Raises:
        UnknownName: no such preset.
    """
    if agent != "task-geometry":
        raise UnknownName("agent", agent, ("task-geometry",))
    if task is None:
        return DEFAULT
    found: GeometryConfig = changed(DEFAULT, tuned_for(TUNED, task.id))
    return found


def make_learner(context: Context) -> Learner:
    """Make one training run; torch is imported here, not before.

    Raises:
        MissingExtra: torch or MuJoCo is not installed.
        ConfigError: the task has no objects to grasp.
    """
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
    from pkubench.agents.families.task_geometry.training import GeometryTraining

    return GeometryTraining(context)
