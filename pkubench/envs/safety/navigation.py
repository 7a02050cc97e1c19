"""What all navigation environments share: layouts, physics, observation and costs, on batches.

The environments are those of Safety-Gymnasium 1.0.0 (Ji et al., "Safety-Gymnasium: A Unified Safe
Reinforcement Learning Benchmark", NeurIPS 2023 Datasets and Benchmarks): the same models, the same
numbers drawn in the same order, the same rewards and costs. Their physics is MuJoCo 4's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BoolArray, FloatArray, Info
from pkubench.envs.core.exact_math import rotation_matrices
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.safety.layouts import LayoutSampler, LegacyRandom, Placement, Point, Rectangle
from pkubench.envs.safety.lidar import BINS, pseudo_lidar
from pkubench.envs.safety.picture import Moment, ScenePicture
from pkubench.envs.safety.robots import ROBOTS
from pkubench.envs.safety.scene import Group
from pkubench.envs.safety.scene_batch import SceneBatch
from pkubench.errors import UnknownName

_LARGEST_REWARD = 10.0
_REWARD_OF_FAILURE = -10.0
_ROBOT_CLEARANCE_M = 0.4


class Navigation(SceneBatch):
    """A robot among things, some of which it must keep away from.

    | robot | action                                               | body seen, numbers            |
    |-------|------------------------------------------------------|-------------------------------|
    | Point | Box(−1, 1, (2,)): force ahead, turning speed         | 12: accelerometer, velocity,  |
    |       |                                                      | gyroscope, magnetometer       |
    | Car   | Box(−1, 1, (2,)): torques of left and right wheel    | 24: and its rear ball         |
    | Doggo | Box(−1, 1, (12,)): hips sideways, hips up, ankles,   | 56: and touch of 8 spots on   |
    |       | each of legs 1 to 4                                  | the feet, 12 joints           |
    | Ant   | Box(−1, 1, (8,)): hip and ankle of legs 1 to 4       | 40: and its height, spin,     |
    |       |                                                      | 8 joints                      |

    An observation is float64: the body (speeds of joints before their angles, angles as sine and
    cosine, the ball as a rotation matrix), then a ring of lidar for each kind of thing that is
    sensed: 16 directions counter-clockwise from the robot's own x axis, 1 at the robot's centre
    and 0 from 3 m on (6 m on the circle).

    The cost of a step is 1 if any rule is broken, else 0; `info` holds it as `cost` and
    `cost_sum`, every rule as 0 or 1 under its own name, `goal_met` (a new goal has been drawn) and
    `simulation_failed`. Rewards are clipped to ±10 (not those of Run). An Ant whose torso is at
    0.08 m or lower has fallen, which ends the episode. Where MuJoCo meets a value it cannot
    continue with, the original continues from the default state; here the episode ends with reward
    −10 and cost 1. A step is ten physics steps: 0.02 s for Point, 0.04 s for Car, 0.1 s for Doggo
    and Ant.

    The environments are those of the release safety-gymnasium 1.0.0. `reset(seed=s)` gives the
    layout the original gives for the seed s, from the same numbers of NumPy's legacy generator; the
    original continues with its stream when it is reset without a seed, here every episode has a
    seed of its own (seeds of 2³² and more start the generator from two words). MuJoCo 4 is set up
    to give the forces of 2.3; how near one step comes is stated, and held to the original's traces,
    in `tests/envs/test_safety_parity.py`. Ant's dynamics are close, not equal: the Runge-Kutta
    steps of MuJoCo 4 are others.

    Settings: `robot` and `level` (the id names them), `max_episode_steps`, `num_threads` (results
    do not depend on it).

    A task defines `_groups`, `_extent` and `_reward`; where goals are renewed also `_is_reached`
    and `_renew`; where rules can be broken, `_costs`.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}
    default_horizon: ClassVar[int | None] = 1000

    levels: ClassVar[tuple[int, ...]] = (0, 1, 2)
    robot_clearance_m: ClassVar[float] = _ROBOT_CLEARANCE_M
    lidar_reach_m: ClassVar[float] = 3.0
    view_m: ClassVar[float] = 0.0
    """Half the width of what a picture shows around the origin; 0: the level's own."""
    clips_reward: ClassVar[bool] = True
    """Whether rewards are kept within ±10."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        robot: str = "Point",
        level: int = 0,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the original's, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
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
        self.robot_name = robot
        self.level = level
        super().__init__(
            ROBOTS[robot], self._groups(level), num_envs, max_episode_steps, num_threads
        )
        self._sampler = LayoutSampler(self._placements(level))
        self._random = LegacyRandom(num_envs)
        self._in_breach: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        self._prepare()
        self._rules = tuple(self._costs())

        self._low, self._high = self.model.actuator_ctrlrange.T.copy()
        self.action_spaces = {SOLE_AGENT: spaces.Box(self._low, self._high, dtype=np.float64)}
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
        """Return which environments have earned a new goal in this step, (num_envs,)."""
        return np.zeros(self.num_envs, dtype=np.bool_)

    def _renew(self, index: int, random: np.random.RandomState) -> bool:
        """Draw an environment's next goal; return False if none can be found."""
        return True

    def _prepare(self) -> None:
        """Make the arrays a task remembers things in."""

    def _begin(self, ids: IntArray) -> None:
        """Remember what the first reward needs, in the environments ``ids`` that were reset."""

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

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        turn = 2.0 * np.pi
        rest = np.tile(self.model.qpos0, (len(ids), 1))
        for row, (index, seed) in enumerate(zip(ids.tolist(), seeds.tolist(), strict=True)):
            random = self._random.seed(index, seed)
            self.places[index] = self._sampler.sample(random)
            self.yaws[index] = turn * random.random_sample(self.yaws.shape[1])
            # The first goal is drawn again too: the one of the layout is never played.
            self._renew(index, random)
            for start, angle in self._postures:
                noise = self.robot.posture_noise
                noise = -noise + (noise + noise) * random.random_sample()
                rest[row, start] = angle + noise if angle >= 0 else angle - noise
        self._put(ids, rest)
        for group in self.groups:
            if group.places:
                self.places[ids, self._spots[group.name]] = group.places
            if group.yaws_rad:
                self.yaws[ids, self._spots[group.name]] = group.yaws_rad
        self._place(ids, rest, np.zeros((len(ids), self.model.nv)))
        self._in_breach[ids] = False
        self._begin(ids)

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
        for index in np.flatnonzero(reached).tolist():
            self._refresh(index)
            if not self._renew(index, self._random.at(index)):
                terminated[index] = True
        if reached.any():
            self._begin(np.flatnonzero(reached))

        if self.robot.min_height_m is not None:
            terminated |= self._xpos[:, self._agent, 2] <= self.robot.min_height_m
        total = failed.copy()
        info: Info = {}
        for name, broken in costs.items():
            broken[failed] = False
            info[name] = broken.astype(np.float64)
            total |= broken
        self._in_breach = total
        info["cost"] = total.astype(np.float64)
        info["cost_sum"] = info["cost"].copy()
        info["goal_met"] = reached
        info["simulation_failed"] = failed
        return reward[:, None], terminated, info

    def _info(self) -> Info:
        names = (*self._rules, "cost", "cost_sum")
        info: Info = {name: np.zeros(self.num_envs) for name in names}
        info["goal_met"] = np.zeros(self.num_envs, dtype=np.bool_)
        info["simulation_failed"] = self.failed.copy()
        return info

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._observation()}

    def _observation(self) -> FloatArray:
        """Return what is seen now, (num_envs, observation size)."""
        parts = [self._sensors[:, self._plain]]
        if self.robot.hinges:
            angles = self._sensors[:, self._angles]
            turns = np.stack((np.sin(angles), np.cos(angles)), axis=2)
            parts.append(turns.reshape(self.num_envs, -1))
        if self.robot.ball is not None:
            parts.append(rotation_matrices(self._sensors[:, self._angles.stop : self._touch_start]))
        parts += self._rings().values()
        return np.concatenate(parts, axis=1)

    def _rings(self) -> dict[str, FloatArray]:
        """Return what the lidar says of each group that it senses, name -> (num_envs, 16)."""
        sensed = [group for group in self.groups if group.is_sensed]
        if not sensed:  # nothing in Run has a lidar
            return {}
        position, rotation = self._xpos[:, self._agent], self._xmat[:, self._agent]
        places = [self._seen_places(group) for group in sensed]
        rings = pseudo_lidar(position, rotation, places, self.lidar_reach_m)
        parts = np.split(rings, len(sensed), axis=1)
        return dict(zip((group.name for group in sensed), parts, strict=True))

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment off-screen from above: (480, 640, 3) uint8; red light means cost.

        Raises:
            PkubenchError: no OpenGL can be found; the message names the Debian packages.
        """
        if self._camera is None:
            self._camera = ScenePicture(self.robot, self.groups, self.floor_m)
        moment = Moment(
            self.qpos[index],
            self._robot_xy()[index],
            self._origins(index),
            self.yaws[index],
            bool(self._in_breach[index]),
        )
        picture: npt.NDArray[np.uint8] = self._camera.draw(
            moment, self.view_m or self._extent(self.level)
        )
        return picture

    def _draw_goal(self, index: int, random: np.random.RandomState) -> bool:
        """Put an environment's goal where nothing else is; leave it if that cannot be found."""
        number = self._spots["goal"].start
        layout: list[Point] = [(x, y) for x, y in self.places[index].tolist()]
        place = self._sampler.replace(random, number, layout)
        if place is None:
            return False
        self.places[index, number] = place
        return True
