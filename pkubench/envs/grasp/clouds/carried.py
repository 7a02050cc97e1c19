"""Point clouds without rendering: points fixed to bodies, which the bodies' poses carry along.

A cloud of this kind has no hidden side and costs a product of matrices. Points are drawn once for
each body, uniformly by area.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import mujoco
import numpy as np
import numpy.typing as npt

from pkubench.envs.core.exact_math import rotation_matrices
from pkubench.errors import DataError

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

_RINGS: Final = 12
"""Corners of the circle by which a round geom is replaced where points are drawn from triangles."""


@dataclass(frozen=True, eq=False)
class BodyPoints:
    """Points in the frames of several bodies, those of one body side by side."""

    points: Float32Array
    """(M, 3), meters, each in the frame of its body."""
    bodies: tuple[int, ...]
    """Number of each body in the model, (B,)."""
    counts: tuple[int, ...]
    """How many points each body has, (B,); they sum to M."""


def carry(
    points: npt.ArrayLike, position: npt.ArrayLike, quaternion: npt.ArrayLike
) -> Float32Array:
    """Return points of one body per environment in the world's frame.

    Args:
        points: In the body's frame, meters: (P, 3) for all environments or (N, P, 3) for each.
        position: Of the body, (N, 3), meters.
        quaternion: Of the body, (N, 4), wxyz, of length 1.

    Returns:
        (N, P, 3) float32, meters.
    """
    turns = rotation_matrices(np.asarray(quaternion, dtype=np.float64)).reshape(-1, 3, 3)
    local = np.asarray(points, dtype=np.float32)
    found: Float32Array = np.matmul(local, turns.transpose(0, 2, 1).astype(np.float32))
    found += np.asarray(position, dtype=np.float32)[:, None]
    return found


def carry_bodies(
    body_points: BodyPoints, positions: npt.ArrayLike, quaternions: npt.ArrayLike
) -> Float32Array:
    """Return points of many bodies in the world's frame.

    Args:
        body_points: The points, the same in all environments.
        positions: Of all bodies of the model, (N, bodies, 3), meters.
        quaternions: Of all bodies, (N, bodies, 4), wxyz.

    Returns:
        (N, M, 3) float32, in the order of ``body_points.points``.
    """
    places, turns = np.asarray(positions), np.asarray(quaternions)
    found = np.empty((len(places), len(body_points.points), 3), dtype=np.float32)
    first = 0
    for body, count in zip(body_points.bodies, body_points.counts, strict=True):
        own = slice(first, first + count)
        found[:, own] = carry(body_points.points[own], places[:, body], turns[:, body])
        first += count
    return found


def body_points(model: Any, geoms: npt.ArrayLike, count: int, seed: int) -> BodyPoints:
    """Draw points on geoms of a model, uniformly by area, in the frames of their bodies.

    Boxes, spheres, capsules, cylinders and ellipsoids; round ones by a polyhedron of 12 sides.
    Where geoms overlap, both have points.

    Args:
        model: The ``mujoco.MjModel``.
        geoms: Numbers of the geoms.
        count: How many points.
        seed: Of the random generator.

    Raises:
        DataError: a geom has another shape.
    """
    generator = np.random.default_rng(seed)
    numbers = sorted(np.asarray(geoms).tolist(), key=lambda geom: int(model.geom_bodyid[geom]))
    triangles = [_geom_triangles(model, geom) for geom in numbers]
    owner = np.repeat(
        [int(model.geom_bodyid[geom]) for geom in numbers], [len(part) for part in triangles]
    )
    corners = np.concatenate(triangles)
    spans = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    ends = np.cumsum(np.linalg.norm(spans, axis=1))
    # In order of area along the bodies, so that each gets its share to within one point.
    levels = (np.arange(count) + generator.random(count)) / count * ends[-1]
    face = np.minimum(np.searchsorted(ends, levels, side="right"), len(ends) - 1)
    root, other = np.sqrt(generator.random(count))[:, None], generator.random(count)[:, None]
    a, b, c = np.moveaxis(corners[face], 1, 0)
    points = (1 - root) * a + root * (1 - other) * b + root * other * c
    bodies, counts = np.unique(owner[face], return_counts=True)
    return BodyPoints(points.astype(np.float32), tuple(bodies.tolist()), tuple(counts.tolist()))


def _geom_triangles(model: Any, geom: int) -> FloatArray:
    """Triangles (T, 3, 3) of a geom's surface in the frame of its body."""
    kinds = mujoco.mjtGeom
    kind, size = int(model.geom_type[geom]), model.geom_size[geom]
    if kind == kinds.mjGEOM_BOX:
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        faces = [face for a, b, c, d in sides for face in ((a, b, c), (a, c, d))]
        local = (signs * size)[np.array(faces)]
    elif kind == kinds.mjGEOM_SPHERE:
        local = _lathe(size[0] * _half_circle())
    elif kind == kinds.mjGEOM_ELLIPSOID:
        local = _lathe(_half_circle()) * size
    elif kind == kinds.mjGEOM_CYLINDER:
        local = _lathe(np.array([[0, -1], [1, -1], [1, 1], [0, 1]]) * size[:2])
    elif kind == kinds.mjGEOM_CAPSULE:
        lower, upper = np.split(size[0] * _half_circle(), 2)
        half = np.array([0.0, size[1]])
        local = _lathe(np.concatenate([lower - half, upper + half]))
    else:
        name = mujoco.mjtGeom(kind).name.removeprefix("mjGEOM_").lower()
        raise DataError(
            f"points are not drawn on geoms of type {name}; give geoms of simple shapes"
        )
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    found: FloatArray = local @ turn.reshape(3, 3).T + model.geom_pos[geom]
    return found


def _half_circle() -> FloatArray:
    """(radius, z) from the lower to the upper pole of a unit sphere, (2 _RINGS, 2)."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 2 * _RINGS)
    return np.column_stack([np.cos(angle), np.sin(angle)])


def _lathe(profile: FloatArray) -> FloatArray:
    """Triangles of the solid that a profile (radius, z) sweeps around z, outward."""
    angle = np.arange(_RINGS + 1) * (2 * np.pi / _RINGS)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    grid = np.concatenate(
        [
            profile[:, None, :1] * circle,
            np.broadcast_to(profile[:, None, 1:], (len(profile), _RINGS + 1, 1)),
        ],
        axis=2,
    )
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    quads = [np.stack([a, b, c], axis=2), np.stack([a, c, d], axis=2)]
    return np.concatenate([quad.reshape(-1, 3, 3) for quad in quads])
