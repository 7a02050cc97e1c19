"""Where the bodies of many hands are now, without contacts: a third of the time of asking MuJoCo.

What ``mujoco.batch`` leaves after a step describes the state before its last physics step. To have
it compute positions and velocities anew (``stage=mjSTAGE_VEL``) finds all contacts once more, and
makes a step 28 to 31 % dearer. Bodies do not depend on contacts: a scene with none gives the same
bits.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import mujoco
from mujoco.batch import Batch

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.grasp.scene import SceneSettings, compile_scene

_VELOCITIES = int(mujoco.mjtStage.mjSTAGE_VEL)
_FREE = mujoco.mjtJoint.mjJNT_FREE
_BALL_M = 0.05
"""Radius of what stands for the object. Where its body is does not depend on its shape."""


@functools.lru_cache(maxsize=4)
def _bare_model(settings: SceneSettings) -> Any:
    """Return the bodies, masses and joints of a scene, and nothing else: no geoms, no actuators."""
    scene = compile_scene(replace(settings, ball_m=_BALL_M))
    spec = mujoco.MjSpec()
    bodies = [spec.worldbody]
    for number in range(1, scene.nbody):
        body = bodies[scene.body_parentid[number]].add_body(
            pos=scene.body_pos[number],
            quat=scene.body_quat[number],
            explicitinertial=True,
            mass=scene.body_mass[number],
            ipos=scene.body_ipos[number],
            iquat=scene.body_iquat[number],
            inertia=scene.body_inertia[number],
        )
        first = scene.body_jntadr[number]
        for joint in range(first, first + scene.body_jntnum[number]):
            kind = mujoco.mjtJoint(int(scene.jnt_type[joint]))
            made = body.add_joint(type=kind, pos=scene.jnt_pos[joint], axis=scene.jnt_axis[joint])
            made.ref = scene.qpos0[scene.jnt_qposadr[joint]] if kind != _FREE else 0.0
        bodies.append(body)
    for bit in (mujoco.mjtDisableBit.mjDSBL_CONSTRAINT, mujoco.mjtDisableBit.mjDSBL_GRAVITY):
        spec.option.disableflags |= int(bit)
    return spec.compile()


class Kinematics:
    """Positions and velocities of bodies, as of the last ``update``.

    Attributes:
        xpos: (num_envs, bodies, 3) in m.
        xquat: (num_envs, bodies, 4), w first.
        cvel: MuJoCo's spin and velocity of bodies, (num_envs, bodies, 6).
        subtree_com: centers of mass of bodies and all that hangs on them, (num_envs, bodies, 3).
    """

    def __init__(self, settings: SceneSettings, num_envs: int, num_threads: int) -> None:
        """Make the simulations.

        Args:
            settings: of the scene; the bodies of all its objects are the same.
            num_envs: number of simulations.
            num_threads: threads that share them.
        """
        self._settings = settings
        self._batch = Batch(_bare_model(settings), num_envs, min(num_threads, num_envs))
        self._qpos, self._qvel = self._batch.bind("qpos"), self._batch.bind("qvel")
        self.xpos: FloatArray = self._batch.bind("xpos")
        self.xquat: FloatArray = self._batch.bind("xquat")
        self.cvel: FloatArray = self._batch.bind("cvel")
        self.subtree_com: FloatArray = self._batch.bind("subtree_com")

    def update(self, qpos: FloatArray, qvel: FloatArray) -> None:
        """Compute where all is with positions (num_envs, nq) and velocities (num_envs, nv)."""
        self._qpos[:], self._qvel[:] = qpos, qvel
        self._batch.forward(stage=_VELOCITIES)

    def __getstate__(self) -> tuple[SceneSettings, int, FloatArray, FloatArray]:
        """Return what makes a copy: settings and state."""
        return self._settings, self._batch.nthread, self._qpos.copy(), self._qvel.copy()

    def __setstate__(self, state: tuple[SceneSettings, int, FloatArray, FloatArray]) -> None:
        """Make the simulations of a copy, and compute where all is."""
        settings, num_threads, qpos, qvel = state
        Kinematics.__init__(self, settings, len(qpos), num_threads)
        self.update(qpos, qvel)
