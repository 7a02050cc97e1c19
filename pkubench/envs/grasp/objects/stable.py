"""Poses in which an object rests on a table, from the convex hull of its parts.

A rigid object rests on a facet of its hull if the vertical through its center of mass meets the
facet's inside. How likely a pose is after a drop is the quasi-static estimate of Goldberg et al.
(1999): an object that falls without preference comes down on each facet with the solid angle under
which its center of mass sees the facet; from a facet that does not hold it, it tips over the edge
that the center of mass lies farthest beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull

from pkubench.envs.grasp.objects.model import FloatArray, GraspObject

TIPPING_DEG: Final = 5.0
"""Angle by which an object in a pose can be tilted, at least, before it falls over."""
MARGIN: Final = 0.01
"""Distance of the center of mass from the edge of the support, at least, in bounding radii."""
_SAME_PLANE: Final = np.cos(np.radians(0.5))
"""Triangles of the hull whose normals are closer than this are one facet."""


@dataclass(frozen=True, eq=False)
class StablePoses:
    """Resting poses, the most likely first; yaw is free."""

    quaternion: FloatArray
    """(P, 4) float64, wxyz: the rotation from the object's frame to the table's, z up."""
    height: FloatArray
    """(P,) float64: how high the object's origin is above the table, in meters."""
    probability: FloatArray
    """(P,) float64, sums to 1: the share of random drops that end so."""
    margin: FloatArray
    """(P,) float64: distance of the center of mass from the edge of the support, in meters."""

    def __len__(self) -> int:
        """Return how many poses there are, at least 1."""
        return len(self.height)


def stable_poses(grasp_object: GraspObject, scale: float = 1.0) -> StablePoses:
    """Return the poses in which an object of a scale rests on a horizontal table.

    Computed once per geometry and process. There is always one: where no facet holds the object
    firmly enough (``TIPPING_DEG``, ``MARGIN``), it is the one that holds it best.

    Args:
        grasp_object: The object.
        scale: Its bounding radius in meters.
    """
    poses = _of_geometry(grasp_object)
    return StablePoses(
        poses.quaternion, poses.height * scale, poses.probability, poses.margin * scale
    )


_CACHE: dict[str, StablePoses] = {}


def _of_geometry(grasp_object: GraspObject) -> StablePoses:
    """Return the poses at scale 1, cached by the hash of the geometry."""
    if grasp_object.digest not in _CACHE:
        _CACHE[grasp_object.digest] = find_stable_poses(grasp_object)
    return _CACHE[grasp_object.digest]


def find_stable_poses(grasp_object: GraspObject) -> StablePoses:
    """Return the poses at scale 1; ``stable_poses`` keeps them."""
    facets = _facets(grasp_object.vertices, grasp_object.center)
    tipping = np.arctan2(facets.margin, facets.height)
    is_stable = (facets.margin >= MARGIN) & (tipping >= np.radians(TIPPING_DEG))
    if not is_stable.any():
        is_stable[np.argmax(tipping)] = True
    # Where an object that tips from facet to facet ends; a ring of facets that do not hold it
    # ends nowhere, and its share goes to all poses.
    goal = np.arange(len(is_stable))
    for _ in range(len(is_stable)):
        goal = np.where(is_stable[goal], goal, facets.beyond[goal])
    share = np.bincount(
        goal[is_stable[goal]], facets.solid_angle[is_stable[goal]], minlength=len(is_stable)
    )[is_stable]
    quaternion = _turn_down(facets.normal[is_stable])
    # Equally likely poses come in the order of their quaternions, not in that of the hull's code.
    keys = np.column_stack([-share / share.sum(), quaternion]).round(5)
    order = np.lexsort(keys.T[::-1])
    return StablePoses(
        *(
            _rounded(values[order])
            for values in (
                quaternion,
                facets.height[is_stable],
                share / share.sum(),
                facets.margin[is_stable],
            )
        )
    )


def _rounded(values: FloatArray) -> FloatArray:
    """Drop the last bits, in which processors differ."""
    return np.rint(values * 2.0**30) * 2.0**-30 + 0.0


@dataclass(frozen=True)
class _Facets:
    """Flat sides of a hull, (S,) each."""

    normal: FloatArray
    """(S, 3), outward."""
    height: FloatArray
    """Distance of the side's plane from the frame's origin."""
    margin: FloatArray
    """Distance of the projected center of mass from the nearest edge; negative: outside."""
    beyond: npt.NDArray[np.intp]
    """The facet on the other side of that edge."""
    solid_angle: FloatArray


def _facets(points: FloatArray, center: FloatArray) -> _Facets:
    hull = ConvexHull(points)
    triangles = points[hull.simplices]
    normals, neighbors = hull.equations[:, :3], hull.neighbors
    rows = np.repeat(np.arange(len(neighbors)), 3)
    is_flat = np.einsum("ei,ei->e", normals[rows], normals[neighbors.ravel()]) > _SAME_PLANE
    links = csr_array(
        (np.ones(is_flat.sum()), (rows[is_flat], neighbors.ravel()[is_flat])),
        shape=(len(neighbors), len(neighbors)),
    )
    count, side = connected_components(links, directed=False)

    spans = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    areas = np.linalg.norm(spans, axis=1)
    normal = _sum_by(side, count, areas[:, None] * normals)
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    middle = _sum_by(side, count, areas[:, None] * triangles.mean(axis=1))
    middle /= _sum_by(side, count, areas[:, None])
    height = np.einsum("si,si->s", normal, middle)

    # neighbors[t, k] lies across the edge opposite corner k.
    margin, beyond = np.full(count, np.inf), np.zeros(count, dtype=np.intp)
    for k in range(3):
        a, b, opposite = (triangles[:, (k + step) % 3] for step in (1, 2, 0))
        other = side[neighbors[:, k]]
        inward = np.cross(normal[side], b - a)
        inward *= np.sign(np.einsum("ti,ti->t", inward, opposite - a))[:, None]
        length = np.linalg.norm(inward, axis=1)
        distance = np.einsum("ti,ti->t", inward, center - a) / np.where(length > 0, length, 1.0)
        for t in np.flatnonzero((other != side) & (length > 0)):
            if distance[t] < margin[side[t]]:
                margin[side[t]], beyond[side[t]] = distance[t], other[t]
    solid = _sum_by(side, count, _solid_angles(triangles - center)[:, None])[:, 0]
    return _Facets(normal, height, margin, beyond, solid)


def _sum_by(side: npt.NDArray[np.intp], count: int, values: FloatArray) -> FloatArray:
    """Sum rows (T, D) by the facet that they belong to, (S, D)."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, side, values)
    return total


def _solid_angles(corners: FloatArray) -> FloatArray:
    """Solid angles of triangles (T, 3, 3) seen from the origin (Van Oosterom and Strackee 1983)."""
    a, b, c = np.moveaxis(corners, 1, 0)
    la, lb, lc = (np.linalg.norm(corner, axis=1) for corner in (a, b, c))
    volume = np.abs(np.einsum("ti,ti->t", a, np.cross(b, c)))
    below = (
        la * lb * lc
        + np.einsum("ti,ti->t", a, b) * lc
        + np.einsum("ti,ti->t", b, c) * la
        + np.einsum("ti,ti->t", c, a) * lb
    )
    angles: FloatArray = 2.0 * np.arctan2(volume, below)
    return angles


def _turn_down(normal: FloatArray) -> FloatArray:
    """Quaternions (S, 4) wxyz of the shortest rotations that take unit vectors (S, 3) to -z.

    With n = (x, y, z), half the way to -z: (1 - z, -y, x, 0), normalized; n = z turns about x.
    """
    x, y, z = normal.T
    quaternion = np.stack([1.0 - z, -y, x, np.zeros_like(z)], axis=1)
    quaternion[z > 1.0 - 1e-9] = (0.0, 1.0, 0.0, 0.0)
    quaternion /= np.linalg.norm(quaternion, axis=1)[:, None]
    return quaternion
