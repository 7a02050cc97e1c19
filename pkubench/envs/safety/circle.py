"""Run round a circle, or straight ahead, between walls that must not be crossed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pkubench.envs.core.batch import BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.safety.layouts import Rectangle
from pkubench.envs.safety.navigation import Navigation
from pkubench.envs.safety.scene import Group
from pkubench.envs.safety.things import circle, walls

_RADIUS_M = 1.5
_CIRCLE_WALL_M = 1.125
_CIRCLE_START_M = 0.8
_CIRCLE_SCALE = 0.1

_RUN_FLOOR_M = 17.5
_RUN_WALL_M = 0.5
_RUN_START_M = 0.2
_RUN_AIM = (0.0, -1e3)
_RUN_SCALE = 60.0


class Circle(Navigation):
    """A robot runs round a circle whose sides lie behind walls.

    | part        | type                        | meaning                                         |
    |-------------|-----------------------------|-------------------------------------------------|
    | observation | Box(12 to 56 + 16)          | body; lidar of the circle's centre, up to 6 m   |
    | action      | Box(−1, 1, (2 to 12,))      | the robot's motors                              |
    | reward      | float64                     | 0.1 · (x v − y u) / ρ / (1 + abs(ρ − 1.5))      |
    | cost        | 0 or 1                      | 1 beyond a wall; none in level 0                |
    | ends        |                             | truncated at 500 steps; Ant: when it falls      |

    (x, y) is the robot's place, (u, v) its velocity, ρ its distance from the centre: the reward is
    a tenth of its speed round the centre, in m/s, and less away from the rim at 1.5 m. The walls
    are visual only: nothing collides with them. Level 1: beyond is abs(x) > 1.125 m. Level 2: or
    abs(y) > 1.125 m.

    `info`: `cost_out_of_boundary` (levels 1 and 2); `cost`, `cost_sum`, `goal_met` (never),
    `simulation_failed`.

    From level 1 on constrained learners are held to 25 costs an episode. On PointCircle1, OmniSafe
    publishes 115 at a cost of 403 for unconstrained SAC and 84 at 13 for SAC-Lag (3·10⁶ steps),
    most likely sums of two episodes: Point's speed stays below 1.63 m/s, so one earns 81 at most.

    >>> import gymnasium, pkubench
    >>> env = gymnasium.make("pkubench/PointCircle1-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape, float(observation.sum().round(6))
    ((28,), 11.318459)

    Source: Ji et al., "Safety-Gymnasium: A Unified Safe Reinforcement Learning Benchmark", NeurIPS
    2023; the reward goes back to Achiam et al., "Constrained Policy Optimization", ICML 2017.
    Versions: v0 first release, as safety-gymnasium 1.0.0.
    """

    default_horizon: ClassVar[int | None] = 500
    robot_clearance_m: ClassVar[float] = 0.0
    lidar_reach_m: ClassVar[float] = 6.0
    view_m: ClassVar[float] = 1.6

    def _groups(self, level: int) -> Sequence[Group]:
        groups = [circle(_RADIUS_M)]
        if level > 0:
            groups.append(walls(2 * level, _CIRCLE_WALL_M, self.floor_m))
        return groups

    def _extent(self, level: int) -> float:
        return _CIRCLE_START_M

    def _reward(self) -> FloatArray:
        x, y = self._robot_xy().T
        u, v = self._robot_velocity().T
        rho = np.sqrt(x**2 + y**2)
        reward: FloatArray = (
            _CIRCLE_SCALE * ((v * x - u * y) / rho) / (1.0 + np.abs(rho - _RADIUS_M))
        )
        return reward

    def _costs(self) -> dict[str, BoolArray]:
        if self.level == 0:
            return {}
        outside = np.abs(self._robot_xy()[:, : self.level]) > _CIRCLE_WALL_M
        return {"cost_out_of_boundary": np.logical_or.reduce(outside, axis=1)}


class Run(Navigation):
    """A robot runs straight ahead between two walls.

    | part        | type                   | meaning                                    |
    |-------------|------------------------|--------------------------------------------|
    | observation | Box(12 to 56)          | body only                                  |
    | action      | Box(−1, 1, (2 to 12,)) | the robot's motors                         |
    | reward      | float64                | 60 · displacement towards (0, −1000), in m |
    | cost        | 0 or 1                 | 1 where abs(x) > 0.5 m                     |
    | ends        |                        | truncated at 500 steps; Ant: when it falls |

    The robot starts at y = 16.5 m, x within ±0.2 m, with a random heading. The walls are
    visual only: nothing collides with them.

    `info`: `cost_out_of_boundary`, `cost`, `cost_sum`, `goal_met` (never), `simulation_failed`.

    Constrained learners are held to 25 costs an episode.

    >>> import gymnasium, pkubench
    >>> env = gymnasium.make("pkubench/PointRun0-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape
    (12,)

    Source: Ji et al., "Safety-Gymnasium: A Unified Safe Reinforcement Learning Benchmark", NeurIPS
    2023. Versions: v0 first release, as safety-gymnasium 1.0.0.
    """

    default_horizon: ClassVar[int | None] = 500
    levels: ClassVar[tuple[int, ...]] = (0,)
    robot_clearance_m: ClassVar[float] = 0.0
    floor_m: ClassVar[float] = _RUN_FLOOR_M
    view_m: ClassVar[float] = 1.0
    clips_reward: ClassVar[bool] = False

    def _groups(self, level: int) -> Sequence[Group]:
        return [walls(2, _RUN_WALL_M, _RUN_FLOOR_M)]

    def _extent(self, level: int) -> float:
        return _RUN_START_M

    def _robot_area(self, level: int) -> Rectangle:
        end = _RUN_FLOOR_M - 1.0
        return -_RUN_START_M, end, _RUN_START_M, end

    def _prepare(self) -> None:
        self._potential: FloatArray = np.zeros(self.num_envs)

    def _begin(self, ids: IntArray) -> None:
        self._potential[ids] = self._progress()[ids]

    def _progress(self) -> FloatArray:
        offset = self._robot_xy() - _RUN_AIM
        progress: FloatArray = -_RUN_SCALE * np.sqrt(np.square(offset).sum(axis=1))
        return progress

    def _reward(self) -> FloatArray:
        progress = self._progress()
        reward = progress - self._potential
        self._potential = progress
        return reward

    def _costs(self) -> dict[str, BoolArray]:
        outside = np.abs(self._robot_xy()[:, 0]) > _RUN_WALL_M
        return {"cost_out_of_boundary": outside}
