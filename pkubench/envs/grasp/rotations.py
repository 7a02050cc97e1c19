"""Rotations on arrays: quaternions have w first, as MuJoCo's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def rotate(quat: FloatArray, vector: FloatArray) -> FloatArray:
    """Return vectors (..., 3) turned by unit quaternions (..., 4); shapes broadcast."""
    w, v = quat[..., :1], quat[..., 1:]
    twice = cross(v, vector)
    twice *= 2.0
    turned: FloatArray = w * twice
    turned += vector
    turned += cross(v, twice)
    return turned


def multiply(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the quaternions that turn by ``second``, then by ``first``, (..., 4)."""
    w, v = first[..., :1], first[..., 1:]
    u, q = second[..., :1], second[..., 1:]
    scalar = w * u - (v * q).sum(axis=-1, keepdims=True)
    product: FloatArray = np.concatenate((scalar, w * q + u * v + cross(v, q)), axis=-1)
    return product


def yaw_quaternions(yaw: FloatArray) -> FloatArray:
    """Return the rotations about z by angles in rad, (n,) to (n, 4)."""
    quat = np.zeros((len(yaw), 4))
    quat[:, 0], quat[:, 3] = np.cos(yaw / 2), np.sin(yaw / 2)
    return quat


def euler_xyz(quat: FloatArray) -> FloatArray:
    """Return roll, pitch and yaw in rad, (n, 4) to (n, 3): turn about x, then y, then z, all fixed.

    Roll and yaw are in [-pi, pi], pitch in [-pi/2, pi/2].
    """
    w, x, y, z = quat.T
    roll = np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2.0 * (w * y - z * x), -1.0, 1.0))
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    angles: FloatArray = np.stack((roll, pitch, yaw), axis=1)
    return angles


def conjugate(quat: FloatArray) -> FloatArray:
    """Return the opposite rotations, (..., 4)."""
    opposite: FloatArray = quat * np.array([1.0, -1.0, -1.0, -1.0])
    return opposite


def cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the cross products of vectors (..., 3); shapes broadcast."""
    # np.cross is several times slower on many short vectors.
    product: FloatArray = np.empty(np.broadcast(a, b).shape)
    for x, y, z in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.subtract(a[..., y] * b[..., z], a[..., z] * b[..., y], out=product[..., x])
    return product
