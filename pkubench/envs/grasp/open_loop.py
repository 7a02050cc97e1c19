"""A grasp as a script: where the wrist goes, how the hand closes, and then up.

A script is open loop in the object: it looks once, at the first observation, where the object is.
The wrist is tracked from its own observed pose through the environment's ordinary actions, so that
episodes of scripts are episodes that any policy can imitate.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import Array, BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.grasp.grasp_batch import FORCE_N, TORQUE_NM
from pkubench.envs.grasp.hands import SHADOW_HAND
from pkubench.envs.grasp.observations import Layout
from pkubench.envs.grasp.rotations import conjugate, multiply, rotate
from pkubench.envs.grasp.scene import ANGULAR_DAMPING, LINEAR_DAMPING

OFFSET: Final = slice(0, 3)
"""Palm minus object when the hand closes, in m."""
TURN: Final = slice(3, 6)
"""Rotation of the wrist from where it starts, as a vector in rad."""
JOINTS: Final = slice(6, 24)
"""Joint targets of the closed hand, in units of actions, [-1, 1]."""
SCRIPT_SIZE: Final = 24

REACH_STEPS, CLOSE_STEPS, LIFT_STEPS = 40, 30, 40
SETTLE_STEPS = 5
"""At the end of reaching and lifting the wrist already waits."""
SQUEEZE_STEPS = 10
"""Within closing, the joints wait at their targets."""
LIFT_M: Final = 0.2

_ACTUATED: Final = np.array([0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, *range(17, 22)])
"""Joints that have an actuator, among those observed: all but the last of four fingers."""
_THUMB_BASE: Final = 13
"""The thumb opposes from the start, so that it does not push the object away later."""
_HAND_KG: Final = 4.311
_POSITION_GAIN, _ROTATION_GAIN = 10.0, 8.0
"""In 1/s: the speed wanted for each meter or radian of error."""
_LAYOUT: Final = Layout.of(joints=22, fingertips=5, actuators=18)


class ScriptState(NamedTuple):
    """What a script remembers: the step, and what the first observation showed."""

    step: int
    object: FloatArray
    """(episodes, 3) in m."""
    root: FloatArray
    """Where the wrist started, (episodes, 3) in m."""
    turn: FloatArray
    """How it was turned, (episodes, 4)."""
    open: FloatArray
    """Joints of the open hand in units of actions, (episodes, 18)."""


class ScriptAgent:
    """Plays scripts with the ShadowHand."""

    def __init__(self, scripts: npt.ArrayLike) -> None:
        """Take one script for all episodes, (24,), or one for each, (episodes, 24)."""
        self.scripts: FloatArray = np.atleast_2d(np.asarray(scripts, dtype=np.float64))

    def begin(self, seeds: IntArray) -> ScriptState | None:
        """Start episodes; all is known from the first observation."""
        return None

    def act(
        self, observation: Any, state: ScriptState | None, active: BoolArray
    ) -> tuple[Array, ScriptState]:
        """Return the next actions, (episodes, 24) float32, and the state."""
        seen = np.asarray(observation, dtype=np.float64)
        root, turn = _wrist(seen)
        if state is None:
            joints = seen[:, _LAYOUT.joint_position][:, _ACTUATED]
            state = ScriptState(0, seen[:, _LAYOUT.object_position], root, turn, joints)
        wanted_root, wanted_turn, joints = self._wanted(state)
        speed = _POSITION_GAIN * (wanted_root - root)
        rest = multiply(wanted_turn, conjugate(turn))
        spin = 2.0 * _ROTATION_GAIN * np.where(rest[:, :1] < 0.0, -rest[:, 1:], rest[:, 1:])
        action = np.concatenate(
            (
                LINEAR_DAMPING * _HAND_KG / FORCE_N * speed,
                ANGULAR_DAMPING / TORQUE_NM * spin,
                joints,
            ),
            axis=1,
        )
        return np.clip(action, -1.0, 1.0).astype(np.float32), state._replace(step=state.step + 1)

    def _wanted(self, state: ScriptState) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return position and rotation of the wrist, and the joints, that a step asks for."""
        count = len(state.object)
        scripts = np.broadcast_to(self.scripts, (count, SCRIPT_SIZE))
        turn = multiply(_quaternions(scripts[:, TURN]), state.turn)
        palm = rotate(turn, np.array(SHADOW_HAND.palm_point))
        grasp = state.object + scripts[:, OFFSET] - palm
        reached = min(1.0, state.step / (REACH_STEPS - SETTLE_STEPS))
        root = state.root + reached * (grasp - state.root)
        lifted = (state.step - REACH_STEPS - CLOSE_STEPS) / (LIFT_STEPS - SETTLE_STEPS)
        root[:, 2] += LIFT_M * min(1.0, max(0.0, lifted))
        closed = (state.step - REACH_STEPS) / (CLOSE_STEPS - SQUEEZE_STEPS)
        targets = np.clip(scripts[:, JOINTS], -1.0, 1.0)
        joints = state.open + min(1.0, max(0.0, closed)) * (targets - state.open)
        joints[:, _THUMB_BASE] = targets[:, _THUMB_BASE]
        return root, turn, joints


def _wrist(seen: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return position (n, 3) and rotation (n, 4) of the wrist from observations."""
    half = 0.5 * seen[:, _LAYOUT.hand_rotation]
    about = np.zeros((3, len(seen), 4))
    about[:, :, 0] = np.cos(half).T
    for axis in range(3):
        about[axis, :, 1 + axis] = np.sin(half[:, axis])
    turn = multiply(about[2], multiply(about[1], about[0]))
    root = seen[:, _LAYOUT.palm] - rotate(turn, np.array(SHADOW_HAND.palm_point))
    return root, turn


def _quaternions(vectors: FloatArray) -> FloatArray:
    """Return the rotations by vectors in rad, (n, 3) to (n, 4)."""
    angle = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    axis = vectors / np.where(angle > 0.0, angle, 1.0)
    quat: FloatArray = np.concatenate((np.cos(angle / 2), np.sin(angle / 2) * axis), axis=1)
    return quat
