"""What a vision policy sees: proprioception and a labeled point cloud, and no pose of the object.

The vision policy that was released with UniDexGrasp++ (Wan et al. 2023) reads 29 numbers more, in
which its environment leaves the pose of the hand in the object's frame: with the hand's own pose,
that is the pose of the object. ``official_leak`` reproduces these numbers, for comparisons with
that policy; nothing here uses it unless asked.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.exact_math import rotation_matrices
from pkubench.envs.grasp.clouds.carried import Float32Array, FloatArray
from pkubench.errors import ConfigError

BACKGROUND, HAND, OBJECT = 0, 1, 2
"""Labels of points."""
POINTS: Final = 1024
CHANNELS: Final = 8
"""Of a point: x, y, z in meters; red, green, blue; whether it is the hand's; the object's."""
LEAK_SIZE: Final = 29
COLORS: Final[Float32Array] = np.array(
    [[0.85, 0.80, 0.72], [0.62, 0.64, 0.70], [0.85, 0.45, 0.25]], dtype=np.float32
)
"""Red, green and blue of each label."""


def labeled_cloud(points: npt.ArrayLike, labels: npt.ArrayLike) -> Float32Array:
    """Return points with their color and their two masks.

    Args:
        points: (N, P, 3), meters.
        labels: (N, P) or (P,): ``BACKGROUND``, ``HAND`` or ``OBJECT``.

    Returns:
        (N, P, ``CHANNELS``) float32.
    """
    places = np.asarray(points, dtype=np.float32)
    kinds = np.broadcast_to(np.asarray(labels), places.shape[:2])
    cloud = np.empty((*places.shape[:2], CHANNELS), dtype=np.float32)
    cloud[..., :3] = places
    cloud[..., 3:6] = COLORS[kinds]
    cloud[..., 6] = kinds == HAND
    cloud[..., 7] = kinds == OBJECT
    return cloud


def geom_labels(
    geom: npt.ArrayLike, hand: npt.ArrayLike, grasped: npt.ArrayLike
) -> npt.NDArray[np.int8]:
    """Return the label of each geom number: of the hand, of the object, or of the background.

    Args:
        geom: Numbers of geoms, of any shape; -1 for nothing.
        hand: Numbers of the hand's geoms.
        grasped: Numbers of the object's geoms.
    """
    numbers = np.asarray(geom)
    labels = np.full(numbers.shape, BACKGROUND, dtype=np.int8)
    labels[np.isin(numbers, np.asarray(hand))] = HAND
    labels[np.isin(numbers, np.asarray(grasped))] = OBJECT
    return labels


def vision_observation(
    proprioception: npt.ArrayLike, cloud: npt.ArrayLike, leak: npt.ArrayLike | None = None
) -> dict[str, Float32Array]:
    """Return the observation of a vision policy.

    Args:
        proprioception: Entries 0 to 191 of the state observation, (N, D): joints, fingertips, palm
            and the last action.
        cloud: (N, P, ``CHANNELS``), see ``labeled_cloud``.
        leak: ``official_leak``, (N, 29); None, the default, keeps the object's pose from the
            policy.

    Returns:
        ``proprioception`` (N, D) or (N, D + 29), and ``cloud``.

    Raises:
        ConfigError: the leak has another shape.
    """
    own = np.asarray(proprioception, dtype=np.float32)
    if leak is not None:
        more = np.asarray(leak, dtype=np.float32)
        if more.shape != (len(own), LEAK_SIZE):
            raise ConfigError(f"the leak has the shape ({len(own)}, {LEAK_SIZE}), not {more.shape}")
        own = np.concatenate([own, more], axis=1)
    return {"proprioception": own, "cloud": np.asarray(cloud, dtype=np.float32)}


def official_leak(
    hand_position: npt.ArrayLike,
    hand_quaternion: npt.ArrayLike,
    object_position: npt.ArrayLike,
    object_quaternion: npt.ArrayLike,
    joints: npt.ArrayLike,
) -> FloatArray:
    """Return entries 207 to 236 of the state as the released vision environment fills them.

    The differences from a target grasp, whose pose and joints are zero there, are what they are
    subtracted from: the hand's position (3) and quaternion xyzw (4) in the object's frame, and the
    joint angles (22).

    Args:
        hand_position: (N, 3), meters.
        hand_quaternion: (N, 4), wxyz.
        object_position: (N, 3), meters.
        object_quaternion: (N, 4), wxyz.
        joints: (N, 22), radians.

    Returns:
        (N, 29).
    """
    pose = np.asarray(object_quaternion, dtype=np.float64)
    turns = rotation_matrices(pose).reshape(-1, 3, 3)
    apart = np.asarray(hand_position, dtype=np.float64) - np.asarray(object_position)
    place = np.einsum("nji,nj->ni", turns, apart)
    w, x, y, z = (pose * [1.0, -1.0, -1.0, -1.0]).T
    a, b, c, d = np.asarray(hand_quaternion, dtype=np.float64).T
    relative = np.stack(
        [
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
            w * a - x * b - y * c - z * d,
        ],
        axis=1,
    )
    return np.concatenate([place, relative, np.asarray(joints, dtype=np.float64)], axis=1)
