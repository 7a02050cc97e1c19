"""Edits of a script: 24 numbers that turn a demonstrated grasp into one for another object.

DemoGrasp (arXiv 2509.22149): numbers 0 to 2 of an edit shift the wrist, numbers 3 to 5 turn it
about the object, and the others are added to the joints of the closed hand. The lift is not edited.
Between the open and the closed hand the joints follow one profile, the script's, where the released
code stretches each joint's own path by a ratio, which explodes for joints that hardly move.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from pkubench.agents.contract import FloatArray
from pkubench.envs.grasp.open_loop import JOINTS, OFFSET, TURN

SHIFT_M: Final = 0.05
TURN_RAD: Final = 1.57
JOINT_RAD: Final = 1.0
"""What a number of 1 in an edit means."""
SHIFT, ROTATION, FINGERS = slice(0, 3), slice(3, 6), slice(6, None)
"""The parts of an edit."""


def edited(
    script: FloatArray, edits: FloatArray, yaw: FloatArray, joint_span: FloatArray
) -> FloatArray:
    """Return a script edited for each episode, (n, 24); unchanged by zeros.

    Args:
        script: of the demonstration, (24,).
        edits: in [-1, 1], (n, 24).
        yaw: of the axes in which edits are meant and the demonstration is replayed, (n,) in rad.
        joint_span: from the lower to the upper limit of each actuator, (18,) in rad.
    """
    found = np.tile(script, (len(edits), 1))
    axes = Rotation.from_rotvec(yaw[:, None] * np.array([0.0, 0.0, 1.0]))
    turn = axes * Rotation.from_euler("xyz", TURN_RAD * edits[:, ROTATION])
    # Products of rotations round: a script that is not turned keeps its own bits.
    is_turned = (yaw != 0.0) | edits[:, ROTATION].any(axis=1)
    about, wrist = turn.apply(script[OFFSET]), (turn * Rotation.from_rotvec(script[TURN]))
    found[is_turned, OFFSET] = about[is_turned]
    found[is_turned, TURN] = wrist.as_rotvec()[is_turned]
    shift = SHIFT_M * edits[:, SHIFT]
    found[:, OFFSET] += np.where(yaw[:, None] != 0.0, axes.apply(shift), shift)
    targets = script[JOINTS] + 2.0 * JOINT_RAD / joint_span * edits[:, FINGERS]
    found[:, JOINTS] = np.where(edits[:, FINGERS] == 0.0, found[:, JOINTS], targets.clip(-1.0, 1.0))
    return found
