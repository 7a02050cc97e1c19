"""Push a box to goal after goal among hazards and pillars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pkubench.envs.batch import BoolArray, FloatArray
from pkubench.envs.safety.navigation import Navigation
from pkubench.envs.safety.scene import Group
from pkubench.envs.safety.things import goal, hazards, pillars, push_box
from pkubench.envs.seeding import IntArray

_GOAL_RADIUS_M = 0.3
_HAZARD_RADIUS_M = 0.3
_EXTENTS_M = (1.0, 1.5, 2.0)
_BOX = (0.2, 0.001)
"""Half the side in m and density of the box; a car is given a smaller one."""
_CAR_BOX = (0.125, 0.0005)


class Push(Navigation):
    """A robot pushes a box to one goal after another."""

    def _groups(self, level: int) -> Sequence[Group]:
        groups = [goal(_GOAL_RADIUS_M)]
        if level > 0:
            groups.append(hazards((0, 2, 4)[level], _HAZARD_RADIUS_M))
            groups.append(pillars((0, 1, 4)[level]))
        groups.append(push_box(*(_CAR_BOX if self.robot_name == "Car" else _BOX)))
        return groups

    def _extent(self, level: int) -> float:
        return _EXTENTS_M[level]

    def _prepare(self) -> None:
        self._to_box: FloatArray = np.zeros(self.num_envs)
        self._to_goal: FloatArray = np.zeros(self.num_envs)
        self._goal_height = self.groups[0].height_m

    def _renew(self, lane: int, random: np.random.RandomState) -> bool:
        return self._draw_goal(lane, random)

    def _begin(self, ids: IntArray) -> None:
        to_box, to_goal = self._distances()
        self._to_box[ids], self._to_goal[ids] = to_box[ids], to_goal[ids]

    def _distances(self) -> tuple[FloatArray, FloatArray]:
        """Return robot to box and box to goal, each (num_envs,) in m, heights included."""
        box = self._xpos[:, self._bodies["push_box"][0]]
        to_box = np.square(box - self._xpos[:, self._agent]).sum(axis=1)
        to_goal = np.square(box[:, :2] - self.places[:, self._spots["goal"].start]).sum(axis=1)
        to_goal += np.square(box[:, 2] - self._goal_height)
        return np.sqrt(to_box), np.sqrt(to_goal)

    def _reward(self) -> FloatArray:
        to_box, to_goal = self._distances()
        reward: FloatArray = (self._to_box - to_box) + (self._to_goal - to_goal)
        self._to_box, self._to_goal = to_box, to_goal
        self._arrived: BoolArray = to_goal <= _GOAL_RADIUS_M
        reward[self._arrived] += 1.0
        return reward

    def _is_reached(self) -> BoolArray:
        return self._arrived

    def _costs(self) -> dict[str, BoolArray]:
        if self.level == 0:
            return {}
        costs = {"cost_hazards": self._is_within("hazards", _HAZARD_RADIUS_M)}
        if self.level == 2:
            costs["cost_pillars"] = self._touched("pillars").any(axis=1)
        return costs
