"""Pictures of grasping, with the meshes of the hand."""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.grasp.items import Item, Solid
from pkubench.envs.grasp.scene import (
    CAMERA,
    GOAL,
    GOAL_COLOR,
    REACHED_COLOR,
    SceneSettings,
    compile_scene,
)
from pkubench.envs.grasp.slots import compile_slots
from pkubench.envs.mujoco.camera import OffscreenCamera


class ScenePicture:
    """A model of one object with all that is seen, and a camera."""

    def __init__(self, settings: SceneSettings, item: Item, frame_size: tuple[int, int]) -> None:
        """Compile the model and make the OpenGL context.

        Raises:
            PkubenchError: no OpenGL can be found; the message names the Debian packages.
        """
        self.item = item
        if isinstance(item, Solid):
            self._model = compile_slots(settings, [item], is_drawn=True).model
        else:
            self._model = compile_scene(settings, is_drawn=True)
        self._camera = OffscreenCamera(self._model, CAMERA, *frame_size)
        self._data = mujoco.MjData(self._model)

    def draw(
        self, qpos: FloatArray, goal: FloatArray | None = None, is_there: bool = False
    ) -> npt.NDArray[np.uint8]:
        """Draw a state.

        Args:
            qpos: positions of hand and object, (nq,).
            goal: where the object is to be lifted to, (3,) in m; None: not shown.
            is_there: whether it is, which changes the color of the goal.

        Returns:
            The picture, (height, width, 3) uint8.
        """
        mark = self._model.site(GOAL)
        mark.rgba[:] = REACHED_COLOR if is_there else GOAL_COLOR
        if goal is None:
            mark.rgba[3] = 0.0
        else:
            mark.pos[:] = goal
        self._data.qpos[:] = qpos
        mujoco.mj_forward(self._model, self._data)
        return self._camera.draw(self._data)

    def close(self) -> None:
        """Free the OpenGL context. Safe to call twice."""
        self._camera.close()
