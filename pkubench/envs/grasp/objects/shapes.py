"""Convex solids, each given by the points whose hull it is, and bent ones made of several.

Angles are in turns (1 is a full circle): their cosines come from ``exact_math``, which has the same
bits on every processor. Products are written out, since BLAS rounds them by the processor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.exact_math import cos_of_turns

Corners = npt.NDArray[np.float64]
"""Points (V, 3) whose convex hull is a part."""
Vector = tuple[float, float, float]

SEGMENTS: Final = 16
"""Corners of a circle."""
_GOLDEN: Final = (1.0 + math.sqrt(5.0)) / 2.0


def cos_sin(turns: npt.ArrayLike) -> tuple[Corners, Corners]:
    """Return cosine and sine of angles in turns."""
    angle = np.asarray(turns, dtype=np.float64)
    return cos_of_turns(angle % 1.0), cos_of_turns((angle - 0.25) % 1.0)


def hull(*points: Vector) -> Corners:
    """Return the hull of single points."""
    corners: Corners = np.array(points, dtype=np.float64)
    return corners


def ring(radius: float | tuple[float, float], z: float, segments: int = SEGMENTS) -> Corners:
    """Return a circle or an ellipse at a height; one point where the radius is 0."""
    wide, deep = radius if isinstance(radius, tuple) else (radius, radius)
    if wide == 0.0 and deep == 0.0:
        return np.array([[0.0, 0.0, z]])
    cos, sin = cos_sin(np.arange(segments) / segments)
    return np.column_stack([wide * cos, deep * sin, np.full(segments, z)])


def turned(
    *profile: tuple[float | tuple[float, float], float], segments: int = SEGMENTS
) -> Corners:
    """Return a solid of revolution about z, by (radius, z) from one end to the other."""
    return np.concatenate([ring(radius, z, segments) for radius, z in profile])


def cylinder(radius: float, height: float, z: float = 0.0, segments: int = SEGMENTS) -> Corners:
    """Return an upright cylinder whose lower end is at z."""
    return turned((radius, z), (radius, z + height), segments=segments)


def rounded(radius: float, height: float, edge: float, z: float = 0.0) -> Corners:
    """Return an upright cylinder with chamfered edges."""
    top = z + height
    return turned(
        (radius - edge, z), (radius, z + edge), (radius, top - edge), (radius - edge, top)
    )


def box(x: float, y: float, z: float, at: Vector = (0.0, 0.0, 0.0)) -> Corners:
    """Return a box of side lengths x, y, z whose center is ``at``."""
    signs = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
    corners: Corners = signs * np.array([x, y, z]) + np.array(at)
    return corners


def slab(x: float, y: float, z: float, edge: float, at: Vector = (0.0, 0.0, 0.0)) -> Corners:
    """Return a box whose four upright edges are chamfered by ``edge``."""
    corners: Corners = prism(chamfered(x, y, edge), -z / 2, z / 2) + np.array(at)
    return corners


def chamfered(x: float, y: float, edge: float) -> list[tuple[float, float]]:
    """Return the outline of a rectangle with cut corners."""
    a, b = x / 2, y / 2
    right = [(a, -b + edge), (a, b - edge), (a - edge, b)]
    return [*right, (-a + edge, b), *[(-u, -v) for u, v in right], (a - edge, -b)]


def taper(
    bottom: tuple[float, float], top: tuple[float, float], height: float, z: float = 0.0
) -> Corners:
    """Return a frustum with rectangular ends."""
    return np.concatenate(
        [
            box(bottom[0], bottom[1], 0.0, (0, 0, z))[::2],
            box(top[0], top[1], 0.0, (0, 0, z + height))[::2],
        ]
    )


def prism(outline: Sequence[tuple[float, float]], low: float, high: float) -> Corners:
    """Return an outline (x, y), convex, raised from z = low to high."""
    flat = np.array(outline, dtype=np.float64)
    return np.concatenate([np.column_stack([flat, np.full(len(flat), z)]) for z in (low, high)])


def regular(corners: int, radius: float, first: float = 0.0) -> list[tuple[float, float]]:
    """Return the outline of a regular polygon; ``first`` is the turn of its first corner."""
    cos, sin = cos_sin(first + np.arange(corners) / corners)
    return list(zip((radius * cos).tolist(), (radius * sin).tolist(), strict=True))


def ball(x: float, y: float | None = None, z: float | None = None) -> Corners:
    """Return an ellipsoid of semi-axes x, y, z about the origin: 42 points of an icosphere."""
    poles = []
    for a, b in itertools.product((-1.0, 1.0), (-_GOLDEN, _GOLDEN)):
        poles += [(0.0, a, b), (a, b, 0.0), (b, 0.0, a)]
    points = np.array(poles)
    first, second = np.array(list(itertools.combinations(range(12), 2))).T
    is_edge = ((points[first] - points[second]) ** 2).sum(axis=1) < 4.5
    points = np.concatenate([points, (points[first] + points[second])[is_edge] / 2.0])
    points /= np.sqrt((points**2).sum(axis=1))[:, None]
    corners: Corners = points * np.array([x, x if y is None else y, x if z is None else z])
    return corners


def bar(
    start: Vector, end: Vector, radius: float, end_radius: float | None = None, segments: int = 8
) -> Corners:
    """Return a straight rod between two points, which may taper."""
    a, b = np.array(start), np.array(end)
    axis = (b - a) / np.sqrt(((b - a) ** 2).sum())
    aside = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    u = np.cross(axis, aside)
    u /= np.sqrt((u**2).sum())
    v = np.cross(axis, u)
    cos, sin = cos_sin((np.arange(segments) + 0.5) / segments)
    circle = cos[:, None] * u + sin[:, None] * v
    last = radius if end_radius is None else end_radius
    return np.concatenate([a + radius * circle, b + last * circle])


def wall(
    inner: tuple[float, float], outer: tuple[float, float], low: float, high: float, pieces: int
) -> list[Corners]:
    """Return a round wall about z, open above and below, as convex pieces side by side.

    Args:
        inner: Inner radius at the lower and at the upper rim.
        outer: Outer radius at the lower and at the upper rim.
        low: Height of the lower rim.
        high: Height of the upper rim.
        pieces: How many pieces; inside, the wall is a regular polygon of as many corners.
    """
    parts = []
    for piece in range(pieces):
        cos, sin = cos_sin((piece + np.array([0.0, 0.5, 1.0])) / pieces)
        rims = []
        for (near, far), z in zip(zip(inner, outer, strict=True), (low, high), strict=True):
            rims += [(far * c, far * s, z) for c, s in zip(cos, sin, strict=True)]
            rims += [(near * cos[k], near * sin[k], z) for k in (0, 2)]
        parts.append(np.array(rims))
    return parts


def arc(
    radius: float, first: float, last: float, pieces: int, thickness: float, width: float
) -> list[Corners]:
    """Return a bent bar in the plane of x and z about the origin, as convex pieces end to end.

    Args:
        radius: Of its middle line.
        first: Where it begins, in turns from x toward z.
        last: Where it ends.
        pieces: How many straight pieces.
        thickness: Across the bar, in the plane.
        width: Across the bar, along y.
    """
    cos, sin = cos_sin(first + (last - first) * np.arange(pieces + 1) / pieces)
    parts = []
    for k in range(pieces):
        corners = [
            (
                (radius + side * thickness / 2) * cos[i],
                y * width / 2,
                (radius + side * thickness / 2) * sin[i],
            )
            for i, side, y in itertools.product((k, k + 1), (-1, 1), (-1, 1))
        ]
        parts.append(np.array(corners))
    return parts


def move(
    parts: Corners | Iterable[Corners], x: float = 0.0, y: float = 0.0, z: float = 0.0
) -> list[Corners]:
    """Return parts moved."""
    return [part + np.array([x, y, z]) for part in _listed(parts)]


def turn(parts: Corners | Iterable[Corners], axis: str, turns: float) -> list[Corners]:
    """Return parts turned about an axis (``x``, ``y`` or ``z``) through the origin."""
    cos, sin = (float(value) for value in cos_sin(turns))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    found = []
    for part in _listed(parts):
        new = part.copy()
        new[:, i] = cos * part[:, i] - sin * part[:, j]
        new[:, j] = sin * part[:, i] + cos * part[:, j]
        found.append(new)
    return found


def stretch(
    parts: Corners | Iterable[Corners], x: float = 1.0, y: float = 1.0, z: float = 1.0
) -> list[Corners]:
    """Return parts stretched along the axes."""
    return [part * np.array([x, y, z]) for part in _listed(parts)]


def _listed(parts: Corners | Iterable[Corners]) -> list[Corners]:
    return [parts] if isinstance(parts, np.ndarray) else list(parts)
