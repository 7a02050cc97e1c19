"""The scene of grasping on MuJoCo Warp: many worlds on one GPU, or on a CPU for tests.

The model is the one that ``mujoco.batch`` simulates: compiled once, with the fields of each world's
object in its own row. State and observations are torch tensors on Warp's own memory: nothing is
copied to the host, and what is read after a step is what the next step overwrites.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import mujoco
import numpy as np

from pkubench.envs.core.seeding import IntArray
from pkubench.envs.grasp.grasp_scene import FORCE_N, TORQUE_NM
from pkubench.envs.grasp.hands import SHADOW, Hand, read_hand
from pkubench.envs.grasp.items import Solid
from pkubench.envs.grasp.observations import FORCE_SCALE, LIMIT, VELOCITY_SCALE, Layout
from pkubench.envs.grasp.scene import HAND_JOINT, OBJECT, SUBSTEPS, SceneSettings
from pkubench.envs.grasp.settings import number, whole
from pkubench.envs.grasp.slots import Slots, compile_slots
from pkubench.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from torch import Tensor

_NOT_BATCHED: Final = (
    "geom_contype",
    "geom_conaffinity",
    "geom_sameframe",
    "body_sameframe",
    "dof_M0",
)
"""Fields of slots that Warp has once for all worlds, or not at all."""
CONTACTS, ROWS = 96, 384
"""Contacts and constraint rows of a world, at most: a hand that closes on 16 parts has fewer."""


class WarpScene:
    """Worlds with a hand, a table and one object each.

    Attributes:
        qpos: (worlds, nq) float32 tensor, as are the others; write to it between steps.
        qvel: (worlds, nv).
        ctrl: (worlds, nu).
        xpos: (worlds, bodies, 3).
        xquat: (worlds, bodies, 4), w first.
        layout: where each quantity is in a state observation.
    """

    def __init__(
        self,
        items: Sequence[Solid],
        worlds: int,
        *,
        hand: str | Hand = SHADOW,
        friction: float = 1.0,
        device: str | None = None,
    ) -> None:
        """Compile the scene and put it on the device; all worlds have the first object.

        Args:
            items: the objects at their scales.
            worlds: how many.
            hand: "shadow", the path of an MJCF file, or a ``Hand``.
            friction: of hand, objects and table.
            device: of Warp, ``cuda:0`` or ``cpu``; None: its preferred one.

        Raises:
            ConfigError: there are no objects or no worlds, or another setting that cannot be.
            MissingExtra: mujoco-warp or torch is not installed.
        """
        worlds = whole("worlds", worlds, 1)
        friction = number("friction", friction, 0.0)
        if not items or not all(isinstance(item, Solid) for item in items):
            raise ConfigError("items must be objects of convex parts (Solid), at least one")
        try:
            import mujoco_warp
            import torch
            import warp
        except ImportError as error:
            raise MissingExtra("warp", "MuJoCo Warp") from error
        self._warp, self._physics, self._torch = warp, mujoco_warp, torch
        self.hand, self.items = read_hand(hand), tuple(items)
        settings = SceneSettings(hand=self.hand, friction=friction)
        self.slots = compile_slots(settings, self.items)
        self.model = _all_slots_touch(self.slots)
        self._device = warp.get_device(device)
        fields = [name for name in self.slots.rows if name not in _NOT_BATCHED]
        with warp.ScopedDevice(self._device):
            sizes = dict.fromkeys(fields, worlds)
            self._m = mujoco_warp.put_model(self.model, batch_sizes=sizes)
            self._d = mujoco_warp.make_data(self.model, nworld=worlds, nconmax=CONTACTS, njmax=ROWS)
        self._fields = {name: warp.to_torch(getattr(self._m, name)) for name in fields}
        names = ("qpos", "qvel", "ctrl", "xpos", "xquat", "xfrc_applied", "cvel", "subtree_com")
        views = {name: warp.to_torch(getattr(self._d, name)) for name in names}
        self.qpos: Tensor = views["qpos"]
        self.qvel: Tensor = views["qvel"]
        self.ctrl: Tensor = views["ctrl"]
        self.xpos: Tensor = views["xpos"]
        self.xquat: Tensor = views["xquat"]
        self._wrench, self._cvel = views["xfrc_applied"], views["cvel"]
        self._center = views["subtree_com"]
        self._torque = warp.to_torch(self._d.qfrc_actuator)
        self._felt = warp.to_torch(self._d.sensordata)
        self._find_parts()
        self.put(np.arange(worlds), np.zeros(worlds, dtype=np.int64))

    def _find_parts(self) -> None:
        model, device = self.model, self.qpos.device
        self._palm = model.body(self.hand.palm).id
        self._tips = [model.body(name).id for name in self.hand.fingertips]
        joints = np.flatnonzero(model.jnt_type != 0)
        self._joint_qpos = model.jnt_qposadr[joints].tolist()
        self._joint_dofs = model.jnt_dofadr[joints].tolist()
        self._object = int(model.joint(OBJECT).qposadr[0])
        self._object_dof = int(model.joint(OBJECT).dofadr[0])
        self._root = int(model.joint(HAND_JOINT).qposadr[0])
        self.layout = Layout.of(len(joints), len(self._tips), model.nu)

        def tensor(values: Any) -> Tensor:
            kind = self.qpos.dtype
            made: Tensor = self._torch.as_tensor(np.asarray(values), dtype=kind, device=device)
            return made

        low, high = model.jnt_range[joints].T
        self._joint_low, self._joint_span = tensor(low), tensor(np.where(high > low, high - low, 1))
        low, high = model.actuator_ctrlrange.T
        self._low, self._span = tensor(low), tensor(high - low)
        self._palm_point = tensor(self.hand.palm_point)
        self._tip_center = tensor(model.body_ipos[self._tips])
        self._tip_weight = tensor(-model.body_mass[self._tips, None] * model.opt.gravity)

    def put(self, worlds: IntArray, objects: IntArray) -> None:
        """Give worlds objects by number; their states stay as they are."""
        where = self._torch.as_tensor(np.asarray(worlds), device=self.qpos.device)
        for name, field in self._fields.items():
            rows = self.slots.rows[name][np.asarray(objects)]
            place = self.slots.place[name]
            shape = (len(rows), rows.shape[1], *field.shape[2:])
            values = self._torch.as_tensor(rows.reshape(shape), dtype=field.dtype)
            field[where, place] = values.to(field.device)
        if "geom_dataid" in self._fields:
            self._hide_fillers(where, np.asarray(objects))

    def _hide_fillers(self, where: Tensor, objects: IntArray) -> None:
        """Put unused slots, which cannot be switched off here, inside the object's first part."""
        place = self.slots.place["geom_pos"]
        position = self.slots.rows["geom_pos"][objects]
        is_unused = self.slots.rows["geom_contype"][objects] == 0
        hidden = np.where(is_unused[..., None], position[:, :1], position)
        field = self._fields["geom_pos"]
        field[where, place] = self._torch.as_tensor(hidden, dtype=field.dtype, device=field.device)

    def forward(self) -> None:
        """Compute where everything is, from ``qpos`` and ``qvel``."""
        with self._scope():
            self._physics.forward(self._m, self._d)

    def step(self, action: Tensor) -> None:
        """Take a step of 1/60 s.

        Args:
            action: (worlds, 6 + nu) in [-1, 1]: force, torque, joint targets, as ``GraspBatch``.
        """
        action = action.clamp(-1.0, 1.0)
        self._wrench[:, self._palm, :3] = FORCE_N * action[:, :3]
        self._wrench[:, self._palm, 3:] = TORQUE_NM * action[:, 3:6]
        self.ctrl[:] = self._low + 0.5 * (action[:, 6:] + 1.0) * self._span
        self.simulate(SUBSTEPS)

    def simulate(self, steps: int) -> None:
        """Take physics steps of 1/120 s; positions and velocities of bodies are then up to date."""
        with self._scope():
            for _ in range(steps):
                self._physics.step(self._m, self._d)
            # A step leaves where bodies were before it. They do not depend on contacts.
            self._physics.fwd_kinematics(self._m, self._d)
            self._physics.com_vel(self._m, self._d)

    def _scope(self) -> Any:
        """Return the context of Warp's work: after what torch does now, and before what it will."""
        if not self._device.is_cuda:
            return self._warp.ScopedDevice(self._device)
        return self._warp.ScopedStream(self._warp.stream_from_torch(self.qpos.device))

    def observe(self, action: Tensor, goal: Tensor, code: Tensor) -> Tensor:
        """Return the state observations, (worlds, 300) float32, a new tensor on the device.

        Args:
            action: the previous one, (worlds, 6 + nu).
            goal: (worlds, 3) in m.
            code: 0.1 x the geometry codes, (worlds, 64).
        """
        layout, torch = self.layout, self._torch
        found: Tensor = torch.zeros((len(self.qpos), layout.size), device=self.qpos.device)
        angles = self.qpos[:, self._joint_qpos] - self._joint_low
        found[:, layout.joint_position] = 2.0 * angles / self._joint_span - 1.0
        found[:, layout.joint_velocity] = VELOCITY_SCALE * self.qvel[:, self._joint_dofs]
        found[:, layout.joint_force] = FORCE_SCALE * self._torque[:, self._joint_dofs]
        position, turn = self.xpos[:, self._tips], self.xquat[:, self._tips]
        spin, velocity = self._cvel[:, self._tips].split(3, dim=-1)
        arm = position - self._center[:, self._palm, None]
        velocity = velocity + torch.linalg.cross(spin, arm)
        tips = torch.cat((position, turn[..., 1:], turn[..., :1], velocity, spin), dim=-1)
        found[:, layout.fingertips] = tips.flatten(1)
        found[:, layout.fingertip_force] = FORCE_SCALE * self._tip_forces(turn)
        root = self.xquat[:, self._palm]
        point = self._palm_point.expand(len(root), 3)
        found[:, layout.palm] = self.xpos[:, self._palm] + _rotate(root, point)
        found[:, layout.hand_rotation] = _euler_xyz(root)
        found[:, layout.action] = action
        at, dof = self._object, self._object_dof
        quat = self.qpos[:, at + 3 : at + 7]
        found[:, layout.object_position] = self.qpos[:, at : at + 3]
        found[:, layout.object_quaternion] = quat[:, [1, 2, 3, 0]]
        found[:, layout.object_velocity] = self.qvel[:, dof : dof + 3]
        rolled = _rotate(quat, self.qvel[:, dof + 3 : dof + 6])
        found[:, layout.object_spin] = VELOCITY_SCALE * rolled
        found[:, layout.goal] = goal - self.qpos[:, at : at + 3]
        found[:, layout.code] = code
        return found.clamp_(-LIMIT, LIMIT)

    def _tip_forces(self, turn: Tensor) -> Tensor:
        """Return force and torque on fingertips without their weight, (worlds, 6 n)."""
        felt = self._felt.reshape(len(turn), -1, 2, 3).clone()
        back = turn * turn.new_tensor([1.0, -1.0, -1.0, -1.0])
        carried = _rotate(back, self._tip_weight.expand(len(turn), -1, 3))
        felt[:, :, 0] -= carried
        felt[:, :, 1] -= self._torch.linalg.cross(self._tip_center.expand_as(carried), carried)
        both: Tensor = felt.flatten(1)
        return both


def _all_slots_touch(slots: Slots) -> Any:
    """Return the model with every slot of the object touching, as Warp has no say by world.

    It has no middle phase either, which could be switched off.
    """
    model, place = copy.copy(slots.model), slots.place["geom_contype"]
    model.geom_contype[place] = slots.rows["geom_contype"].max()
    model.geom_conaffinity[place] = slots.rows["geom_conaffinity"].max()
    model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
    return model


def _rotate(quat: Tensor, vector: Tensor) -> Tensor:
    """Return vectors (..., 3) turned by unit quaternions (..., 4), w first."""
    w, v = quat[..., :1], quat[..., 1:]
    twice = 2.0 * v.cross(vector, dim=-1)
    turned: Tensor = vector + w * twice + v.cross(twice, dim=-1)
    return turned


def _euler_xyz(quat: Tensor) -> Tensor:
    """Return roll, pitch and yaw in rad, (n, 4) to (n, 3), as ``rotations.euler_xyz``."""
    import torch

    w, x, y, z = quat.unbind(1)
    roll = torch.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    pitch = torch.asin((2.0 * (w * y - z * x)).clamp(-1.0, 1.0))
    yaw = torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return torch.stack((roll, pitch, yaw), dim=1)
