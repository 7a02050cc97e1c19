"""What all navigation worlds share: layouts, physics, observation and costs, on batches.

The worlds are those of Safety-Gymnasium 1.0.0 (Ji et al., "Safety-Gymnasium: A Unified Safe
Reinforcement Learning Benchmark", NeurIPS 2023 Datasets and Benchmarks): the same models, the same
numbers drawn in the same order, the same rewards and costs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import spaces

from pkubench.envs.batch import SOLE_AGENT, Array, BoolArray, FloatArray, Info
from pkubench.envs.mujoco_batch import MujocoBatch
from pkubench.envs.safety.layouts import LayoutSampler, LegacyRandom, Placement, Point, Rectangle
from pkubench.envs.safety.lidar import BINS, pseudo_lidar
from pkubench.envs.safety.robots import ROBOTS
from pkubench.envs.safety.scene import Group, compile_scene
from pkubench.envs.seeding import IntArray
from pkubench.errors import UnknownName

_PHYSICS_STEPS = 10
_LARGEST_REWARD = 10.0
_REWARD_OF_FAILURE = -10.0
_ROBOT_CLEARANCE_M = 0.4
_NO_SENSORS = int(mujoco.mjtDisableBit.mjDSBL_SENSOR)


class Navigation(MujocoBatch):
    """A robot among things, some of which it must keep away from.

    A task gives ``levels``, ``_groups``, ``_reward`` and, where there is a goal to renew,
    ``_is_reached`` and ``_renew``.
    """

    default_horizon: ClassVar[int | None] = 1000
    camera_name: ClassVar[str] = "overview"

    levels: ClassVar[tuple[int, ...]] = (0, 1, 2)
    robot_clearance_m: ClassVar[float] = _ROBOT_CLEARANCE_M
    floor_m: ClassVar[float] = 3.5
    """Half the length of the floor's sides."""
    lidar_reach_m: ClassVar[float] = 3.0
    clips_reward: ClassVar[bool] = True
    """Whether rewards are kept within ±10."""
    draws_goal: ClassVar[bool] = False

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        robot: str = "Point",
        level: int = 0,
    ) -> None:
        """Make the lanes.

        Args:
            num_envs: number of lanes.
            max_episode_steps: time limit; -1 is the original's, None no limit.
            num_threads: threads that share the lanes; results do not depend on it.
            robot: "Point", "Car", "Doggo" or "Ant".
            level: difficulty, 0 to 2.

        Raises:
            UnknownName: no such robot or level.
            ConfigError: a number that is not positive.
        """
        if robot not in ROBOTS:
            raise UnknownName("robot", str(robot), ROBOTS)
        if level not in self.levels:
            raise UnknownName("level", str(level), [str(known) for known in self.levels])
        self.robot = ROBOTS[robot]
        self.robot_name = robot
        self.level = level
        self.groups = tuple(self._groups(level))
        model = compile_scene(self.robot, self.groups, self.floor_m)
        super().__init__(model, _PHYSICS_STEPS, num_envs, max_episode_steps, num_threads)
        self._flags = self.batch.expand("opt.disableflags")
        self._bind_bodies()
        self._sampler = LayoutSampler(self._placements(level))
        self._random = LegacyRandom(num_envs)
        count = 1 + sum(len(group.names) for group in self.groups)
        self.places: FloatArray = np.zeros((num_envs, count, 2))
        """Where the robot (first) and the things were put, (num_envs, things, 2) in m; those that
        move are brought up to date when a goal is renewed."""
        self.yaws: FloatArray = np.zeros((num_envs, count))
        """How they were turned, in rad."""
        self.reached: BoolArray = np.zeros(num_envs, dtype=np.bool_)

        control = self.model.actuator_ctrlrange.astype(np.float32)
        self._low, self._high = self.model.actuator_ctrlrange.T.copy()
        self.action_spaces = {
            SOLE_AGENT: spaces.Box(control[:, 0], control[:, 1], dtype=np.float64)  # type: ignore[arg-type]
        }
        size = self._observation().shape[1]
        low, high = np.full(size, -np.inf), np.full(size, np.inf)
        rings = BINS * sum(group.is_sensed for group in self.groups)
        low[size - rings :], high[size - rings :] = 0.0, 1.0
        self.observation_spaces = {SOLE_AGENT: spaces.Box(low, high, dtype=np.float64)}

    # The task

    @abstractmethod
    def _groups(self, level: int) -> Sequence[Group]:
        """Return the things of a level, in the order they are placed and sensed in."""

    @abstractmethod
    def _extent(self, level: int) -> float:
        """Return half the side of the square the things of a level are put in, in m."""

    @abstractmethod
    def _reward(self) -> FloatArray:
        """Return the rewards of this step, (num_envs,), and remember what the next one needs."""

    def _costs(self) -> dict[str, BoolArray]:
        """Return which rules each robot breaks now: name -> (num_envs,)."""
        return {}

    def _is_reached(self) -> BoolArray:
        """Return which lanes have earned a new goal in this step, (num_envs,)."""
        return np.zeros(self.num_envs, dtype=np.bool_)

    def _renew(self, lane: int, random: np.random.RandomState) -> bool:
        """Draw a lane's next goal; return False if none can be found."""
        return True

    def _begin(self, ids: IntArray) -> None:
        """Remember what the first reward needs, in the lanes ``ids`` that start an episode."""

    def _tick(self) -> None:
        """Advance the clocks of the task, after the costs and before a new goal."""

    def _robot_area(self, level: int) -> Rectangle:
        """Return where the robot is put, in m."""
        extent = self._extent(level)
        return -extent, -extent, extent, extent

    # The base

    def _placements(self, level: int) -> list[Placement]:
        extent = self._extent(level)
        area = (-extent, -extent, extent, extent)
        placements = [Placement(self._robot_area(level), self.robot_clearance_m)]
        for group in self.groups:
            if group.places:
                placements += [Placement.at(x, y, group.clearance_m) for x, y in group.places]
            else:
                placements += [Placement(area, group.clearance_m)] * len(group.names)
        return placements

    def _bind_bodies(self) -> None:
        """Find the things in the model and among the places."""
        model = self.model
        self._xpos: FloatArray = self.bind("xpos")
        self._xmat: FloatArray = self.bind("xmat").reshape(self.num_envs, model.nbody, 3, 3)
        self._sensors: FloatArray = self.bind("sensordata")
        self._agent = model.body("agent").id
        self._spots: dict[str, slice] = {}
        self._bodies: dict[str, IntArray] = {}
        self._touches: dict[str, slice] = {}
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
            self._touches[group.name] = slice(sensor, sensor + len(bodies))
            sensor += len(bodies)
            if group.kind != "static":
                self._qpos_at[group.name] = model.jnt_qposadr[model.body_jntadr[bodies]]
        if not self.robot.is_free or any(group.kind == "static" for group in solid):
            self._body_pos = self.batch.expand("body_pos")
            self._body_quat = self.batch.expand("body_quat")

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        turn = 2.0 * np.pi
        rest = np.tile(self.model.qpos0, (len(ids), 1))
        for row, (lane, seed) in enumerate(zip(ids.tolist(), seeds.tolist(), strict=True)):
            random = self._random.seed(lane, seed)
            self.places[lane] = self._sampler.sample(random)
            self.yaws[lane] = turn * random.random_sample(self.yaws.shape[1])
            # The first goal is drawn anew too: the one of the layout is never played.
            self._renew(lane, random)
        self._put(ids, rest)
        for group in self.groups:
            if group.places:
                self.places[ids, self._spots[group.name]] = group.places
        self._place(ids, rest, np.zeros((len(ids), self.model.nv)))
        self.reached[ids] = False
        self._begin(ids)

    def _put(self, ids: IntArray, qpos: FloatArray) -> None:
        """Write robot and things of the lanes ``ids`` into ``qpos``, (len(ids), nq), and model."""
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

    def _run(self, ids: IntArray | None) -> None:
        # What the sensors say matters only at the end of the step.
        self._flags |= _NO_SENSORS
        try:
            super()._run(ids)
        finally:
            self._flags &= ~_NO_SENSORS
            self.batch.forward(ids)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        action = np.clip(actions[SOLE_AGENT], self._low, self._high)
        # The original draws a number of physics steps that can only be ten.
        self._random.skipped += 1 if active is None else active
        self._advance(action, active)
        reward = self._reward()
        if self.clips_reward:
            np.clip(reward, -_LARGEST_REWARD, _LARGEST_REWARD, out=reward)
        costs = self._costs()
        reached = self._is_reached()
        self._tick()
        failed = self.failed.copy()
        if failed.any():
            reward[failed] = _REWARD_OF_FAILURE
            reached &= ~failed
        terminated = failed.copy()
        if active is not None:
            reached &= active
        for lane in np.flatnonzero(reached).tolist():
            self._refresh(lane)
            if not self._renew(lane, self._random.at(lane)):
                terminated[lane] = True
        if reached.any():
            self._begin(np.flatnonzero(reached))

        total = failed.copy()
        info: Info = {}
        for name, broken in costs.items():
            broken[failed] = False
            info[name] = broken.astype(np.float64)
            total |= broken
        info["cost"] = info["cost_sum"] = total.astype(np.float64)
        info["goal_met"] = reached
        info["simulation_failed"] = failed
        return reward[:, None], terminated, info

    def _refresh(self, lane: int) -> None:
        """Bring the places of what has moved up to date."""
        self.places[lane, 0] = self._xpos[lane, self._agent, :2]
        for group in self.groups:
            if group.kind == "free":
                bodies = self._bodies[group.name]
                self.places[lane, self._spots[group.name]] = self._xpos[lane, bodies, :2]

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._observation()}

    def _observation(self) -> FloatArray:
        """Return what is seen now, (num_envs, observation size)."""
        position, rotation = self._xpos[:, self._agent], self._xmat[:, self._agent]
        parts = [self._sensors[:, : self._touch_start]]
        parts += [
            pseudo_lidar(position, rotation, self._seen_places(group), self.lidar_reach_m)
            for group in self.groups
            if group.is_sensed
        ]
        return np.concatenate(parts, axis=1)

    def _seen_places(self, group: Group) -> FloatArray:
        """Return where the things of a group are now, (num_envs, count, 2) in m."""
        if group.kind in ("free", "driven"):
            return self._xpos[:, self._bodies[group.name], :2]
        return self.places[:, self._spots[group.name]]

    # What tasks measure

    def _robot_xy(self) -> FloatArray:
        place: FloatArray = self._xpos[:, self._agent, :2]
        return place

    def _touched(self, name: str) -> FloatArray:
        """Return the number of contacts of the robot with each thing of a group, (n, count)."""
        touched: FloatArray = self._sensors[:, self._touches[name]]
        return touched

    def _speeds(self, name: str) -> FloatArray:
        """Return the speeds of a group's free things, (num_envs, count) in m/s."""
        starts = self.model.body_dofadr[self._bodies[name]]
        velocity = self.qvel[:, starts[:, None] + np.arange(3)]
        speeds: FloatArray = np.sqrt(np.square(velocity).sum(axis=2))
        return speeds

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
        within: BoolArray = (distance < radius).any(axis=1)
        return within

    def _draw_goal(self, lane: int, random: np.random.RandomState) -> bool:
        """Put a lane's goal where nothing else is; leave it if that cannot be found."""
        number = self._spots["goal"].start
        layout: list[Point] = [(x, y) for x, y in self.places[lane].tolist()]
        place = self._sampler.replace(random, number, layout)
        if place is None:
            return False
        self.places[lane, number] = place
        return True
