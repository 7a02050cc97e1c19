"""Run, but not too fast: six robots whose forward speed is limited.

The worlds are Gymnasium's v4 MuJoCo tasks (same model files, rewards, ends and initial states;
the same bits for the same seed and actions) with the speed limits of Safety-Gymnasium's Velocity
tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np
import numpy.typing as npt

from pkubench.envs.batch import Array, BoolArray, FloatArray
from pkubench.envs.safety.locomotion import Locomotion
from pkubench.envs.seeding import IntArray


class HalfCheetahVelocity(Locomotion):
    """A flat two-legged cheetah runs forward under a speed limit."""

    model_file: ClassVar[str] = "half_cheetah.xml"
    physics_steps: ClassVar[int] = 5
    thresholds: ClassVar[Mapping[str, float]] = {"v0": 2.8795, "v1": 3.2096}
    control_weight: ClassVar[float] = 0.1
    reset_noise: ClassVar[float] = 0.1
    normal_velocity: ClassVar[bool] = True

    def _position(self) -> FloatArray:
        return self.qpos[:, :1].copy()


class HopperVelocity(Locomotion):
    """A one-legged robot hops forward under a speed limit and must not fall."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 125}
    model_file: ClassVar[str] = "hopper.xml"
    physics_steps: ClassVar[int] = 4
    thresholds: ClassVar[Mapping[str, float]] = {"v0": 0.37315, "v1": 0.7402}
    control_weight: ClassVar[float] = 1e-3
    healthy_reward: ClassVar[float | None] = 1.0
    reset_noise: ClassVar[float] = 5e-3
    velocity_clip: ClassVar[float | None] = 10.0

    def _position(self) -> FloatArray:
        return self.qpos[:, :1].copy()

    def _healthy(self) -> BoolArray:
        height, angle = self.qpos[:, 1], self.qpos[:, 2]
        moderate: BoolArray = (np.abs(self.motion[:, 2:]) < 100.0).all(axis=1)
        upright: BoolArray = (height > 0.7) & (np.abs(angle) < 0.2)
        return moderate & upright


class Walker2dVelocity(Locomotion):
    """A flat two-legged robot walks forward under a speed limit and must not fall."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 125}
    model_file: ClassVar[str] = "walker2d.xml"
    physics_steps: ClassVar[int] = 4
    thresholds: ClassVar[Mapping[str, float]] = {"v0": 1.7075, "v1": 2.3415}
    control_weight: ClassVar[float] = 1e-3
    healthy_reward: ClassVar[float | None] = 1.0
    reset_noise: ClassVar[float] = 5e-3
    velocity_clip: ClassVar[float | None] = 10.0

    def _position(self) -> FloatArray:
        return self.qpos[:, :1].copy()

    def _healthy(self) -> BoolArray:
        height, angle = self.qpos[:, 1], self.qpos[:, 2]
        healthy: BoolArray = (height > 0.8) & (height < 2.0) & (np.abs(angle) < 1.0)
        return healthy


class SwimmerVelocity(Locomotion):
    """A three-link swimmer in a viscous fluid, under a speed limit."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 25}
    model_file: ClassVar[str] = "swimmer.xml"
    physics_steps: ClassVar[int] = 4
    thresholds: ClassVar[Mapping[str, float]] = {"v0": 0.04845, "v1": 0.2282}
    planar_speed: ClassVar[frozenset[str]] = frozenset({"v0"})
    control_weight: ClassVar[float] = 1e-4
    reset_noise: ClassVar[float] = 0.1
    hidden_positions: ClassVar[int] = 2

    def _position(self) -> FloatArray:
        return self.qpos[:, :2].copy()


class AntVelocity(Locomotion):
    """A four-legged robot walks in the plane under a speed limit and must not turn over."""

    model_file: ClassVar[str] = "ant.xml"
    physics_steps: ClassVar[int] = 5
    thresholds: ClassVar[Mapping[str, float]] = {"v0": 2.5745, "v1": 2.6222}
    planar_speed: ClassVar[frozenset[str]] = frozenset({"v0", "v1"})
    control_weight: ClassVar[float] = 0.5
    healthy_reward: ClassVar[float | None] = 1.0
    reset_noise: ClassVar[float] = 0.1
    normal_velocity: ClassVar[bool] = True
    hidden_positions: ClassVar[int] = 2

    def _prepare(self) -> None:
        self._torso = self.bind("xpos")[:, self.model.body("torso").id, :2]

    def _position(self) -> FloatArray:
        # Not qpos: v4 reads the body, which lags behind by up to a physics step.
        return self._torso.copy()

    def _healthy(self) -> BoolArray:
        height = self.qpos[:, 2]
        finite: BoolArray = np.isfinite(self.motion).all(axis=1)
        upright: BoolArray = (height >= 0.2) & (height <= 1.0)
        return finite & upright


class HumanoidVelocity(Locomotion):
    """A humanoid walks in the plane under a speed limit and must not fall."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 67}
    model_file: ClassVar[str] = "humanoid.xml"
    physics_steps: ClassVar[int] = 5
    thresholds: ClassVar[Mapping[str, float]] = {"v0": 2.3475, "v1": 1.4149}
    planar_speed: ClassVar[frozenset[str]] = frozenset({"v0", "v1"})
    forward_weight: ClassVar[float] = 1.25
    control_weight: ClassVar[float] = 0.1
    healthy_reward: ClassVar[float | None] = 5.0
    reset_noise: ClassVar[float] = 1e-2
    hidden_positions: ClassVar[int] = 2
    # Contact forces are computed from the contacts a step leaves in its MjData.
    keeps_data: ClassVar[bool] = True

    def _prepare(self) -> None:
        self._centres = self.bind("xipos")
        self._derived = [self.bind(name) for name in ("cinert", "cvel", "qfrc_actuator")]
        self._contact_forces: FloatArray = np.zeros((self.num_envs, self.model.nbody * 6))
        self._scratch = mujoco.MjData(self.model)
        self._mass = np.array(self.model.body_mass)

    def _place(self, ids: IntArray, qpos: FloatArray, qvel: FloatArray) -> None:
        super()._place(ids, qpos, qvel)
        self._contact_forces[ids] = 0.0

    def _advance(self, ctrl: Array, active: BoolArray | None) -> IntArray:
        lanes = super()._advance(ctrl, active)
        for lane in lanes.tolist():
            self.batch.get_data(lane, self._scratch)
            mujoco.mj_rnePostConstraint(self.model, self._scratch)
            self._contact_forces[lane] = self._scratch.cfrc_ext.ravel()
        return lanes

    def _observation(self) -> FloatArray:
        derived = [field.reshape(self.num_envs, -1) for field in self._derived]
        return np.concatenate([super()._observation(), *derived, self._contact_forces], axis=1)

    def _position(self) -> FloatArray:
        moments = np.einsum("b,nbj->nj", self._mass, self._centres[:, :, :2])
        centre: FloatArray = moments / self._mass.sum()
        return centre

    def _control_cost(self, action: npt.NDArray[np.float32]) -> Array:
        # v4 reads the controls back from MuJoCo here, in double precision.
        cost: Array = self.control_weight * np.square(self.ctrl).sum(axis=1)
        return cost

    def _healthy(self) -> BoolArray:
        height = self.qpos[:, 2]
        healthy: BoolArray = (height > 1.0) & (height < 2.0)
        return healthy
