"""The graphs of the robots: their joints, which are neighbours, and how they are dealt out.

Facts of Gymnasium-Robotics 1.4's ``mamujoco_v1`` (see ``factorization``); the factorizations 6x1 of
the walker and 17x1 of the humanoid, which it does not know by name, give one joint to each agent.
"""

from __future__ import annotations

from typing import Final

from pkubench.envs.multi_mujoco.factorization import Graph, Part


def _each_alone(*parts: Part) -> tuple[Part, ...]:
    """Return one agent for each joint, in the order in which the parts name them."""
    return tuple((joint,) for part in parts for joint in part)


_PLANAR_POSITIONS: Final = (1, 2)
"""Height and pitch."""
_PLANAR_VELOCITIES: Final = (0, 1, 2)
"""Those of x, height and pitch."""
_FREE_POSITIONS: Final = (2, 3, 4, 5, 6)
"""Height and orientation (a quaternion)."""
_FREE_VELOCITIES: Final = (0, 1, 2, 3, 4, 5)
"""Velocity and angular velocity."""

_BACK: Final = ("bthigh", "bshin", "bfoot")
_FRONT: Final = ("fthigh", "fshin", "ffoot")

HALF_CHEETAH: Final = Graph(
    joints=_BACK + _FRONT,
    motors=_BACK + _FRONT,
    edges=(
        ("bfoot", "bshin"),
        ("bshin", "bthigh"),
        ("bthigh", "fthigh"),
        ("fthigh", "fshin"),
        ("fshin", "ffoot"),
    ),
    parts={"2x3": (_BACK, _FRONT), "6x1": _each_alone(_BACK, _FRONT)},
    root_positions=_PLANAR_POSITIONS,
    root_velocities=_PLANAR_VELOCITIES,
)

_LEG: Final = ("thigh_joint", "leg_joint", "foot_joint")
_LEFT_LEG: Final = ("thigh_left_joint", "leg_left_joint", "foot_left_joint")

HOPPER: Final = Graph(
    joints=_LEG,
    motors=_LEG,
    edges=(("foot_joint", "leg_joint"), ("leg_joint", "thigh_joint")),
    parts={"3x1": _each_alone(_LEG)},
    root_positions=_PLANAR_POSITIONS,
    root_velocities=_PLANAR_VELOCITIES,
)

WALKER: Final = Graph(
    joints=_LEG + _LEFT_LEG,
    motors=_LEG + _LEFT_LEG,
    edges=(
        ("foot_joint", "leg_joint"),
        ("leg_joint", "thigh_joint"),
        ("foot_left_joint", "leg_left_joint"),
        ("leg_left_joint", "thigh_left_joint"),
        ("thigh_joint", "thigh_left_joint"),
    ),
    # An agent's actions run from the foot up.
    parts={
        "2x3": (_LEG[::-1], _LEFT_LEG[::-1]),
        "6x1": _each_alone(_LEG[::-1], _LEFT_LEG[::-1]),
    },
    root_positions=_PLANAR_POSITIONS,
    root_velocities=_PLANAR_VELOCITIES,
)

SWIMMER: Final = Graph(
    joints=("rot2", "rot3"),
    motors=("rot2", "rot3"),
    edges=(("rot2", "rot3"),),
    parts={"2x1": (("rot2",), ("rot3",))},
    root_positions=(2,),
    root_velocities=(2,),
    velocities={"rot2": (0, 3), "rot3": (1, 4)},
)

_LEGS: Final = tuple((f"hip{leg}", f"ankle{leg}") for leg in (1, 2, 3, 4))
"""Front left, front right, back left, back right."""
_LEG_1, _LEG_2, _LEG_3, _LEG_4 = _LEGS

ANT: Final = Graph(
    joints=_LEG_1 + _LEG_2 + _LEG_3 + _LEG_4,
    motors=_LEG_4 + _LEG_1 + _LEG_2 + _LEG_3,
    edges=(*_LEGS, ("hip1", "hip2", "hip3", "hip4")),
    parts={
        "4x2": _LEGS,
        "2x4": (_LEG_1 + _LEG_2, _LEG_3 + _LEG_4),
        "2x4d": (_LEG_1 + _LEG_4, _LEG_2 + _LEG_3),
    },
    derived=("cfrc_ext",),
    # The torso is body 1; each leg then has three bodies.
    bodies={f"hip{leg}": (1, 3 * leg - 1) for leg in (1, 2, 3, 4)}
    | {f"ankle{leg}": (3 * leg - 1, 3 * leg, 3 * leg + 1) for leg in (1, 2, 3, 4)},
    root_positions=_FREE_POSITIONS,
    root_velocities=_FREE_VELOCITIES,
)

_ABDOMEN: Final = ("abdomen_x", "abdomen_y", "abdomen_z")
_RIGHT_HIP: Final = ("right_hip_x", "right_hip_y", "right_hip_z")
_LEFT_HIP: Final = ("left_hip_x", "left_hip_y", "left_hip_z")
_RIGHT_SHOULDER: Final = ("right_shoulder1", "right_shoulder2")
_LEFT_SHOULDER: Final = ("left_shoulder1", "left_shoulder2")
_UPPER: Final = (*_ABDOMEN, *_RIGHT_SHOULDER, "right_elbow", *_LEFT_SHOULDER, "left_elbow")
_LOWER: Final = (*_RIGHT_HIP, "right_knee", *_LEFT_HIP, "left_knee")
_HUMANOID_JOINTS: Final = (
    # The model has abdomen_z before abdomen_y among the joints, and the other way round among the
    # motors. The original takes the motors' order for both: its agent of "abdomen_y" sees the
    # angle of abdomen_z, and the other way round. So does ours.
    *("abdomen_y", "abdomen_z", "abdomen_x"),
    *("right_hip_x", "right_hip_z", "right_hip_y", "right_knee"),
    *("left_hip_x", "left_hip_z", "left_hip_y", "left_knee"),
    *(*_RIGHT_SHOULDER, "right_elbow", *_LEFT_SHOULDER, "left_elbow"),
)

HUMANOID: Final = Graph(
    joints=_HUMANOID_JOINTS,
    motors=_HUMANOID_JOINTS,
    edges=(
        _ABDOMEN,
        _RIGHT_HIP,
        _LEFT_HIP,
        ("left_elbow", *_LEFT_SHOULDER),
        ("right_elbow", *_RIGHT_SHOULDER),
        ("left_knee", *_LEFT_HIP),
        ("right_knee", *_RIGHT_HIP),
        (*_LEFT_SHOULDER, *_ABDOMEN),
        (*_RIGHT_SHOULDER, *_ABDOMEN),
        (*_ABDOMEN, *_LEFT_HIP),
        (*_ABDOMEN, *_RIGHT_HIP),
    ),
    parts={"9p8": (_UPPER, _LOWER), "17x1": _each_alone(_UPPER, _LOWER)},
    derived=("cinert", "cvel", "qfrc_actuator", "cfrc_ext"),
    # 1 torso, 2 waist, 3 pelvis; thigh, shin, foot from 4 (right) and 7 (left); upper and lower arm
    # from 10 (right) and 12 (left).
    bodies={
        "abdomen_y": (1, 2, 3),
        "abdomen_z": (1, 2, 3),
        "abdomen_x": (3, 4, 7),
        **dict.fromkeys(_RIGHT_HIP, (4, 5)),
        "right_knee": (5, 6),
        **dict.fromkeys(_LEFT_HIP, (7, 8)),
        "left_knee": (8, 9),
        **dict.fromkeys(_RIGHT_SHOULDER, (1, 10, 11)),
        "right_elbow": (11,),
        **dict.fromkeys(_LEFT_SHOULDER, (1, 12, 13)),
        "left_elbow": (13,),
    },
    root_positions=_FREE_POSITIONS,
    root_velocities=_FREE_VELOCITIES,
)
