"""Pseudo-lidar: how near things are, in a ring of directions around the robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.exact_math import arctan2

BINS = 16
"""Directions of the ring, counter-clockwise from straight ahead (the robot's own x axis)."""


def pseudo_lidar(
    position: FloatArray, rotation: FloatArray, kinds: Sequence[FloatArray], reach: float
) -> FloatArray:
    """Return what each robot senses, one ring of 16 numbers for each kind of thing.

    A thing at distance d < reach reads 1 - d / reach in the bin its centre lies in; of several in
    a bin the nearest counts. It also reads in both neighbouring bins, in proportion to how near it
    is to them within its bin. Distances are those of the horizontal place of the thing, on the
    floor, in the robot's own plane.

    Args:
        position: robots' centres in m, (n, 3).
        rotation: their orientations as matrices, (n, 3, 3).
        kinds: places (x, y) in m of the things of each kind, (n, count, 2).
        reach: distance in m from which nothing is sensed.

    Returns:
        (n, 16 * len(kinds)) in [0, 1].
    """
    things = np.concatenate(kinds, axis=1)
    first = np.repeat(BINS * np.arange(len(kinds)), [places.shape[1] for places in kinds])
    n, count, _ = things.shape
    offset = np.empty((n, count, 3))
    offset[..., :2] = things - position[:, None, :2]
    offset[..., 2] = -position[:, None, 2]
    seen = np.einsum("nkj,nji->nki", offset, rotation[:, :, :2])
    distance = np.hypot(seen[..., 0], seen[..., 1])
    turns = arctan2(seen[..., 1], seen[..., 0]) % (2.0 * np.pi)
    width = 2.0 * np.pi / BINS
    bins = (turns / width).astype(np.int64)
    beyond = (turns - width * bins) / width
    near = np.maximum(0.0, reach - distance) / reach
    rings = np.zeros((n, BINS * len(kinds)))
    environments = np.arange(n)[:, None]
    # A thing a rounding error clockwise of straight ahead has an angle of 2 pi: bin 0 again.
    for neighbour, reading in ((0, near), (1, beyond * near), (-1, (1.0 - beyond) * near)):
        np.maximum.at(rings, (environments, first + (bins + neighbour) % BINS), reading)
    return rings
