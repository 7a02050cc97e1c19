"""Pictures of MuJoCo simulations, with or without a screen."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

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


class _OpenGL(NamedTuple):
    """A context, and MuJoCo's resources in it."""

    backend: str
    context: Any
    gpu: Any
    process: int
    """Process that made it; its threads and connections are not in a process forked from it."""


_one_at_a_time = threading.RLock()
_processes: set[int] = set()
"""Processes that have made a context: this one, and those that it was forked from."""
_left_alone: list[_OpenGL] = []
"""Contexts that are never freed: those of the process that this one was forked from, where freeing
hangs, and those whose display was closed by another library."""


def _check_process() -> None:
    """Refuse to draw in a process whose parent has drawn: drivers hang there.

    Raises:
        PkubenchError: the parent has made a context; the message names other ways.
    """
    if _processes - {os.getpid()}:
        raise PkubenchError(
            "this process was forked from one that had drawn pictures, and OpenGL does not "
            'survive a fork; start workers by "spawn" or "forkserver" (AsyncVectorEnv has '
            "context=), or draw in the parent only after they were started"
        )


def _forget_display() -> None:
    """Keep MuJoCo from closing the display at the end of a forked process, which would hang."""
    egl = sys.modules.get("mujoco.egl")
    if egl is not None and _processes:
        vars(egl)["EGL_DISPLAY"] = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_display)


@contextlib.contextmanager
def _current(backend: str, context: Any) -> Iterator[None]:
    """Draw into a context in this thread; then no thread has it, so that any may be the next."""
    with _one_at_a_time:
        if backend == "egl":  # a setting of the thread, without which EGL releases nothing
            egl = importlib.import_module("mujoco.egl").EGL
            egl.eglBindAPI(egl.EGL_OPENGL_API)
        with context.as_current():
            yield


def _make_context(model: Any, width: int, height: int) -> _OpenGL:
    """Make the first OpenGL context that works, and MuJoCo's resources in it.

    ``mujoco.Renderer`` fixes its backend when ``mujoco`` is imported, too early for an environment
    that learns only in ``render`` that pictures are wanted; MuJoCo's own context classes do not.

    Raises:
        PkubenchError: none works, or the parent of this process has drawn.
    """
    _check_process()
    failures = []
    for backend in _candidates():
        # MuJoCo's C loader reads MUJOCO_GL at first use.
        given = os.environ.get("MUJOCO_GL")
        os.environ["MUJOCO_GL"] = backend
        try:
            made = _open(backend, model, width, height)
            _processes.add(os.getpid())
            return made
        except Exception as error:  # each backend fails in its own way: library, driver, display
            failures.append(f"{backend}: {error or type(error).__name__}")
            if given is None:
                del os.environ["MUJOCO_GL"]
            else:
                os.environ["MUJOCO_GL"] = given
            _forget_opengl(backend)
    reasons = "; ".join(" ".join(failure.split()) for failure in failures)
    raise PkubenchError(f"no OpenGL to draw with ({reasons}); {HINT}")


def _open(backend: str, model: Any, width: int, height: int) -> _OpenGL:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GLFW warns where the others raise
        context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        with _current(backend, context):
            if backend == "glfw":
                import glfw

                # MuJoCo looks for OpenGL once a process and aborts at a second try after a failure.
                if not glfw.get_current_context():
                    raise RuntimeError("no window could be opened")
            gpu = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, gpu)
    return _OpenGL(backend, context, gpu, os.getpid())


def _forget_opengl(backend: str) -> None:
    """Unload PyOpenGL, which settles on one platform when it is first imported."""
    if os.environ.get("PYOPENGL_PLATFORM") == backend:
        del os.environ["PYOPENGL_PLATFORM"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "OpenGL"]:
        del sys.modules[name]
    for name in [name for name in sys.modules if name.startswith(f"mujoco.{backend}")]:
        del sys.modules[name]


def _free(opengl: _OpenGL) -> None:
    if opengl.process != os.getpid():
        _left_alone.append(opengl)
        return
    try:
        with _current(opengl.backend, opengl.context):
            opengl.gpu.free()
        opengl.context.free()
    except Exception:  # an error of the backend's own class: the context went with its display
        _left_alone.append(opengl)


class OffscreenCamera:
    """A camera of one model and the OpenGL context it draws into, in whatever thread."""

    def __init__(self, model: Any, camera: str, height: int, width: int) -> None:
        """Make the context.

        Args:
            model: the ``mujoco.MjModel`` to draw.
            camera: name of one of the model's cameras.
            height: height of the pictures in pixels.
            width: width of the pictures in pixels.

        Raises:
            PkubenchError: no OpenGL backend works, or the parent of this process has drawn.
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
        self._opengl = _make_context(model, width, height)
        # Also at the end of the program, before the modules a context needs to be freed are gone.
        self._release = weakref.finalize(self, _free, self._opengl)
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        self._options = mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        self._viewpoint = mujoco.MjvCamera()
        self._viewpoint.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._viewpoint.fixedcamid = camera_id
        self._frame = mujoco.MjrRect(0, 0, width, height)

    def draw(self, data: Any) -> npt.NDArray[np.uint8]:
        """Draw the simulation ``data`` (a forwarded ``mujoco.MjData``): (height, width, 3).

        Raises:
            PkubenchError: the process was forked after the camera was made, or another library
                has closed the display.
        """
        _check_process()
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._options,
            self._perturbation,
            self._viewpoint,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        pixels = np.empty((self._height, self._width, 3), dtype=np.uint8)
        backend, context, gpu, _ = self._opengl
        try:
            with _current(backend, context):
                mujoco.mjr_render(self._frame, self._scene, gpu)
                mujoco.mjr_readPixels(pixels, None, self._frame, gpu)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise PkubenchError(
                "the OpenGL context of this environment is lost, because another library of this "
                f"program closed the display; close the environment and draw again ({reason})"
            ) from error
        # OpenGL's first row is the lowest.
        return np.ascontiguousarray(pixels[::-1])

    def close(self) -> None:
        """Free the context; no picture can be drawn after. Safe to call twice."""
        self._release()
