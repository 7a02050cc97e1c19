"""A geometry code that needs no training: distances from fixed points to an object's surface.

UniDexGrasp++ has the code of a point-cloud autoencoder in this place. Distances to a basis point
set (Prokudin et al., "Efficient Learning on Point Clouds with Basis Point Sets", ICCV 2019) tell
objects apart as well, are the same everywhere, and are what an environment shows by default.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.core.seeding import RandomStreams
from pkubench.envs.grasp.items import Item
from pkubench.envs.grasp.observations import CODE_SIZE

REACH_M = 0.15
"""Radius of the ball in which the basis points lie: that of the largest objects."""
UNIT_M = 0.05
_POINTS = 1024


def basis_points() -> FloatArray:
    """Return the basis points, (64, 3) in m: uniform in a ball, always the same."""
    streams = RandomStreams.started(np.array([64]))
    cube = streams.uniform(np.zeros(1, dtype=np.int64), 12 * CODE_SIZE, -1.0, 1.0).reshape(-1, 3)
    inside = cube[(cube * cube).sum(axis=1) <= 1.0]  # about half of 256
    points: FloatArray = REACH_M * inside[:CODE_SIZE]
    return points


def basis_point_code(item: Item) -> FloatArray:
    """Return the distances from the basis points to an object's surface, (64,) in 5 cm."""
    distances, _ = cKDTree(item.surface(_POINTS)).query(basis_points())
    code: FloatArray = distances / UNIT_M
    return code
