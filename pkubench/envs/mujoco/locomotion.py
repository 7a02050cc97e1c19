"""Robots that are paid for running forward: the physics their single and team tasks share.

Gymnasium has several versions of each robot's task, which differ in what they reward and observe
and not in the robot. What is the same is here and in ``robots.py``; the rules of v4 are in
``envs/safety/locomotion.py``, those of v5 in ``envs/multi_mujoco/robot.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import mujoco
import numpy as np

from pkubench.envs.core.batch import Array, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.mujoco.batch import MujocoBatch, gymnasium_model


class Runner(MujocoBatch):
    """A robot that is rewarded for its forward velocity.

    The class attributes are a robot's numbers; ``pkubench.envs.mujoco.robots`` has the robots.
    """

    default_horizon: ClassVar[int | None] = 1000

    robot: ClassVar[str]
    """Name of the robot, as in Gymnasium's ids."""
    model_file: ClassVar[str]
    """The model, one of Gymnasium's own files."""
    physics_steps: ClassVar[int]
    """Physics steps in one step of the environment."""
    forward_weight: ClassVar[float] = 1.0
    control_weight: ClassVar[float]
    healthy_reward: ClassVar[float | None] = None
    """Reward for being up, of robots whose episode ends when they fall; None for the others."""
    reset_noise: ClassVar[float]
    """Half-width of the uniform noise on the initial state (and see ``normal_velocity``)."""
    normal_velocity: ClassVar[bool] = False
    """Initial velocities are drawn from a normal distribution of this deviation instead."""
    hidden_positions: ClassVar[int] = 1
    """Leading positions, x or x and y, that are not observed: no policy knows how far it is."""
    velocity_clip: ClassVar[float | None] = None
    """Observed velocities are clipped to plus or minus this."""
    has_contact_forces: ClassVar[bool] = False
    """Whether the forces of contacts are computed in every step (``ContactForces``)."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        *,
        edit: Callable[[Any], None] | None = None,
    ) -> None:
        """Make the simulations.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the 1000 steps of the original, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
            edit: changes the model's ``MjSpec`` before it is compiled.

        Raises:
            ConfigError: a number that is not positive.
        """
        model = gymnasium_model(self.model_file, edit)
        # One robot is one island of constraints: not looking for more saves 2 to 6 % of the time
        # and changes no bit.
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
        super().__init__(
            model,
            self.physics_steps,
            num_envs,
            max_episode_steps,
            num_threads,
            persistent=self.has_contact_forces,
        )
        self._initial_qpos: FloatArray = np.array(self.model.qpos0)
        self._prepare()

    def _prepare(self) -> None:
        """Bind the derived fields a robot reads: MuJoCo fills them only from then on."""

    def _run_forward(self, ctrl: Array, active: BoolArray | None) -> tuple[FloatArray, FloatArray]:
        """Advance the simulations; return position and mean velocity, both (num_envs, 1 or 2).

        The velocity (m/s) is that of the step. Where a simulation broke down it is 0: MuJoCo put
        the robot elsewhere, which is no motion.
        """
        before = self._position()
        self._advance(ctrl, active)
        position = self._position()
        velocity: FloatArray = (position - before) / self.dt
        if self.failed.any():
            velocity[self.failed] = 0.0
        return position, velocity

    def _motion_info(self, position: FloatArray, velocity: FloatArray) -> Info:
        """Return the infos that a step and a reset share: positions (m) and velocities (m/s)."""
        info: Info = {"x_position": position[:, 0], "x_velocity": velocity[:, 0]}
        if velocity.shape[1] == 2:
            info["y_position"], info["y_velocity"] = position[:, 1], velocity[:, 1]
        info["simulation_failed"] = self.failed.copy()
        return info

    def _observed_motion(self) -> FloatArray:
        """Return a new array of positions and velocities as observed, (num_envs, size)."""
        motion: FloatArray = self.motion[:, self.hidden_positions :].copy()
        if self.velocity_clip is not None:
            velocity = motion[:, self.model.nq - self.hidden_positions :]
            np.clip(velocity, -self.velocity_clip, self.velocity_clip, out=velocity)
        return motion

    def _healthy(self) -> BoolArray:
        """Return whether each robot is still up, (num_envs,), of those that can fall."""
        return np.ones(self.num_envs, dtype=np.bool_)

    def _coordinates(self) -> FloatArray:
        """Return a copy of the root's x, or x and y, in m, (num_envs, 1 or 2)."""
        return self.qpos[:, : self.hidden_positions].copy()

    def _position(self) -> FloatArray:
        """Return a copy of what velocity is the difference of: x or x, y in m, (num_envs, 1 or 2).

        Each robot of Gymnasium measures its own: its coordinates, a body, the centre of mass.
        """
        return self._coordinates()


class ContactForces(Runner):
    """A robot with the forces of its contacts, which MuJoCo computes on request only.

    They are of the last evaluation within a step, which leaves its contacts nowhere but in the
    environment's own ``MjData``. They are 0 after a reset, as in Gymnasium.
    """

    has_contact_forces: ClassVar[bool] = True

    def _prepare(self) -> None:
        super()._prepare()
        self._contact_forces: FloatArray = np.zeros((self.num_envs, self.model.nbody * 6))
        self._contact_counts = self.bind("ncon")

    def _place(self, ids: IntArray, qpos: FloatArray, qvel: FloatArray) -> None:
        super()._place(ids, qpos, qvel)
        self._contact_forces[ids] = 0.0

    def _advance(self, ctrl: Array, active: BoolArray | None) -> IntArray:
        advanced = super()._advance(ctrl, active)
        self._contact_forces[advanced] = 0.0
        for index in advanced[self._contact_counts[advanced].ravel() > 0].tolist():
            data = self._data_of(index)
            mujoco.mj_rnePostConstraint(self.model, data)
            self._contact_forces[index] = data.cfrc_ext.ravel()
        return advanced
