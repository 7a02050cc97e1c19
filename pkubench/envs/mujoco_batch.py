"""Worlds whose state is a MuJoCo simulation: many lanes of one model on ``mujoco.batch``.

A world derives from ``MujocoBatch``, starts episodes with ``_place``, advances with ``_advance``
and reads the state through live views (``qpos``, ``qvel``, ``bind``). Results are bit-identical to
one ``mujoco.MjData`` a lane, for any number of lanes and threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco.batch import Batch, SimulationError

from pkubench.envs.batch import Array, BatchEnv, BoolArray, FloatArray
from pkubench.envs.mujoco_camera import OffscreenCamera
from pkubench.envs.seeding import IntArray
from pkubench.errors import ConfigError

_DIVERGED = [
    int(mujoco.mjtWarning.mjWARN_BADQPOS),
    int(mujoco.mjtWarning.mjWARN_BADQVEL),
    int(mujoco.mjtWarning.mjWARN_BADQACC),
    int(mujoco.mjtWarning.mjWARN_BADCTRL),
]
"""Warnings after which MuJoCo has put the simulation (or its controls) back to the defaults."""

_TOTAL_MASS = re.compile(r'\s+settotalmass="([^"]*)"')


def _stop_phase_clock() -> None:
    """Keep MuJoCo from reading the clock around every phase of every physics step.

    Its Python package has it do so, for ``MjData.timer``; on small robots that is a tenth of the
    time. ``set_mjcb_time(None)`` goes back to that clock, so the C variable itself is cleared.
    A program that uses these worlds finds zeros in ``MjData.timer``, unless it sets a clock.
    """
    for library in Path(mujoco.__path__[0]).glob("libmujoco.*"):
        # The library may lack the variable in another version: then the clock goes on.
        with contextlib.suppress(OSError, ValueError):
            ctypes.c_void_p.in_dll(ctypes.CDLL(str(library)), "mjcb_time").value = None


if mujoco.get_mjcb_time() is None:  # the package's own clock, not one the user has set
    _stop_phase_clock()


def gymnasium_model(file_name: str, edit: Callable[[Any], None] | None = None) -> Any:
    """Return the ``mujoco.MjModel`` of a model file that ships with Gymnasium (``load_model``)."""
    from gymnasium.envs import mujoco as gymnasium_mujoco

    return load_model(Path(gymnasium_mujoco.__path__[0]) / "assets" / file_name, edit)


def load_model(path: Path, edit: Callable[[Any], None] | None = None) -> Any:
    """Return the ``mujoco.MjModel`` of an MJCF file, changed by ``edit`` as an ``MjSpec`` if given.

    MuJoCo 4 deprecates the compiler attribute ``settotalmass`` with a warning on stderr and a
    ``MUJOCO_LOG.TXT`` in the working folder at every load; it is applied here to the compiled
    model instead, which gives the same bits. Such a file, and one that is edited, must not refer to
    others by relative path.
    """
    text = path.read_text(encoding="utf-8")
    match = _TOTAL_MASS.search(text)
    if match is None and edit is None:
        return mujoco.MjModel.from_xml_path(str(path))
    spec = mujoco.MjSpec.from_string(_TOTAL_MASS.sub("", text))
    if edit is not None:
        edit(spec)
    model = spec.compile()
    if match is not None:
        mujoco.mj_setTotalmass(model, float(match[1]))
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


class MujocoBatch(BatchEnv):
    """The physics of a world: ``num_envs`` simulations of one model.

    A subclass calls ``__init__`` with its model and then defines ``_reset``, ``_step`` and
    ``_observe`` on the attributes below.

    Attributes:
        model: the ``mujoco.MjModel`` all lanes share.
        batch: the ``mujoco.batch.Batch``.
        dt: seconds of simulated time in one step of the world.
        qpos: live view of the positions, float64 (num_envs, nq).
        qvel: live view of the velocities, float64 (num_envs, nv).
        motion: live view of both side by side, float64 (num_envs, nq + nv).
        ctrl: live view of the controls, float64 (num_envs, nu).
        failed: bool (num_envs,), lanes whose simulation broke down in this episode: MuJoCo met a
            huge or non-finite value and put the lane back to its defaults, or raised an error.
    """

    camera_name: ClassVar[str] = "track"
    frame_size: ClassVar[tuple[int, int]] = (480, 480)
    """Height and width of what ``render`` draws, in pixels."""

    def __init__(
        self,
        model: Any,
        frame_skip: int,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        *,
        persistent: bool = False,
    ) -> None:
        """Make the simulations.

        Args:
            model: the ``mujoco.MjModel``.
            frame_skip: physics steps in one step of the world.
            num_envs: number of lanes.
            max_episode_steps: as in ``BatchEnv``.
            num_threads: threads that share the lanes; results do not depend on it.
            persistent: keep one ``MjData`` a lane, for worlds that read what a step leaves there
                and ``bind`` cannot give (contacts). Costs memory and a few per cent of speed.
        """
        super().__init__(num_envs, max_episode_steps)
        if num_threads < 1:
            raise ConfigError(f"num_threads must be at least 1, got {num_threads}")
        self.model = model
        self.frame_skip = frame_skip
        self.dt = float(model.opt.timestep) * frame_skip
        self.batch = Batch(model, num_envs, min(num_threads, num_envs), persistent)
        self.qpos: FloatArray = self.batch.bind("qpos")
        self.qvel: FloatArray = self.batch.bind("qvel")
        self.ctrl: FloatArray = self.batch.bind("ctrl")
        self.motion = self._motion_view()
        self.failed: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        self._warnings: npt.NDArray[np.int32] = self.batch.warning[:, :, 1]
        self._camera: OffscreenCamera | None = None
        self._drawn: Any = None

    def _motion_view(self) -> FloatArray:
        """Return positions and velocities as one view; MuJoCo stores them side by side."""
        first = (self.qpos.ctypes.data - self.batch.state.ctypes.data) // self.qpos.itemsize
        last = first + self.model.nq + self.model.nv
        motion: FloatArray = self.batch.state[:, first:last]
        if motion[:, self.model.nq :].ctypes.data != self.qvel.ctypes.data:
            raise RuntimeError("this version of MuJoCo does not store qvel next to qpos")
        return motion

    def bind(self, name: str) -> Array:
        """Return a live, read-only view of a derived field, (num_envs, ...), e.g. ``xpos``.

        As after ``mj_step``, it describes the state before the last physics step.
        """
        field: Array = self.batch.bind(name)
        return field

    def _place(self, ids: IntArray, qpos: FloatArray, qvel: FloatArray) -> None:
        """Start episodes in the lanes ``ids`` at the given state, all else at its default.

        Args:
            ids: lane numbers, in any order.
            qpos: (len(ids), nq).
            qvel: (len(ids), nv).
        """
        lanes = np.sort(ids)
        self.batch.reset(lanes, stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        self.qpos[ids] = qpos
        self.qvel[ids] = qvel
        self.batch.forward(lanes)
        self.failed[ids] = False

    def _advance(self, ctrl: Array, active: BoolArray | None) -> IntArray:
        """Hold ``ctrl`` for ``frame_skip`` physics steps in the active lanes; update ``failed``.

        Args:
            ctrl: (num_envs, nu); MuJoCo clips what it applies to the actuators' range.
            active: bool (num_envs,), or None for all.

        Returns:
            The lanes that were advanced.
        """
        lanes = self._all if active is None else np.flatnonzero(active)
        self.ctrl[:] = ctrl
        raised = None
        try:
            self._run(None if active is None else lanes)
        except SimulationError as error:
            raised = error.ids
        if self._warnings.any():
            self.failed |= self._warnings[:, _DIVERGED].any(axis=1)
        if raised is not None:
            self.failed[raised] = True
        return lanes

    def _run(self, ids: IntArray | None) -> None:
        """Take the physics steps of one step of the world in the lanes ``ids`` (None: all)."""
        self.batch.step(ids, nstep=self.frame_skip)

    def render(self, lane: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one lane off-screen with the model's tracking camera: (480, 480, 3) uint8.

        Raises:
            PkubenchError: no OpenGL can be found; the message names the Debian packages.
        """
        if self._camera is None:
            self._camera = OffscreenCamera(self.model, self.camera_name, *self.frame_size)
            self._drawn = mujoco.MjData(self.model)
        self.batch.get_data(lane, self._drawn)
        # get_data brings the state; where the bodies are then has to be computed.
        mujoco.mj_forward(self.model, self._drawn)
        return self._camera.draw(self._drawn)

    def close(self) -> None:
        """Release the renderer. The simulations go when the world does."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
