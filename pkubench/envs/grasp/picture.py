"""Pictures of grasping, with the meshes of the hand."""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.grasp.items import Item, Solid
from pkubench.envs.grasp.scene import CAMERA, SceneSettings, compile_scene
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

    def draw(self, qpos: FloatArray) -> npt.NDArray[np.uint8]:
        """Draw a state: (height, width, 3) uint8."""
        self._data.qpos[:] = qpos
        mujoco.mj_forward(self._model, self._data)
        return self._camera.draw(self._data)

    def close(self) -> None:
        """Free the OpenGL context. Safe to call twice."""
        self._camera.close()
