"""A robot among things as simulations: where they are put, how they are driven, what they measure.

``Navigation`` adds what makes it a task: observations, rewards, costs, goals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from pkubench.envs.core.batch import BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.mujoco.batch import MujocoBatch
from pkubench.envs.safety.robots import Robot
from pkubench.envs.safety.scene import Group, compile_scene

PHYSICS_STEPS = 10
TRAVEL_M = 0.35
"""Radius of the circles of driven things."""
_DRIVEN_STATE = int(mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_MOCAP_POS)
_NO_SENSORS = int(mujoco.mjtDisableBit.mjDSBL_SENSOR)


class SceneBatch(MujocoBatch):
    """The simulations of a robot and the groups of things round it.

    Attributes:
        robot: the robot.
        groups: the things, in the order they are placed and sensed in.
        places: where the robot (first) and the things were put, (num_envs, things, 2) in m; those
            that move are brought up to date when a goal is renewed.
        yaws: how they were turned, (num_envs, things) in rad.
    """

    floor_m: ClassVar[float] = 3.5
    """Half the length of the floor's sides."""

    def __init__(
        self,
        robot: Robot,
        groups: Sequence[Group],
        num_envs: int,
        max_episode_steps: int | None,
        num_threads: int,
    ) -> None:
        """Compile the scene and make the simulations.

        Args:
            robot: the robot.
            groups: the things round it.
            num_envs: number of environments.
            max_episode_steps: as in ``BatchEnv``.
            num_threads: as in ``MujocoBatch``.
        """
        self.robot = robot
        self.groups = tuple(groups)
        model: Any = compile_scene(robot, self.groups, self.floor_m)
        super().__init__(model, PHYSICS_STEPS, num_envs, max_episode_steps, num_threads)
        self._flags = self.expand("opt.disableflags")
        self._bind_bodies()
        count = 1 + sum(len(group.names) for group in self.groups)
        self.places: FloatArray = np.zeros((num_envs, count, 2))
        self.yaws: FloatArray = np.zeros((num_envs, count))

    def _bind_bodies(self) -> None:
        """Find the things in the model and among the places."""
        model = self.model
        self._xpos: FloatArray = self.bind("xpos")
        self._xmat: FloatArray = self.bind("xmat").reshape(self.num_envs, model.nbody, 3, 3)
        self._sensors: FloatArray = self.bind("sensordata")
        self._agent = model.body("agent").id
        self._spots: dict[str, slice] = {}
        self._bodies: dict[str, IntArray] = {}
        self._contacts: dict[str, slice] = {}
        self._qpos_at: dict[str, IntArray] = {}
        solid = [group for group in self.groups if group.kind != "mark"]
        first, sensor = 1, model.nsensordata - sum(len(group.names) for group in solid)
        self._touch_start = sensor
        for group in self.groups:
            self._spots[group.name] = slice(first, first + len(group.names))
            first += len(group.names)
        for group in solid:
            end = "obj" if group.kind == "driven" else ""
            bodies = np.array([model.body(f"{name}{end}").id for name in group.names])
            self._bodies[group.name] = bodies
            self._contacts[group.name] = slice(sensor, sensor + len(bodies))
            sensor += len(bodies)
            if group.kind != "static":
                self._qpos_at[group.name] = model.jnt_qposadr[model.body_jntadr[bodies]]
        driven = [group for group in solid if group.kind == "driven"]
        self._driven = driven[0] if driven else None
        if self._driven is not None:
            # Relative pose of each weld: the body is held where it started.
            self._welds = self.expand("eq_data")
            self._time: FloatArray = self.bind("time")
        first_angle = self._touch_start - len(self.robot.hinges)
        if self.robot.ball is not None:
            first_angle -= 4
        self._plain = np.setdiff1d(np.arange(first_angle), self.robot.unseen)
        self._angles = slice(first_angle, first_angle + len(self.robot.hinges))
        self._postures = [
            (int(model.joint(name).qposadr[0]), angle) for name, angle in self.robot.posture
        ]
        if not self.robot.is_free or any(group.kind == "static" for group in solid):
            self._body_pos = self.expand("body_pos")
            self._body_quat = self.expand("body_quat")

    def _put(self, ids: IntArray, qpos: FloatArray) -> None:
        """Write robot and things of environments ``ids`` to ``qpos``, (len(ids), nq), and model."""
        places, yaws = self.places[ids], self.yaws[ids]
        quats = np.zeros((*yaws.shape, 4))
        quats[..., 0], quats[..., 3] = np.cos(yaws / 2), np.sin(yaws / 2)
        if self.robot.is_free:
            qpos[:, :2], qpos[:, 3:7] = places[:, 0], quats[:, 0]
        else:
            self._body_pos[ids, self._agent, :2] = places[:, 0]
            self._body_quat[ids, self._agent] = quats[:, 0]
        for group in self.groups:
            spot = self._spots[group.name]
            if group.kind == "static":
                self._body_pos[ids[:, None], self._bodies[group.name], :2] = places[:, spot]
                self._body_quat[ids[:, None], self._bodies[group.name]] = quats[:, spot]
            elif group.kind in ("free", "driven"):
                for number, start in enumerate(self._qpos_at[group.name].tolist()):
                    qpos[:, start : start + 2] = places[:, spot.start + number]
                    qpos[:, start + 3 : start + 7] = quats[:, spot.start + number]
            if group.kind == "driven":
                self._welds[ids, :, 3:5] = places[:, spot]
                self._welds[ids, :, 5] = group.height_m
                self._welds[ids, :, 6:10] = quats[:, spot]

    def _run(self, ids: IntArray | None) -> None:
        # What the sensors say matters only at the end of the step.
        self._flags |= _NO_SENSORS
        try:
            if self._driven is None:
                super()._run(ids)
            else:
                self._drive(self._driven, self._all if ids is None else ids)
        finally:
            self._flags &= ~_NO_SENSORS
            self.batch.forward(ids)

    def _drive(self, group: Group, ids: IntArray) -> None:
        """Take the physics steps, moving what pulls the driven things before each of them."""
        control = np.empty((len(ids), self.frame_skip, self.model.nu + 3 * self.model.nmocap))
        control[:, :, : self.model.nu] = self.ctrl[ids, None]
        time = self._time[ids]
        for step in range(self.frame_skip):
            pull = control[:, step, self.model.nu :].reshape(len(ids), -1, 3)
            pull[..., 0] = (np.sin(time) * TRAVEL_M)[:, None]
            pull[..., 1] = (np.cos(time) * TRAVEL_M)[:, None]
            pull[..., 2] = group.height_m
            time += self.model.opt.timestep
        self.batch.rollout(self.frame_skip, control, _DRIVEN_STATE, (), ids)

    def _refresh(self, index: int) -> None:
        """Bring the places of what has moved up to date."""
        self.places[index, 0] = self._xpos[index, self._agent, :2]
        for group in self.groups:
            if group.kind == "free":
                bodies = self._bodies[group.name]
                self.places[index, self._spots[group.name]] = self._xpos[index, bodies, :2]

    def _seen_places(self, group: Group) -> FloatArray:
        """Return where the things of a group are now, (num_envs, count, 2) in m."""
        if group.kind in ("free", "driven"):
            return self._xpos[:, self._bodies[group.name], :2]
        return self.places[:, self._spots[group.name]]

    def _origins(self, index: int) -> FloatArray:
        """Return the places of an environment's things; a sliding robot's is where it started."""
        places: FloatArray = self.places[index].copy()
        if not self.robot.is_free:
            places[0] = self._body_pos[index, self._agent, :2]
        return places

    # What tasks measure

    def _robot_xy(self) -> FloatArray:
        place: FloatArray = self._xpos[:, self._agent, :2]
        return place

    def _robot_velocity(self) -> FloatArray:
        """Return the horizontal velocity of the robot's centre, (num_envs, 2) in m/s."""
        if self.robot.is_free:
            return self.qvel[:, :2]
        # The axes it slides along are turned by the yaw it started with.
        cos, sin = np.cos(self.yaws[:, 0]), np.sin(self.yaws[:, 0])
        along, across = self.qvel[:, 0], self.qvel[:, 1]
        return np.stack((cos * along - sin * across, sin * along + cos * across), axis=1)

    def _touched(self, name: str) -> FloatArray:
        """Return the number of contacts of the robot with each thing of a group, (n, count)."""
        touched: FloatArray = self._sensors[:, self._contacts[name]]
        return touched

    def _speeds(self, name: str) -> FloatArray:
        """Return the speeds of a group's free things, (num_envs, count) in m/s."""
        starts = self.model.body_dofadr[self._bodies[name]]
        velocity = self.qvel[:, starts[:, None] + np.arange(3)]
        speeds: FloatArray = np.sqrt(np.square(velocity).sum(axis=2))
        return speeds

    def _touches(self, name: str) -> BoolArray:
        """Return whether the robot touches any thing of a group, (num_envs,)."""
        touches: BoolArray = np.logical_or.reduce(self._touched(name) > 0, axis=1)
        return touches

    def _distance_to_goal(self) -> FloatArray:
        """Return the horizontal distance to the thing called goal, (num_envs,) in m."""
        offset = self.places[:, self._spots["goal"].start] - self._robot_xy()
        distance: FloatArray = np.sqrt(offset[:, 0] ** 2 + offset[:, 1] ** 2)
        return distance

    def _is_within(self, name: str, radius: float) -> BoolArray:
        """Return whether the robot's centre is above one of a group's discs, (num_envs,)."""
        offset = self.places[:, self._spots[name]] - self._robot_xy()[:, None]
        distance = np.sqrt(offset[..., 0] ** 2 + offset[..., 1] ** 2)
        # On the very rim the original's cost is 0.
        within: BoolArray = np.logical_or.reduce(distance < radius, axis=1)
        return within
