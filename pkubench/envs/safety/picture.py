"""Pictures of the navigation environments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.mujoco.camera import OffscreenCamera
from pkubench.envs.safety.robots import Robot
from pkubench.envs.safety.scene import CAMERA, Group, compile_scene

FRAME_SIZE = (480, 640)
"""Height and width in pixels."""
_BACK, _UP = 0.80, 1.05
"""Where the camera stands, in parts of its distance."""
_ALARM_OPACITY = 0.35


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to see in one environment."""

    qpos: FloatArray
    """Positions of all that moves, (nq,)."""
    robot: FloatArray
    """Where the robot is, (x, y) in m."""
    places: FloatArray
    """Where robot (first) and things were put, (things, 2) in m."""
    yaws: FloatArray
    """How they were turned, (things,) in rad."""
    in_breach: bool
    """Whether a rule is broken: the robot stands in red light."""


class ScenePicture:
    """A model with all that is visual only, and a camera."""

    def __init__(self, robot: Robot, groups: Sequence[Group], floor_m: float) -> None:
        """Compile the model and make the OpenGL context.

        Raises:
            PkubenchError: no OpenGL can be found; the message names the Debian packages.
        """
        self._is_free = robot.is_free
        self._groups = groups
        self._model = compile_scene(robot, groups, floor_m, is_drawn=True)
        self._camera = OffscreenCamera(self._model, CAMERA, *FRAME_SIZE)
        self._data = mujoco.MjData(self._model)

    def draw(self, moment: Moment, half_m: float) -> npt.NDArray[np.uint8]:
        """Draw a moment; ``half_m`` is half the width of what is seen around the origin."""
        number = 1
        if not self._is_free:
            self._put("agent", moment.places[0], float(moment.yaws[0]))
        for group in self._groups:
            for name in group.names:
                if group.kind in ("mark", "static"):
                    self._put(name, moment.places[number], float(moment.yaws[number]))
                number += 1
        self._put("alarm", moment.robot, 0.0)
        self._model.geom("alarm").rgba[3] = _ALARM_OPACITY if moment.in_breach else 0.0
        self._look_at(moment.robot, half_m)
        self._data.qpos[:] = moment.qpos
        mujoco.mj_forward(self._model, self._data)
        return self._camera.draw(self._data)

    def close(self) -> None:
        """Free the OpenGL context. Safe to call twice."""
        self._camera.close()

    def _put(self, name: str, place: FloatArray, yaw: float) -> None:
        body = self._model.body(name)
        body.pos[:2] = place
        body.quat[:] = np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)

    def _look_at(self, place: FloatArray, half_m: float) -> None:
        """Turn to the middle of the floor; a robot farther out than ``half_m`` is followed."""
        middle = place - np.clip(place, -half_m, half_m)
        away = 1.55 * half_m + 1.5
        camera = self._model.camera(CAMERA)
        camera.pos[:] = middle[0], middle[1] - _BACK * away, _UP * away
        tilt = np.arctan2(_BACK, _UP)
        camera.quat[:] = np.cos(tilt / 2), np.sin(tilt / 2), 0.0, 0.0
