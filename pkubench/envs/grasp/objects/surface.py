"""Points on the surface of an object, uniform by area.

The surface is that of the union of the parts: where two parts touch or overlap, nothing is inside
the object and nothing is counted twice.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.grasp.objects.model import QUANTUM, ConvexPart, FloatArray, GraspObject
from pkubench.errors import DataError

_STEP: Final = 16 * QUANTUM
"""How far in front of a face a point has to be outside all parts: 1 mm at scale 1."""
_MAX_ROUNDS: Final = 200


def surface_points(
    grasp_object: GraspObject, count: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Return points on an object's surface and the outward normals there.

    Args:
        grasp_object: The object.
        count: How many points.
        seed: Of the random generator.

    Returns:
        Points (count, 3) in meters at scale 1, in the object's frame, and unit normals (count, 3),
        both float64.

    Raises:
        DataError: nearly all of the parts' faces lie inside other parts.
    """
    generator = np.random.default_rng(seed)
    triangles = np.concatenate([part.triangles for part in grasp_object.parts])
    owner = np.repeat(
        np.arange(len(grasp_object.parts)), [len(part.faces) for part in grasp_object.parts]
    )
    spans = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    areas = np.linalg.norm(spans, axis=1)
    normals = spans / np.where(areas > 0, areas, 1.0)[:, None]
    ends = np.cumsum(areas)
    points, faces, found = [], [], 0
    for _ in range(_MAX_ROUNDS):
        chosen = np.searchsorted(ends, generator.random(2 * count) * ends[-1], side="right")
        chosen = np.minimum(chosen, len(areas) - 1)
        drawn = _within(triangles[chosen], generator.random((2 * count, 2)))
        is_kept = is_exposed(grasp_object.parts, owner[chosen], drawn, normals[chosen])
        points.append(drawn[is_kept])
        faces.append(chosen[is_kept])
        found += int(is_kept.sum())
        if found >= count:
            face = np.concatenate(faces)[:count]
            return np.concatenate(points)[:count], normals[face]
    raise DataError(f"{grasp_object.name} has almost no surface outside its own parts")


def is_exposed(
    parts: tuple[ConvexPart, ...],
    owner: npt.NDArray[np.intp],
    points: FloatArray,
    normals: FloatArray,
) -> npt.NDArray[np.bool_]:
    """Return which points on parts' faces lie on the surface of the union, (n,).

    A little in front of such a point there is no part. Of two parts whose faces lie in one plane,
    the first has the points.

    Args:
        parts: Of the object.
        owner: The part that each point lies on, (n,).
        points: (n, 3).
        normals: Outward normals of their part's faces, (n, 3).
    """
    before, behind = points + _STEP * normals, points - _STEP * normals
    exposed = np.ones(len(points), dtype=bool)
    for number, part in enumerate(parts):
        exposed &= (owner == number) | ~contains(part, before)
        exposed &= (owner <= number) | ~contains(part, behind)
    return exposed


def contains(part: ConvexPart, points: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which points (n, 3) lie in a part, its boundary included."""
    sides = part.halfspaces
    inside: npt.NDArray[np.bool_] = np.all(points @ sides[:, :3].T <= sides[:, 3], axis=1)
    return inside


def _within(triangles: FloatArray, numbers: FloatArray) -> FloatArray:
    """Return a point of each triangle (n, 3, 3), uniform by two uniform numbers (n, 2)."""
    root = np.sqrt(numbers[:, :1])
    a, b, c = np.moveaxis(triangles, 1, 0)
    found: FloatArray = (1 - root) * a + root * (1 - numbers[:, 1:]) * b + root * numbers[:, 1:] * c
    return found
