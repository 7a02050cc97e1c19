"""What a vision policy sees: proprioception and a labeled point cloud, and no pose of the object.

The vision policy that was released with UniDexGrasp++ (Wan et al. 2023) reads 29 numbers more, in
which its environment leaves the pose of the hand in the object's frame: with the hand's own pose,
that is the pose of the object. ``official_leak`` reproduces these numbers, for comparisons with
that policy; they are in no observation but the one of that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.exact_math import rotation_matrices
from pkubench.envs.grasp.clouds.carried import Float32Array, FloatArray

Labels = npt.NDArray[np.int8]

BACKGROUND, HAND, OBJECT = 0, 1, 2
"""Labels of points."""
POINTS: Final = 1024
CHANNELS: Final = 8
"""Of a point: x, y, z in meters; red, green, blue; whether it is the hand's; the object's."""
COLORS: Final[Float32Array] = np.array(
    [[0.85, 0.80, 0.72], [0.62, 0.64, 0.70], [0.85, 0.45, 0.25]], dtype=np.float32
)
"""Red, green and blue of each label."""


@dataclass(frozen=True, slots=True)
class VisionLayout:
    """Where each quantity is in an observation with a point cloud: a row of float32 numbers.

    >>> layout = VisionLayout.of(proprioception=191, points=1024)
    >>> layout.cloud, layout.size
    (slice(191, 8383, None), 8383)
    """

    proprioception: slice
    """Entries 0 to 191 of the state observation: joints, fingertips, palm and the last action."""
    leak: slice
    """``official_leak``; empty unless it was asked for."""
    cloud: slice
    """Points one after the other, ``CHANNELS`` numbers each."""

    @classmethod
    def of(cls, proprioception: int, points: int, leak: int = 0) -> VisionLayout:
        """Return the slices for so many numbers and points."""
        first, second = proprioception, proprioception + leak
        return cls(slice(0, first), slice(first, second), slice(second, second + CHANNELS * points))

    @property
    def size(self) -> int:
        """Length of an observation."""
        stop: int = self.cloud.stop
        return stop

    @property
    def points(self) -> int:
        """Points of a cloud."""
        return (self.size - int(self.cloud.start)) // CHANNELS

    def clouds(self, observations: Float32Array) -> Float32Array:
        """Return the clouds in observations (..., size) as a view, (..., points, ``CHANNELS``)."""
        return observations[..., self.cloud].reshape(
            *observations.shape[:-1], self.points, CHANNELS
        )


def label_channels(labels: npt.ArrayLike) -> Float32Array:
    """Return color and masks of points with these labels, (..., ``CHANNELS`` - 3) float32.

    Args:
        labels: ``BACKGROUND``, ``HAND`` or ``OBJECT``, of any shape.
    """
    masks = np.array([[0, 0], [1, 0], [0, 1]], dtype=np.float32)
    found: Float32Array = np.concatenate([COLORS, masks], axis=1)[np.asarray(labels)]
    return found


def labeled_cloud(points: npt.ArrayLike, labels: npt.ArrayLike) -> Float32Array:
    """Return points with their color and their two masks.

    Args:
        points: (N, P, 3), meters.
        labels: (N, P) or (P,): ``BACKGROUND``, ``HAND`` or ``OBJECT``.

    Returns:
        (N, P, ``CHANNELS``) float32.
    """
    places = np.asarray(points, dtype=np.float32)
    cloud = np.empty((*places.shape[:2], CHANNELS), dtype=np.float32)
    cloud[..., :3] = places
    cloud[..., 3:] = label_channels(labels)
    return cloud


def label_of_geoms(count: int, hand: npt.ArrayLike, grasped: npt.ArrayLike) -> Labels:
    """Return the labels of a model's geoms, (count + 1,): the last, at -1, is that of nothing.

    Args:
        count: Geoms of the model.
        hand: Numbers of the hand's geoms.
        grasped: Numbers of the object's geoms.
    """
    labels = np.full(count + 1, BACKGROUND, dtype=np.int8)
    labels[np.asarray(hand)] = HAND
    labels[np.asarray(grasped)] = OBJECT
    return labels


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
        joints: (N, J), radians; 22 of the ShadowHand.

    Returns:
        (N, 7 + J).
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
