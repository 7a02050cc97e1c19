"""Pseudo-lidar: how near things are, in a ring of directions around the robot."""

from __future__ import annotations

import numpy as np

from pkubench.envs.batch import FloatArray

BINS = 16
"""Directions of the ring, counter-clockwise from straight ahead (the robot's own x axis)."""


def pseudo_lidar(
    position: FloatArray, rotation: FloatArray, things: FloatArray, reach: float
) -> FloatArray:
    """Return what each robot senses of one kind of thing.

    A thing at distance d < reach reads 1 - d / reach in the bin its centre lies in; of several in
    a bin the nearest counts. It also reads in both neighbouring bins, in proportion to how near it
    is to them within its bin. Distances are those of the horizontal place of the thing, on the
    floor, in the robot's own plane.

    Args:
        position: robots' centres in m, (n, 3).
        rotation: their orientations as matrices, (n, 3, 3).
        things: places (x, y) of the things in m, (n, k, 2).
        reach: distance in m from which nothing is sensed.

    Returns:
        (n, 16) in [0, 1].
    """
    n, k, _ = things.shape
    offset = np.empty((n, k, 3))
    offset[..., :2] = things - position[:, None, :2]
    offset[..., 2] = -position[:, None, 2]
    seen = np.einsum("nkj,nji->nki", offset, rotation[:, :, :2])
    distance = np.hypot(seen[..., 0], seen[..., 1])
    turns = np.arctan2(seen[..., 1], seen[..., 0]) % (2.0 * np.pi)
    width = 2.0 * np.pi / BINS
    bins = (turns / width).astype(np.int64)
    beyond = (turns - width * bins) / width
    near = np.maximum(0.0, reach - distance) / reach
    ring = np.zeros((n, BINS))
    lanes = np.arange(n)[:, None]
    # A thing a rounding error clockwise of straight ahead has an angle of 2 pi: bin 0 again.
    np.maximum.at(ring, (lanes, bins % BINS), near)
    np.maximum.at(ring, (lanes, (bins + 1) % BINS), beyond * near)
    np.maximum.at(ring, (lanes, (bins - 1) % BINS), (1.0 - beyond) * near)
    return ring
