"""Hands that grasp: the ShadowHand, or any hand whose model the user has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from pkubench.envs.grasp.shadow_hand import FINGERTIPS, PALM, shadow_hand_xml
from pkubench.errors import ConfigError

SHADOW = "shadow"
ROOT_JOINT, OBJECT_NAME, SCENE_GEOMS = "hand", "object", ("table", "floor")
"""Names in every scene: the hand's free joint, the object's body and joint, what they are on."""
_ROLL = (np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0)
"""A quarter turn about x: the ShadowHand's palm faces down, its fingers point along -y."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """A hand model, and what of it rewards and observations are about."""

    path: str = ""
    """MJCF file of the hand; "" is the ShadowHand of the gymnasium-robotics wheel."""
    palm: str = ""
    """Its root body; "" is the only body that hangs on the world."""
    fingertips: tuple[str, ...] = ()
    """The last body of each finger; empty: every body without children."""
    palm_point: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where the palm is, in m in the frame of its body."""
    tip_point: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where a fingertip is, in m in the frame of its body."""
    start_quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    """Orientation of the root at the start of an episode (w, x, y, z): palm down."""

    def spec(self, is_drawn: bool = False) -> Any:
        """Return the hand as an ``mujoco.MjSpec`` with a free root.

        Raises:
            ConfigError: the file cannot be read, or its hand has no single root.
            MissingExtra: gymnasium-robotics, which has the ShadowHand, is not installed.
        """
        if not self.path:
            return mujoco.MjSpec.from_string(shadow_hand_xml(is_drawn))
        try:
            spec = mujoco.MjSpec.from_file(self.path)
        except (ValueError, OSError) as error:
            raise ConfigError(
                f"the hand {self.path!r} cannot be read: {one_line(error)}"
            ) from error
        _free(spec, self.path)
        return spec


SHADOW_HAND = Hand(
    palm=PALM,
    fingertips=FINGERTIPS,
    palm_point=(0.0, -0.02, 0.08),
    tip_point=(0.0, 0.0, 0.02),
    start_quat=_ROLL,
)


def read_hand(hand: Any) -> Hand:
    """Return a hand by name or path, with its root and fingertips named.

    Raises:
        ConfigError: there is no such file, the model has not the bodies that are named, or it
            cannot be used: no fingers, no controls, a joint of another kind, a name twice.
    """
    found = hand
    if isinstance(found, str | os.PathLike):
        if found == SHADOW:
            return SHADOW_HAND
        found = Hand(path=os.fspath(found))
    if not isinstance(found, Hand):
        raise ConfigError(
            f"hand must be {SHADOW!r}, the path of an MJCF file or a Hand, got {hand!r}"
        )
    if found == SHADOW_HAND:
        return found
    if found.path and not os.path.exists(found.path):
        raise ConfigError(f"no hand {found.path!r}: give {SHADOW!r} or the path of an MJCF file")
    spec = found.spec()
    bodies = [body for body in spec.bodies if body.name != "world"]
    names = [body.name for body in bodies]
    leaves = tuple(body.name for body in bodies if body.first_body() is None)
    if len(bodies) < 2:
        raise ConfigError(f"the hand {found.path!r} has no fingers: it is one body")
    palm, tips = found.palm or bodies[0].name, found.fingertips or leaves
    for name in (palm, *tips):
        if not name or names.count(name) != 1:
            known = ", ".join(names)
            raise ConfigError(f"the hand {found.path!r} has no body {name!r}; it has {known}")
    _check_names(spec, found.path)
    _check_controls(spec, found.path)
    return Hand(
        path=os.path.abspath(found.path) if found.path else "",
        palm=palm,
        fingertips=tips,
        palm_point=found.palm_point,
        tip_point=found.tip_point,
        start_quat=found.start_quat,
    )


def _check_names(spec: Any, path: str) -> None:
    """Refuse names that the scene has for its own elements, and joints without an angle."""
    own = {
        "body": (spec.bodies, (OBJECT_NAME,)),
        "joint": (spec.joints, (ROOT_JOINT, OBJECT_NAME)),
        "geom": (spec.geoms, SCENE_GEOMS),
    }
    for kind, (elements, names) in own.items():
        for element in elements:
            is_root = kind == "joint" and element.type == mujoco.mjtJoint.mjJNT_FREE
            if element.name in names and not is_root:
                raise ConfigError(
                    f"the hand {path!r} has a {kind} {element.name!r}, as the scene has: rename it"
                )
    for joint in spec.joints:
        if joint.type == mujoco.mjtJoint.mjJNT_BALL:
            raise ConfigError(
                f"joint {joint.name!r} of the hand {path!r} is a ball joint: use hinges or slides"
            )


def _check_controls(spec: Any, path: str) -> None:
    """Refuse a hand that actions do not close."""
    try:
        model = spec.compile()
    except ValueError as error:
        raise ConfigError(f"the hand {path!r} cannot be compiled: {one_line(error)}") from error
    if model.nu == 0:
        raise ConfigError(f"the hand {path!r} has no actuators: actions would not close it")
    low, high = model.actuator_ctrlrange.T
    for number in np.flatnonzero(high <= low).tolist():
        raise ConfigError(
            f"actuator {model.actuator(number).name!r} of the hand {path!r} has no ctrlrange: "
            "actions lie between its ends"
        )


def one_line(error: Exception) -> str:
    """Return an error of MuJoCo's compiler without its line breaks."""
    return " ".join(str(error).split())


def _free(spec: Any, path: str) -> None:
    """Give the root of a user's hand a free joint if it has no joint."""
    roots = [
        body for body in spec.bodies if body.parent is not None and body.parent.name == "world"
    ]
    if len(roots) != 1:
        raise ConfigError(f"the hand {path!r} has {len(roots)} bodies on the world; wanted one")
    (root,) = roots
    if not root.joints:
        root.add_freejoint(name=ROOT_JOINT)
    elif len(root.joints) > 1 or root.joints[0].type != mujoco.mjtJoint.mjJNT_FREE:
        raise ConfigError(
            f"the root {root.name!r} of the hand {path!r} has joints that are not free"
        )
    root.pos = np.zeros(3)
    root.quat = np.array([1.0, 0.0, 0.0, 0.0])
