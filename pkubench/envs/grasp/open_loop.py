"""A grasp as a script: where the wrist goes, how the hand closes, and then up.

A script is open loop in the object: it looks once, at the first observation, where the object and
its goal are.
The wrist is tracked from its own observed pose through the environment's ordinary actions, so that
episodes of scripts are episodes that any policy can imitate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import Array, BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.grasp_scene import FORCE_N, TORQUE_NM
from pkubench.envs.grasp.hands import SHADOW_HAND
from pkubench.envs.grasp.observations import Layout
from pkubench.envs.grasp.rotations import conjugate, multiply, rotate
from pkubench.envs.grasp.scene import ANGULAR_DAMPING, LINEAR_DAMPING
from pkubench.errors import ConfigError

OFFSET: Final = slice(0, 3)
"""Palm minus object when the hand closes, in m."""
TURN: Final = slice(3, 6)
"""Rotation of the wrist from where it starts, as a vector in rad."""
JOINTS: Final = slice(6, None)
"""Joint targets of the closed hand, in units of actions, [-1, 1]."""
SCRIPT_SIZE: Final = 24
"""Of the ShadowHand."""

REACH_STEPS, CLOSE_STEPS, LIFT_STEPS = 40, 30, 40
SETTLE_STEPS = 5
"""At the end of reaching and lifting the wrist already waits."""
SQUEEZE_STEPS = 10
"""Within closing, the joints wait at their targets."""

_POSITION_GAIN, _ROTATION_GAIN = 10.0, 8.0
"""In 1/s: the speed wanted for each meter or radian of error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grip:
    """What a script has to know of a hand."""

    layout: Layout
    """Of its state observations."""
    driven: tuple[int, ...]
    """The joint that each actuator turns, among those observed."""
    early: tuple[int, ...] = ()
    """Actuators that are at their targets from the start."""
    mass_kg: float
    palm_point: tuple[float, float, float]
    """As ``Hand.palm_point``."""


SHADOW_GRIP: Final = Grip(
    layout=Layout.of(joints=22, fingertips=5, actuators=18),
    # All joints but the last of four fingers. The thumb opposes from the start, so that it does not
    # push the object away later.
    driven=(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, *range(17, 22)),
    early=(13,),
    mass_kg=4.311,
    palm_point=SHADOW_HAND.palm_point,
)


def grip_of(env: GraspBatch) -> Grip:
    """Return what a script has to know of the hand of an environment.

    Raises:
        ConfigError: an actuator of the hand turns no joint.
    """
    if env.hand == SHADOW_HAND:
        return SHADOW_GRIP
    model = env.model
    if (model.actuator_trntype != int(mujoco.mjtTrn.mjTRN_JOINT)).any():
        raise ConfigError(f"scripts drive joints, and the hand {env.hand.path!r} has tendons")
    joints = [k for k in range(model.njnt) if model.jnt_type[k] != mujoco.mjtJoint.mjJNT_FREE]
    return Grip(
        layout=env.layout,
        driven=tuple(joints.index(k) for k in model.actuator_trnid[:, 0].tolist()),
        mass_kg=float(model.body(env.hand.palm).subtreemass[0]),
        palm_point=env.hand.palm_point,
    )


class ScriptState(NamedTuple):
    """What a script remembers: the step, and what the first observation showed."""

    step: int
    object: FloatArray
    """(episodes, 3) in m."""
    lift: FloatArray
    """From the object to its goal, (episodes, 3) in m."""
    root: FloatArray
    """Where the wrist started, (episodes, 3) in m."""
    turn: FloatArray
    """How it was turned, (episodes, 4)."""
    open: FloatArray
    """Joints of the open hand in units of actions, (episodes, actuators)."""


class ScriptAgent:
    """Plays scripts from observations of the state."""

    def __init__(
        self,
        scripts: npt.ArrayLike,
        grip: Grip = SHADOW_GRIP,
        reach_steps: int = REACH_STEPS,
    ) -> None:
        """Take scripts of a hand, the ShadowHand unless given.

        Args:
            scripts: one for all episodes, (6 + actuators,), or one for each, (episodes, ...).
            grip: of the hand, see ``grip_of``.
            reach_steps: steps until the hand closes; far turns of the wrist take more of them.
        """
        self.grip, self.reach_steps = grip, reach_steps
        self.scripts: FloatArray = np.atleast_2d(np.asarray(scripts, dtype=np.float64))

    def begin(self, seeds: IntArray) -> ScriptState | None:
        """Start episodes; all is known from the first observation."""
        return None

    def act(
        self, observation: Any, state: ScriptState | None, active: BoolArray
    ) -> tuple[Array, ScriptState]:
        """Return the next actions, (episodes, 6 + actuators) float32, and the state."""
        seen, layout = np.asarray(observation, dtype=np.float64), self.grip.layout
        root, turn = self._wrist(seen)
        if state is None:
            joints = seen[:, layout.joint_position][:, self.grip.driven]
            aim = seen[:, layout.object_position], seen[:, layout.goal]
            state = ScriptState(0, *aim, root, turn, joints)
        wanted_root, wanted_turn, joints = self._wanted(state)
        speed = _POSITION_GAIN * (wanted_root - root)
        rest = multiply(wanted_turn, conjugate(turn))
        spin = 2.0 * _ROTATION_GAIN * np.where(rest[:, :1] < 0.0, -rest[:, 1:], rest[:, 1:])
        action = np.concatenate(
            (
                LINEAR_DAMPING * self.grip.mass_kg / FORCE_N * speed,
                ANGULAR_DAMPING / TORQUE_NM * spin,
                joints,
            ),
            axis=1,
        )
        return np.clip(action, -1.0, 1.0).astype(np.float32), state._replace(step=state.step + 1)

    def _wanted(self, state: ScriptState) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return position and rotation of the wrist, and the joints, that a step asks for."""
        count = len(state.object)
        scripts = np.broadcast_to(self.scripts, (count, self.scripts.shape[1]))
        turn = multiply(_quaternions(scripts[:, TURN]), state.turn)
        palm = rotate(turn, np.array(self.grip.palm_point))
        grasp = state.object + scripts[:, OFFSET] - palm
        reached = min(1.0, state.step / (self.reach_steps - SETTLE_STEPS))
        root = state.root + reached * (grasp - state.root)
        closing = state.step - self.reach_steps
        lifted = (closing - CLOSE_STEPS) / (LIFT_STEPS - SETTLE_STEPS)
        root += min(1.0, max(0.0, lifted)) * state.lift
        closed = closing / (CLOSE_STEPS - SQUEEZE_STEPS)
        targets = np.clip(scripts[:, JOINTS], -1.0, 1.0)
        joints = state.open + min(1.0, max(0.0, closed)) * (targets - state.open)
        early = list(self.grip.early)
        joints[:, early] = targets[:, early]
        return root, turn, joints

    def _wrist(self, seen: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return position (n, 3) and rotation (n, 4) of the wrist from observations."""
        half = 0.5 * seen[:, self.grip.layout.hand_rotation]
        about = np.zeros((3, len(seen), 4))
        about[:, :, 0] = np.cos(half).T
        for axis in range(3):
            about[axis, :, 1 + axis] = np.sin(half[:, axis])
        turn = multiply(about[2], multiply(about[1], about[0]))
        root = seen[:, self.grip.layout.palm] - rotate(turn, np.array(self.grip.palm_point))
        return root, turn


def _quaternions(vectors: FloatArray) -> FloatArray:
    """Return the rotations by vectors in rad, (n, 3) to (n, 4)."""
    angle = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    axis = vectors / np.where(angle > 0.0, angle, 1.0)
    quat: FloatArray = np.concatenate((np.cos(angle / 2), np.sin(angle / 2) * axis), axis=1)
    return quat
