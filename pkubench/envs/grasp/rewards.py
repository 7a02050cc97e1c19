"""Reward and success of UniDexGrasp++, from distances: its branch without a grasp to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pkubench.envs.core.batch import BoolArray, FloatArray

LIFT_M: Final = 0.2
"""The goal is this far above the place where an episode starts, or its nominal one."""
GOAL_RADIUS_M: Final = 0.05
HOLD_STEPS: Final = 30
"""Steps in a row at the goal that make a hold: half a second."""
PALM_LIMIT_M: Final = 0.12
"""A held object is this close to the palm, at most."""
FINGER_LIMIT_M: Final = 0.12
"""And on average this close to each fingertip: 0.6 m in all for five."""
PALM_CAP_M: Final = 0.5
FINGER_CAP_M: Final = 0.6
"""Of each fingertip: 3 m in all for five."""


@dataclass(frozen=True, slots=True)
class Distances:
    """What a reward is a function of, in each environment."""

    palm: FloatArray
    """Object to palm, at most 0.5 m, (num_envs,)."""
    fingers: FloatArray
    """Object to each fingertip, summed, at most 0.6 m a finger, (num_envs,)."""
    goal: FloatArray
    """Object to goal in m, (num_envs,)."""
    height: FloatArray
    """Height of the object in m, (num_envs,)."""
    is_held: BoolArray
    """Whether palm and fingertips are near the object, (num_envs,)."""

    @classmethod
    def between(
        cls, object_: FloatArray, palm: FloatArray, tips: FloatArray, goal: FloatArray
    ) -> Distances:
        """Measure.

        Args:
            object_: position of the object in m, (num_envs, 3).
            palm: of the palm, (num_envs, 3).
            tips: of the fingertips, (num_envs, fingers, 3).
            goal: of the goal, (num_envs, 3).
        """
        fingers = tips.shape[1]
        to_palm = np.minimum(_norm(object_ - palm), PALM_CAP_M)
        to_tips = np.minimum(_norm(object_[:, None] - tips).sum(axis=1), FINGER_CAP_M * fingers)
        is_held = (to_tips <= FINGER_LIMIT_M * fingers) & (to_palm <= PALM_LIMIT_M)
        return cls(to_palm, to_tips, _norm(object_ - goal), object_[:, 2].copy(), is_held)


def reward(
    distances: Distances, upward: FloatArray, lifted_m: FloatArray, high_m: FloatArray
) -> FloatArray:
    """Return the rewards, (num_envs,).

    Args:
        distances: of this moment, after the step.
        upward: component of the action that pushes the hand up, in [-1, 1].
        lifted_m: height above which an object counts as lifted.
        high_m: height above which it counts as high.
    """
    near = distances.goal
    lift = np.where(
        distances.height >= high_m,
        0.2,
        np.where(distances.height >= lifted_m, 0.1 + 0.1 * upward, 0.0),
    )
    at_goal = np.where(near <= GOAL_RADIUS_M, 1.0 / (1.0 + 10.0 * near), 0.0)
    while_held = (0.9 - 2.0 * near) + lift + at_goal
    total: FloatArray = -distances.palm - 0.5 * distances.fingers + distances.is_held * while_held
    return total


class Success:
    """Three kinds of success, kept for the episodes of a batch."""

    def __init__(self, num_envs: int) -> None:
        """Start with none."""
        self.reached: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        """At the goal in any step so far (the paper's success)."""
        self.steps = np.zeros(num_envs, dtype=np.int64)
        """Steps in a row at the goal, up to now."""

    def reset(self, ids: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        """Forget the episodes of the environments ``ids``."""
        self.reached[ids] = False
        self.steps[ids] = 0

    def update(self, distance: FloatArray) -> None:
        """Count a step that ended at a distance from the goal, (num_envs,) in m."""
        is_there = distance <= GOAL_RADIUS_M
        self.reached |= is_there
        self.steps = np.where(is_there, self.steps + 1, 0)

    @property
    def any(self) -> BoolArray:
        """At the goal in any step, (num_envs,)."""
        return self.reached.copy()

    @property
    def final(self) -> BoolArray:
        """At the goal now."""
        return self.steps > 0

    @property
    def hold(self) -> BoolArray:
        """At the goal now and in the 29 steps before."""
        return self.steps >= HOLD_STEPS


def _norm(vector: FloatArray) -> FloatArray:
    length: FloatArray = np.sqrt(np.einsum("...i,...i->...", vector, vector))
    return length
