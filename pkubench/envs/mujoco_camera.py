"""Pictures of MuJoCo simulations, with or without a screen."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
import weakref
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from pkubench.errors import ConfigError, PkubenchError

_BACKENDS = ("glfw", "egl", "osmesa", "cgl")
"""Modules of ``mujoco`` that can make an OpenGL context."""

_MAX_GEOMS = 10_000

HINT = (
    "on Debian or Ubuntu: apt-get install libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri "
    "(EGL, MUJOCO_GL=egl) or libosmesa6 (MUJOCO_GL=osmesa)"
)


def _candidates() -> tuple[str, ...]:
    """Return the OpenGL backends to try, in order: the user's choice, or what fits the machine."""
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if chosen in _BACKENDS:
        return (chosen,)
    if sys.platform == "darwin":
        return ("cgl", "glfw")
    if sys.platform == "win32":
        return ("glfw",)
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return ("egl", "glfw", "osmesa") if has_screen else ("egl", "osmesa")


def _make_context(model: Any, width: int, height: int) -> tuple[Any, Any]:
    """Make the first OpenGL context that works, and MuJoCo's resources in it.

    ``mujoco.Renderer`` fixes its backend when ``mujoco`` is imported, too early for a world that
    learns only in ``render`` that pictures are wanted; MuJoCo's own context classes do not.

    Raises:
        PkubenchError: none works.
    """
    failures = []
    for backend in _candidates():
        # MuJoCo's C loader reads MUJOCO_GL at first use.
        given = os.environ.get("MUJOCO_GL")
        os.environ["MUJOCO_GL"] = backend
        try:
            context = _make_current_context(backend, width, height)
            return context, mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        except Exception as error:  # each backend fails in its own way: library, driver, display
            failures.append(f"{backend}: {error or type(error).__name__}")
            if given is None:
                del os.environ["MUJOCO_GL"]
            else:
                os.environ["MUJOCO_GL"] = given
            _forget_opengl(backend)
    reasons = "; ".join(" ".join(failure.split()) for failure in failures)
    raise PkubenchError(f"no OpenGL to draw with ({reasons}); {HINT}")


def _make_current_context(backend: str, width: int, height: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GLFW warns where the others raise
        context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        context.make_current()
    if backend == "glfw":
        import glfw

        # MuJoCo looks for OpenGL once a process and aborts at a second try after a failure.
        if not glfw.get_current_context():
            raise RuntimeError("no window could be opened")
    return context


def _forget_opengl(backend: str) -> None:
    """Unload PyOpenGL, which settles on one platform when it is first imported."""
    if os.environ.get("PYOPENGL_PLATFORM") == backend:
        del os.environ["PYOPENGL_PLATFORM"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "OpenGL"]:
        del sys.modules[name]
    for name in [name for name in sys.modules if name.startswith(f"mujoco.{backend}")]:
        del sys.modules[name]


def _free(context: Any, gpu: Any) -> None:
    context.make_current()
    gpu.free()
    context.free()


class OffscreenCamera:
    """A camera of one model and the OpenGL context it draws into.

    OpenGL contexts belong to a thread: make and use a camera in the same one.
    """

    def __init__(self, model: Any, camera: str, height: int, width: int) -> None:
        """Make the context.

        Args:
            model: the ``mujoco.MjModel`` to draw.
            camera: name of one of the model's cameras.
            height: height of the pictures in pixels.
            width: width of the pictures in pixels.

        Raises:
            PkubenchError: no OpenGL backend works.
            ConfigError: the model has no such camera.
        """
        camera_id = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if camera_id < 0:
            raise ConfigError(f"the model has no camera {camera!r}")
        self._model = model
        self._height, self._width = height, width
        # The frame buffer is made as large as the model says when the context is.
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        self._context, self._gpu = _make_context(model, width, height)
        # Also at the end of the program, before the modules a context needs to be freed are gone.
        self._release = weakref.finalize(self, _free, self._context, self._gpu)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._gpu)
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        self._options = mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        self._viewpoint = mujoco.MjvCamera()
        self._viewpoint.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._viewpoint.fixedcamid = camera_id
        self._frame = mujoco.MjrRect(0, 0, width, height)

    def draw(self, data: Any) -> npt.NDArray[np.uint8]:
        """Draw the simulation ``data`` (a forwarded ``mujoco.MjData``): (height, width, 3)."""
        self._context.make_current()
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._options,
            self._perturbation,
            self._viewpoint,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._frame, self._scene, self._gpu)
        pixels = np.empty((self._height, self._width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(pixels, None, self._frame, self._gpu)
        # OpenGL's first row is the lowest.
        return np.ascontiguousarray(pixels[::-1])

    def close(self) -> None:
        """Free the context; no picture can be drawn after. Safe to call twice."""
        self._release()
