"""What an object to grasp is: a rigid body made of convex parts, with a hash of its geometry.

An object is stored at scale 1: its center of mass is the origin and its farthest vertex is 1 m
away, so that a scale of 0.06 is a bounding radius of 6 cm (the convention of DexGraspNet, Wang et
al. 2023). Vertices are whole multiples of ``QUANTUM``: the last bits in which processors differ are
rounded away, and the hash is the same everywhere.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from pkubench.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]

QUANTUM: Final = 2.0**-14
"""Grid of all vertices at scale 1, in meters: 4 micrometers at scale 0.06."""
MAX_PARTS: Final = 16
"""Parts of a generated object, at most: physics slows down with each."""


@dataclass(frozen=True, eq=False)
class ConvexPart:
    """A convex polyhedron in its object's frame, at scale 1."""

    vertices: FloatArray
    """(V, 3) float64, meters, multiples of ``QUANTUM``."""
    faces: IntArray
    """(F, 3) int32: triangles of the hull, counterclockwise seen from outside."""

    @functools.cached_property
    def triangles(self) -> FloatArray:
        """Corners of the faces, (F, 3, 3)."""
        found: FloatArray = self.vertices[self.faces]
        return found

    @functools.cached_property
    def halfspaces(self) -> FloatArray:
        """(F, 4): unit normal n and offset d of each face; inside, ``n . x <= d`` for all."""
        a, b, c = np.moveaxis(self.triangles, 1, 0)
        normal = np.cross(b - a, c - a)
        size = np.linalg.norm(normal, axis=1)
        # A sliver that rounding has made flat has no normal; its neighbors bound the part.
        keep = size > QUANTUM**2
        normal = normal[keep] / size[keep, None]
        return np.column_stack([normal, np.einsum("fi,fi->f", normal, a[keep])])

    @functools.cached_property
    def volume(self) -> float:
        """Cubic meters."""
        return float(_tetrahedra(self.triangles).sum() / 6.0)

    @functools.cached_property
    def center(self) -> FloatArray:
        """Center of mass, (3,), meters."""
        signed = _tetrahedra(self.triangles)
        center: FloatArray = signed @ self.triangles.sum(axis=1) / (4.0 * signed.sum())
        return center


@dataclass(frozen=True, eq=False)
class GraspObject:
    """A rigid object of uniform density; make one with ``make_object``."""

    name: str
    """``family/0007``."""
    family: str
    parts: tuple[ConvexPart, ...]
    digest: str
    """SHA-256 of the vertices of all parts (hexadecimal): of the geometry, not of the name."""

    @functools.cached_property
    def volume(self) -> float:
        """Cubic meters at scale 1: the sum over parts, which is what MuJoCo takes mass from.

        A place that two parts share counts twice.
        """
        return sum(part.volume for part in self.parts)

    @functools.cached_property
    def center(self) -> FloatArray:
        """Center of mass at scale 1, (3,), meters: the origin but for the rounding of vertices."""
        total: FloatArray = np.sum([part.volume * part.center for part in self.parts], axis=0)
        return total / self.volume

    @functools.cached_property
    def vertices(self) -> FloatArray:
        """Vertices of all parts, (V, 3), meters at scale 1."""
        return np.concatenate([part.vertices for part in self.parts])


def make_object(
    name: str, points: Iterable[npt.ArrayLike], *, max_parts: int = MAX_PARTS
) -> GraspObject:
    """Return the object whose parts are the convex hulls of sets of points.

    The points are moved and scaled: the center of mass becomes the origin, and the farthest point
    lies at distance 1.

    Args:
        name: ``family/number``.
        points: One array (V, 3) for each part, in any unit of length.
        max_parts: How many parts are accepted.

    Raises:
        DataError: a part is flat or not finite, or there are too many parts, or none.
    """
    clouds = [np.asarray(cloud, dtype=np.float64) for cloud in points]
    if not 1 <= len(clouds) <= max_parts:
        raise DataError(f"{name} has {len(clouds)} convex parts; an object has 1 to {max_parts}")
    raw = [ConvexPart(cloud, hull_faces(cloud, name)) for cloud in clouds]
    weights = np.array([part.volume for part in raw])
    center = weights @ np.array([part.center for part in raw]) / weights.sum()
    radius = max(float(np.sqrt(((cloud - center) ** 2).sum(axis=1).max())) for cloud in clouds)
    parts = tuple(
        ConvexPart(
            _read_only(np.rint((part.vertices - center) / radius / QUANTUM) * QUANTUM + 0.0),
            part.faces,
        )
        for part in raw
    )
    return GraspObject(name, name.partition("/")[0], parts, geometry_digest(parts))


def geometry_digest(parts: Sequence[ConvexPart]) -> str:
    """Return the SHA-256 of the vertices, as whole numbers of quanta (little-endian int32).

    Faces are left out: they follow from the vertices, and how a flat side is cut into triangles
    does not change the object.
    """
    found = hashlib.sha256()
    for part in parts:
        counts = np.rint(part.vertices / QUANTUM).astype("<i4")
        found.update(np.array(counts.shape, dtype="<i4").tobytes())
        found.update(counts.tobytes())
    return found.hexdigest()


def hull_faces(points: FloatArray, name: str) -> IntArray:
    """Return the triangles (F, 3) of the convex hull of points (V, 3), oriented outward and sorted.

    Raises:
        DataError: the points are fewer than 4, lie in a plane, or are not finite.
    """
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"a part of {name} is not a solid: {reason}") from error
    a, b, c = np.moveaxis(points[hull.simplices], 1, 0)
    is_inward = np.einsum("fi,fi->f", np.cross(b - a, c - a), hull.equations[:, :3]) < 0
    faces = hull.simplices.astype(np.int32)
    faces[is_inward] = faces[is_inward][:, ::-1]
    # In an order of their own: each from its lowest corner, then by corners.
    first = faces.argmin(axis=1)[:, None]
    faces = np.take_along_axis(faces, (first + np.arange(3)) % 3, axis=1)
    faces = faces[np.lexsort(faces.T[::-1])]
    return _read_only(faces)


def _tetrahedra(triangles: FloatArray) -> FloatArray:
    """Six times the signed volumes of the tetrahedra between the origin and triangles, (F,)."""
    volumes: FloatArray = np.einsum(
        "fi,fi->f", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])
    )
    return volumes


def _read_only(array: npt.NDArray[np.generic]) -> npt.NDArray:  # type: ignore[type-arg]
    array.flags.writeable = False
    return array
