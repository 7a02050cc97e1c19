"""Gymnasium's six running robots: model, weights of the reward, initial states, when one falls.

One class a robot, used by the single-robot tasks (``envs/safety/velocity.py``) and by the teams
(``envs/multi_mujoco/robots.py``). The numbers are those of ``gymnasium.envs.mujoco``, v4 and v5
alike; where the versions differ, the class here is v5.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from pkubench.envs.core.batch import BoolArray, FloatArray
from pkubench.envs.mujoco.locomotion import Runner


class HalfCheetah(Runner):
    """A flat two-legged cheetah. It cannot fall."""

    robot: ClassVar[str] = "HalfCheetah"
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}
    model_file: ClassVar[str] = "half_cheetah.xml"
    physics_steps: ClassVar[int] = 5
    control_weight: ClassVar[float] = 0.1
    reset_noise: ClassVar[float] = 0.1
    normal_velocity: ClassVar[bool] = True


class Hopper(Runner):
    """A flat one-legged robot; it falls when it is low, tilted or torn apart."""

    robot: ClassVar[str] = "Hopper"
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 125}
    model_file: ClassVar[str] = "hopper.xml"
    physics_steps: ClassVar[int] = 4
    control_weight: ClassVar[float] = 1e-3
    healthy_reward: ClassVar[float | None] = 1.0
    reset_noise: ClassVar[float] = 5e-3
    velocity_clip: ClassVar[float | None] = 10.0

    def _healthy(self) -> BoolArray:
        height, angle = self.qpos[:, 1], self.qpos[:, 2]
        bounded = np.abs(self.motion[:, 2:]).max(axis=1) < 100.0
        healthy: BoolArray = bounded & (height > 0.7) & (np.abs(angle) < 0.2)
        return healthy


class Walker2d(Runner):
    """A flat two-legged robot; it falls when it is low, high or tilted."""

    robot: ClassVar[str] = "Walker2d"
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 125}
    model_file: ClassVar[str] = "walker2d_v5.xml"
    physics_steps: ClassVar[int] = 4
    control_weight: ClassVar[float] = 1e-3
    healthy_reward: ClassVar[float | None] = 1.0
    reset_noise: ClassVar[float] = 5e-3
    velocity_clip: ClassVar[float | None] = 10.0

    def _healthy(self) -> BoolArray:
        height, angle = self.qpos[:, 1], self.qpos[:, 2]
        healthy: BoolArray = (height > 0.8) & (height < 2.0) & (np.abs(angle) < 1.0)
        return healthy


class Swimmer(Runner):
    """Three links in a viscous fluid, moving in the plane. It cannot fall."""

    robot: ClassVar[str] = "Swimmer"
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 25}
    model_file: ClassVar[str] = "swimmer.xml"
    physics_steps: ClassVar[int] = 4
    control_weight: ClassVar[float] = 1e-4
    reset_noise: ClassVar[float] = 0.1
    hidden_positions: ClassVar[int] = 2


class Ant(Runner):
    """A four-legged robot in space; it falls when its torso is low or high."""

    robot: ClassVar[str] = "Ant"
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}
    model_file: ClassVar[str] = "ant.xml"
    physics_steps: ClassVar[int] = 5
    control_weight: ClassVar[float] = 0.5
    healthy_reward: ClassVar[float | None] = 1.0
    reset_noise: ClassVar[float] = 0.1
    normal_velocity: ClassVar[bool] = True
    hidden_positions: ClassVar[int] = 2

    def _prepare(self) -> None:
        super()._prepare()
        self._torso = self.bind("xpos")[:, self.model.body("torso").id, :2]

    def _position(self) -> FloatArray:
        # Not qpos: the original reads the body, which lags behind by up to a physics step.
        return self._torso.copy()

    def _healthy(self) -> BoolArray:
        height = self.qpos[:, 2]
        finite = np.all(np.isfinite(self.motion), axis=1)
        healthy: BoolArray = finite & (height >= 0.2) & (height <= 1.0)
        return healthy


class Humanoid(Runner):
    """A humanoid in space; it falls when its torso is low or high."""

    robot: ClassVar[str] = "Humanoid"
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 67}
    model_file: ClassVar[str] = "humanoid.xml"
    physics_steps: ClassVar[int] = 5
    forward_weight: ClassVar[float] = 1.25
    control_weight: ClassVar[float] = 0.1
    healthy_reward: ClassVar[float | None] = 5.0
    reset_noise: ClassVar[float] = 1e-2
    hidden_positions: ClassVar[int] = 2

    def _prepare(self) -> None:
        super()._prepare()
        self._centres = self.bind("xipos")
        self._derived = {name: self.bind(name) for name in ("cinert", "cvel", "qfrc_actuator")}
        self._mass = np.array(self.model.body_mass)

    def _position(self) -> FloatArray:
        moments = np.einsum("b,nbj->nj", self._mass, self._centres[:, :, :2])
        centre: FloatArray = moments / self._mass.sum()
        return centre

    def _healthy(self) -> BoolArray:
        height = self.qpos[:, 2]
        healthy: BoolArray = (height > 1.0) & (height < 2.0)
        return healthy

    def _derived_quantities(self) -> dict[str, FloatArray]:
        """Return what MuJoCo derives from the motion: name -> (num_envs, bodies or joints * k)."""
        return {name: field.reshape(self.num_envs, -1) for name, field in self._derived.items()}
