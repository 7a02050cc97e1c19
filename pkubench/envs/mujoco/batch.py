"""Environments whose state is a MuJoCo simulation: many copies of one model on ``mujoco.batch``.

An environment derives from ``MujocoBatch``, starts episodes with ``_place``, advances with
``_advance`` and reads the state through live views (``qpos``, ``qvel``, ``bind``). Results are
bit-identical to one ``mujoco.MjData`` an environment, for any number of environments and threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco.batch import Batch, SimulationError

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.mujoco.camera import OffscreenCamera
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
    A program that uses these environments finds zeros in ``MjData.timer``, unless it sets a clock.
    """
    for library in Path(mujoco.__path__[0]).glob("libmujoco.*"):
        # The library may lack the variable in another version: then the clock continues.
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


@dataclass(frozen=True, slots=True)
class _ViewAt:
    """What stands for a live view in a copied or pickled environment: its place in a buffer."""

    buffer: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, array: Array, buffers: Mapping[str, Array]) -> _ViewAt | None:
        """Return where ``array`` lies, None if it is not a view of any of the buffers."""
        start = array.ctypes.data
        for name, buffer in buffers.items():
            offset = start - buffer.ctypes.data
            if array.size and 0 <= offset < buffer.nbytes:
                return cls(name, offset, array.shape, array.strides, array.dtype.str)
        return None

    def on(self, buffers: Mapping[str, Array]) -> Array:
        """Return the same view of another batch's buffers; read-only where they are."""
        buffer = buffers[self.buffer]
        return np.ndarray(self.shape, self.dtype, buffer, self.offset, self.strides)


def _replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    """Return ``value``, and what lists, tuples and dictionaries in it hold, through ``replace``."""
    if type(value) is dict:
        return {key: _replaced(item, replace) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(item, replace) for item in value)
    return replace(value)


class MujocoBatch(BatchEnv):
    """The physics of an environment: ``num_envs`` simulations of one model.

    A subclass calls ``__init__`` with its model and then defines ``_reset``, ``_step`` and
    ``_observe`` on the attributes below.

    It can be copied and pickled at any moment. Its attributes may hold live views (of ``bind``,
    ``expand`` and the attributes below), whole or in part, directly or in lists, tuples and
    dictionaries: a copy's are views of its own simulations. An open camera is not copied.

    Attributes:
        model: the ``mujoco.MjModel`` all environments share.
        batch: the ``mujoco.batch.Batch``.
        dt: seconds of simulated time in one step of the environment.
        qpos: live view of the positions, float64 (num_envs, nq).
        qvel: live view of the velocities, float64 (num_envs, nv).
        motion: live view of both side by side, float64 (num_envs, nq + nv).
        ctrl: live view of the controls, float64 (num_envs, nu).
        failed: bool (num_envs,), environments whose simulation broke down in this episode: MuJoCo
            met a huge or non-finite value and put the environment back to its defaults, or raised
            an error.
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
            frame_skip: physics steps in one step of the environment.
            num_envs: number of environments.
            max_episode_steps: as in ``BatchEnv``.
            num_threads: threads that share the environments; results do not depend on it.
            persistent: keep one ``MjData`` an environment, for classes that read what a step
                leaves there and ``bind`` cannot give (contacts). Costs memory and a few per cent of
                speed.
        """
        super().__init__(num_envs, max_episode_steps)
        if num_threads < 1:
            raise ConfigError(f"num_threads must be at least 1, got {num_threads}")
        self.model = model
        self.frame_skip = frame_skip
        self.dt = float(model.opt.timestep) * frame_skip
        self.batch = Batch(model, num_envs, min(num_threads, num_envs), persistent)
        self._bound: dict[str, Array] = {}
        self._expanded: dict[str, Array] = {}
        self.qpos: FloatArray = self.batch.bind("qpos")
        self.qvel: FloatArray = self.batch.bind("qvel")
        self.ctrl: FloatArray = self.batch.bind("ctrl")
        self.motion = self._motion_view()
        self.failed: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        self._warnings: npt.NDArray[np.int32] = self.batch.warning[:, :, 1]
        self._camera: Any = None
        """What draws, made when a picture is wanted; it can be closed."""
        self._scratch: Any = None

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
        if not field.flags.writeable:  # the others are parts of ``batch.state``
            self._bound[name] = field
        return field

    def expand(self, name: str) -> Array:
        """Give a field of the model a value of its own in each environment.

        Returns:
            Their live values, (num_envs, ...).
        """
        self._expanded[name] = self.batch.expand(name)
        return self._expanded[name]

    def _buffers(self) -> dict[str, Array]:
        """Return the arrays that hold all a simulation is, and what was read from it last."""
        return {
            "state": self.batch.state,
            "warning": self.batch.warning,
            **{f"bind {name}": field for name, field in self._bound.items()},
            **{f"expand {name}": field for name, field in self._expanded.items()},
        }

    def __getstate__(self) -> dict[str, Any]:
        """Return what makes a copy: numbers, and the places of live views instead of the views.

        Of a ``persistent`` batch the ``MjData`` is not among it: what a step leaves there is read
        in that step.
        """
        buffers = self._buffers()

        def placed(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return _ViewAt.of(value, buffers) or value
            return value

        hidden = ("batch", "_bound", "_expanded")
        state = {key: value for key, value in vars(self).items() if key not in hidden}
        state |= {"_camera": None, "_scratch": None}
        return {
            "attributes": _replaced(state, placed),
            "batch": (self.batch.nthread, self.batch.persistent),
            "fields": (tuple(self._bound), tuple(self._expanded)),
            "buffers": {name: buffer.copy() for name, buffer in buffers.items()},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the simulations of a copy and put them where the original's are."""
        attributes = state["attributes"]
        self.batch = Batch(attributes["model"], attributes["num_envs"], *state["batch"])
        bound, expanded = state["fields"]
        self._bound = {name: self.batch.bind(name) for name in bound}
        self._expanded = {name: self.batch.expand(name) for name in expanded}
        buffers = self._buffers()
        for name, values in state["buffers"].items():
            _write(buffers[name], values)
        vars(self).update(
            _replaced(attributes, lambda v: v.on(buffers) if isinstance(v, _ViewAt) else v)
        )

    def _place(self, ids: IntArray, qpos: FloatArray, qvel: FloatArray) -> None:
        """Start episodes in the environments ``ids`` at the given state, all else at its default.

        Args:
            ids: environment indices, in any order.
            qpos: (len(ids), nq).
            qvel: (len(ids), nv).
        """
        indices = np.sort(ids)
        self.batch.reset(indices, stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        self.qpos[ids] = qpos
        self.qvel[ids] = qvel
        self.batch.forward(indices)
        self.failed[ids] = False

    def _advance(self, ctrl: Array, active: BoolArray | None) -> IntArray:
        """Hold ``ctrl`` for ``frame_skip`` physics steps where active; update ``failed``.

        Args:
            ctrl: (num_envs, nu); MuJoCo clips what it applies to the actuators' range.
            active: bool (num_envs,), or None for all.

        Returns:
            The environments that were advanced.
        """
        indices = self._all if active is None else np.flatnonzero(active)
        self.ctrl[:] = ctrl
        raised = None
        try:
            self._run(None if active is None else indices)
        except SimulationError as error:
            raised = error.ids
        if self._warnings.any():
            self.failed |= self._warnings[:, _DIVERGED].any(axis=1)
        if raised is not None:
            self.failed[raised] = True
        return indices

    def _run(self, ids: IntArray | None) -> None:
        """Take the physics steps of one step in the environments ``ids`` (None: all)."""
        self.batch.step(ids, nstep=self.frame_skip)

    def _data_of(self, index: int) -> Any:
        """Return one simulation's ``MjData`` in a shared copy, which the next call overwrites."""
        if self._scratch is None:
            self._scratch = mujoco.MjData(self.model)
        return self.batch.get_data(index, self._scratch)

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment off-screen with the model's tracking camera: (480, 480, 3) uint8.

        Raises:
            PkubenchError: no OpenGL can be found; the message names the Debian packages.
        """
        if self._camera is None:
            self._camera = OffscreenCamera(self.model, self.camera_name, *self.frame_size)
        data = self._data_of(index)
        # It has the state; where the bodies are then has to be computed.
        mujoco.mj_forward(self.model, data)
        picture: npt.NDArray[np.uint8] = self._camera.draw(data)
        return picture

    def close(self) -> None:
        """Release the renderer. The simulations go when the environment does."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None


def _write(buffer: Array, values: Array) -> None:
    """Write to one of a batch's arrays, also to those it hands out for reading only.

    Raises:
        ConfigError: the values are those of another version of MuJoCo.
    """
    if buffer.shape != values.shape or buffer.dtype != values.dtype:
        raise ConfigError(
            f"the environment was saved by another version of MuJoCo than {mujoco.__version__}: "
            f"its simulations are {values.dtype} {values.shape}, wanted {buffer.dtype} "
            f"{buffer.shape}; install that version, or make it from its id"
        )
    ctypes.memmove(buffer.ctypes.data, np.ascontiguousarray(values).ctypes.data, buffer.nbytes)
