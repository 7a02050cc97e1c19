"""Point clouds without rendering: points fixed to bodies, which the bodies' poses carry along.

A cloud of this kind has no hidden side and costs a rotation for each point. Points are drawn once
for each body, uniformly by area.
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
    local = np.ascontiguousarray(np.moveaxis(np.asarray(points, dtype=np.float32), -1, 0))
    places, turns = body_poses(position, quaternion)
    found = np.empty((places.shape[1], local.shape[-1], 3), dtype=np.float32)
    write_carried(found, local, places[..., None], turns[..., None])
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
    found = np.empty((len(np.asarray(positions)), len(body_points.points), 3), dtype=np.float32)
    write_carried_bodies(found, body_points, positions, quaternions)
    return found


def write_carried_bodies(
    out: Float32Array,
    body_points: BodyPoints,
    positions: npt.ArrayLike,
    quaternions: npt.ArrayLike,
) -> None:
    """Write what ``carry_bodies`` returns to ``out``, (N, M, 3)."""
    own = list(body_points.bodies)
    places, turns = body_poses(np.asarray(positions)[:, own], np.asarray(quaternions)[:, own])
    owner = np.repeat(np.arange(len(own)), body_points.counts)
    local = np.ascontiguousarray(body_points.points.T)
    write_carried(out, local, np.take(places, owner, axis=2), np.take(turns, owner, axis=2))


def write_carried(
    out: Float32Array, local: Float32Array, places: Float32Array, turns: Float32Array
) -> None:
    """Write points in the world's frame to ``out``.

    Products and sums are those of single numbers in a fixed order, so that they have the same bits
    on every processor, which a product of matrices has not.

    Args:
        out: (N, P, 3).
        local: x, y and z in the frames of bodies, (3, P) or (3, N, P).
        places: x, y and z of the bodies, (3, N, P) or (3, N, 1).
        turns: The rows of their rotation matrices, (9, N, P) or (9, N, 1).
    """
    for axis in range(3):
        found = turns[3 * axis] * local[0]
        found += turns[3 * axis + 1] * local[1]
        found += turns[3 * axis + 2] * local[2]
        found += places[axis]
        out[..., axis] = found


def body_poses(
    position: npt.ArrayLike, quaternion: npt.ArrayLike
) -> tuple[Float32Array, Float32Array]:
    """Return what ``write_carried`` takes of positions (..., 3) and quaternions (..., 4)."""
    quat = np.asarray(quaternion, dtype=np.float64)
    turns = rotation_matrices(quat.reshape(-1, 4)).T.reshape(9, *quat.shape[:-1])
    places = np.moveaxis(np.asarray(position), -1, 0)
    return places.astype(np.float32), turns.astype(np.float32)


def body_points(model: Any, geoms: npt.ArrayLike, count: int, seed: int) -> BodyPoints:
    """Draw points on geoms of a model, uniformly by area, in the frames of their bodies.

    Boxes, spheres, capsules, cylinders, ellipsoids and meshes; round ones by a polyhedron of 12
    sides. Where geoms overlap, both have points.

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
    elif kind == kinds.mjGEOM_MESH:
        mesh = model.mesh(int(model.geom_dataid[geom]))
        vertices = model.mesh_vert[int(mesh.vertadr[0]) :]
        first = int(mesh.faceadr[0])
        local = vertices[model.mesh_face[first : first + int(mesh.facenum[0])]].astype(np.float64)
    else:
        name = mujoco.mjtGeom(kind).name.removeprefix("mjGEOM_").lower()
        raise DataError(
            f"points are not drawn on geoms of type {name}; give meshes or simple shapes"
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
