"""Where hand and object are, and what of it takes computing."""

from __future__ import annotations

from typing import Any, NamedTuple

import mujoco
import numpy as np

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.grasp.hands import Hand
from pkubench.envs.grasp.rotations import conjugate, cross, rotate
from pkubench.envs.grasp.scene import HAND_JOINT


class GraspState(NamedTuple):
    """Where everything is, in the world's axes."""

    object_position: FloatArray
    """(num_envs, 3) in m."""
    object_quaternion: FloatArray
    """(num_envs, 4), w first."""
    palm: FloatArray
    """The palm's center, (num_envs, 3) in m."""
    palm_quaternion: FloatArray
    """(num_envs, 4), w first."""
    tips: FloatArray
    """The points of the fingertips that a reward is about, (num_envs, fingers, 3) in m."""
    tip_position: FloatArray
    """The origins of the fingertips' bodies, (num_envs, fingers, 3) in m."""
    tip_quaternion: FloatArray
    """(num_envs, fingers, 4), w first."""


def tip_states(state: GraspState, motion: FloatArray, center: FloatArray) -> FloatArray:
    """Return position, quaternion, velocity and spin of the fingertips, (num_envs, 13 n).

    Args:
        state: of the same moment.
        motion: MuJoCo's ``cvel`` of the fingertips, (num_envs, n, 6): spin, and the velocity at the
            center of mass of the whole hand.
        center: that center, (num_envs, 3).
    """
    position, quat = state.tip_position, state.tip_quaternion
    spin, velocity = motion[..., :3], motion[..., 3:]
    velocity = velocity + cross(spin, position - center[:, None])
    parts = (position, quat[..., 1:], quat[..., :1], velocity, spin)
    return np.concatenate(parts, axis=-1).reshape(len(position), -1)


def tip_forces(
    state: GraspState, measured: FloatArray, weight: FloatArray, center: FloatArray
) -> FloatArray:
    """Return force (N) and torque (N m) on the fingertips in their frames, (num_envs, 6 n).

    Args:
        state: of the same moment.
        measured: by MuJoCo's sensors, which include the weight; it does not act on this hand.
        weight: force that carries each fingertip, (n, 3) in N; it turns by ``state``, which is one
            physics step later than what was measured.
        center: center of mass of each fingertip in its frame, (n, 3) in m.
    """
    found = measured.reshape(len(measured), -1, 2, 3).copy()
    carried = rotate(conjugate(state.tip_quaternion), weight)
    found[:, :, 0] -= carried
    found[:, :, 1] -= cross(center, carried)
    return found.reshape(len(measured), -1)


def hand_geoms(model: Any, hand: Hand) -> IntArray:
    """Return the numbers of the geoms by which the hand touches, (n,)."""
    is_hand = model.body_rootid[model.geom_bodyid] == model.body(hand.palm).id
    return np.flatnonzero(is_hand & (model.geom_contype > 0))


def reach_below_root(model: Any, hand: Hand) -> float:
    """Return how far the open hand reaches below its root at the start of an episode, in m."""
    data, root = mujoco.MjData(model), int(model.joint(HAND_JOINT).qposadr[0])
    data.qpos[root : root + 7] = (0, 0, 0, *hand.start_quat)
    mujoco.mj_kinematics(model, data)
    solid = hand_geoms(model, hand)
    up = data.geom_xmat[solid].reshape(-1, 3, 3)[:, 2]
    middle, half = np.split(model.geom_aabb[solid], 2, axis=1)
    lowest = data.geom_xpos[solid, 2] + (up * middle).sum(axis=1) - (abs(up) * half).sum(axis=1)
    return -float(lowest.min())
