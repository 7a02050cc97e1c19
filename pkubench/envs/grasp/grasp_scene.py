"""The simulation of grasping: hand and object in a batch, what acts on them and what is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import Array, BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.grasp.hands import read_hand
from pkubench.envs.grasp.items import Ball, Item, Solid
from pkubench.envs.grasp.kinematics import Kinematics
from pkubench.envs.grasp.observations import FORCE_SCALE, VELOCITY_SCALE, Layout
from pkubench.envs.grasp.picture import ScenePicture
from pkubench.envs.grasp.rotations import euler_xyz, rotate
from pkubench.envs.grasp.scene import (
    HAND_JOINT,
    OBJECT,
    SUBSTEPS,
    SceneSettings,
    compile_scene,
)
from pkubench.envs.grasp.settings import number
from pkubench.envs.grasp.slots import compile_slots
from pkubench.envs.grasp.state import GraspState, reach_below_root, tip_forces, tip_states
from pkubench.envs.mujoco.batch import MujocoBatch
from pkubench.errors import ConfigError

CONTROL_S = 1.0 / 60.0
FORCE_N = CONTROL_S * 0.5 * 100_000.0
"""Force on the palm at full action: 833.3 N."""
TORQUE_NM = CONTROL_S * 0.1 * 1_000.0
"""Torque on the palm at full action: 1.667 N m."""


class GraspScene(MujocoBatch):
    """Simulations of a hand, a table and one object each, of several that there are.

    Attributes:
        hand: the ``Hand``.
        items: the objects, by number.
        object: the number of each environment's object, (num_envs,).
        layout: where each quantity is in a state observation.
        reach_down_m: how far the open hand reaches below its root when an episode starts.
    """

    def __init__(
        self,
        items: Sequence[Item],
        num_envs: int,
        max_episode_steps: int | None,
        num_threads: int,
        *,
        hand: Any,
        friction: Any,
    ) -> None:
        """Compile the scene and make the simulations; see ``GraspBatch``."""
        if not items:
            raise ConfigError("no objects to grasp; give at least one")
        self.hand, self.items = read_hand(hand), tuple(items)
        ball = self.items[0].radius if isinstance(self.items[0], Ball) else None
        friction = number("friction", friction, 0.0)
        self._settings = SceneSettings(hand=self.hand, friction=friction, ball_m=ball)
        self._slots = None
        solids = [item for item in self.items if isinstance(item, Solid)]
        if len(solids) == len(self.items):
            self._slots = compile_slots(self._settings, solids)
            model = self._slots.model
        elif len(self.items) == 1:
            model = compile_scene(self._settings)
        else:
            raise ConfigError("a ball is the only object of its scene")
        super().__init__(model, SUBSTEPS, num_envs, max_episode_steps, num_threads)
        self._find_parts()
        self.object: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._fields = {} if self._slots is None else self._slots.expand(self.expand)

    def _find_parts(self) -> None:
        """Find hand and object in the model, and bind what is read of them."""
        model, hand = self.model, self.hand
        self._palm = model.body(hand.palm).id
        self._tips = np.array([model.body(name).id for name in hand.fingertips])
        self._parts = np.array([self._palm, *self._tips])
        self._points = np.array([hand.palm_point, *[hand.tip_point] * len(self._tips)])
        self._tip_center = model.body_ipos[self._tips]
        self._tip_weight = -model.body_mass[self._tips, None] * model.opt.gravity
        joints = np.array([j for j in range(model.njnt) if model.jnt_type[j] != 0])
        self._joint_qpos, self._joint_dofs = model.jnt_qposadr[joints], model.jnt_dofadr[joints]
        self._joint_low, high = model.jnt_range[joints].T.copy()
        self._joint_span = np.where(high > self._joint_low, high - self._joint_low, 1.0)
        self._low, high = model.actuator_ctrlrange.T.copy()
        self._span = high - self._low
        self.layout = Layout.of(len(joints), len(self._tips), model.nu)
        self._root_at = int(model.joint(HAND_JOINT).qposadr[0])
        self._object_at = int(model.joint(OBJECT).qposadr[0])
        self._object_dof = int(model.joint(OBJECT).dofadr[0])
        self._wrench = self.bind("xfrc_applied")
        self._bodies = Kinematics(self._settings, self.num_envs, self.batch.nthread)
        self._torque, self._tip_force = self.bind("qfrc_actuator"), self.bind("sensordata")
        self.reach_down_m = reach_below_root(model, hand)

    def _start(
        self, ids: IntArray, objects: IntArray, hand_m: FloatArray, quat: FloatArray, at: FloatArray
    ) -> None:
        """Start episodes with the open hand above an object at rest.

        Args:
            ids: of the environments, (n,).
            objects: by number, (n,).
            hand_m: height of the hand's root, (n,).
            quat: of the object, (n, 4).
            at: height of the object's origin, (n,).
        """
        if self._slots is not None:
            self._slots.put(self._fields, ids, objects)
        self.object[ids] = objects
        qpos = np.tile(self.model.qpos0, (len(ids), 1))
        root, thing = self._root_at, self._object_at
        qpos[:, root : root + 2], qpos[:, root + 2] = 0.0, hand_m
        qpos[:, root + 3 : root + 7] = self.hand.start_quat
        high = self._joint_low + self._joint_span
        qpos[:, self._joint_qpos] = np.clip(0.0, self._joint_low, high)
        qpos[:, thing : thing + 2], qpos[:, thing + 2] = 0.0, at
        qpos[:, thing + 3 : thing + 7] = quat
        self._place(ids, qpos, np.zeros((len(ids), self.model.nv)))

    def _act(self, action: FloatArray, active: BoolArray | None) -> None:
        """Push, turn and close the hands for a step by actions in [-1, 1], (num_envs, 6 + nu)."""
        self._wrench[:, self._palm, :3] = FORCE_N * action[:, :3]
        self._wrench[:, self._palm, 3:] = TORQUE_NM * action[:, 3:6]
        self._advance(self._low + 0.5 * (action[:, 6:] + 1.0) * self._span, active)

    def grasp_state(self) -> GraspState:
        """Return where object, palm and fingertips are by ``qpos``, as new arrays."""
        self._bodies.update(self.qpos, self.qvel)
        parts, thing = self._parts, self._object_at
        position, quat = self._bodies.xpos[:, parts], self._bodies.xquat[:, parts]
        points = position + rotate(quat, self._points)
        motion = self.qpos[:, thing : thing + 7].copy()
        return GraspState(
            *(motion[:, :3], motion[:, 3:], points[:, 0], quat[:, 0]),
            *(points[:, 1:], position[:, 1:], quat[:, 1:]),
        )

    def _write_state(self, found: Array, state: GraspState) -> None:
        """Write what hand and object have to show into state observations, (num_envs, size)."""
        layout = self.layout
        angles = self.qpos[:, self._joint_qpos] - self._joint_low
        found[:, layout.joint_position] = 2.0 * angles / self._joint_span - 1.0
        found[:, layout.joint_velocity] = VELOCITY_SCALE * self.qvel[:, self._joint_dofs]
        found[:, layout.joint_force] = FORCE_SCALE * self._torque[:, self._joint_dofs]
        found[:, layout.fingertips] = tip_states(
            state, self._bodies.cvel[:, self._tips], self._bodies.subtree_com[:, self._palm]
        )
        found[:, layout.fingertip_force] = FORCE_SCALE * tip_forces(
            state, self._tip_force, self._tip_weight, self._tip_center
        )
        found[:, layout.palm] = state.palm
        found[:, layout.hand_rotation] = euler_xyz(state.palm_quaternion)
        found[:, layout.object_position] = state.object_position
        found[:, layout.object_quaternion] = state.object_quaternion[:, [1, 2, 3, 0]]
        dof = self._object_dof
        found[:, layout.object_velocity] = self.qvel[:, dof : dof + 3]
        spin = rotate(state.object_quaternion, self.qvel[:, dof + 3 : dof + 6])
        found[:, layout.object_spin] = VELOCITY_SCALE * spin

    def _goal_of(self, index: int) -> tuple[FloatArray | None, bool]:
        """Return where an environment's object is to be lifted to, if anywhere, and if it is."""
        return None, False

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment off-screen: (480, 480, 3) uint8.

        A clear ball is where the object's center is to be: blue, and green while it is there.

        Raises:
            PkubenchError: no OpenGL can be found; the message names the Debian packages.
        """
        item = self.items[int(self.object[index])]
        if self._camera is not None and self._camera.item is not item:
            self.close()
        if self._camera is None:
            self._camera = ScenePicture(self._settings, item, self.frame_size)
        goal, is_there = self._goal_of(index)
        picture: npt.NDArray[np.uint8] = self._camera.draw(self.qpos[index], goal, is_there)
        return picture
