"""The registered grasping environments: which objects there are."""

from __future__ import annotations

from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.hands import SHADOW, Hand
from pkubench.envs.grasp.items import Ball
from pkubench.errors import ConfigError


class GraspSphere(GraspBatch):
    """A floating hand grasps a ball on a table: the smallest grasping task.

    The ball has a radius of 5 cm and a density of 500 kg/m³ (0.26 kg). `lift_relative` is on. A
    further setting is `radius` (m).

    >>> import gymnasium, pkubench
    >>> env = gymnasium.make("pkubench/GraspSphere-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape, bool(info["success_any"])
    ((300,), False)

    Versions: v0 first release.
    """

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        *,
        radius: float = 0.05,
        lift_relative: bool = True,
        hand: str | Hand = SHADOW,
        friction: float = 1.0,
    ) -> None:
        """Make the environments; see ``GraspBatch``.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the 200 steps of the paper, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
            radius: of the ball, in m.
            lift_relative: measure goal and lift from where the ball rests.
            hand: "shadow", the path of an MJCF file, or a ``Hand``.
            friction: of hand, ball and table.

        Raises:
            ConfigError: a number that is out of range, or a hand that cannot be read.
        """
        if not 0.0 < radius <= 0.2:
            raise ConfigError(f"radius must lie in (0, 0.2] m, got {radius}")
        super().__init__(
            [Ball(radius)],
            num_envs,
            max_episode_steps,
            num_threads,
            lift_relative=lift_relative,
            hand=hand,
            friction=friction,
        )
