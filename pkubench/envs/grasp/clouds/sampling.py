"""A fixed number of points from as many as there are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def resample(
    kept: npt.NDArray[np.bool_], count: int, generators: list[np.random.Generator]
) -> IntArray:
    """Draw ``count`` of the points that are kept, of each cloud from its own generator.

    Without repetition where there are enough points; otherwise each point is there as often as any
    other, to within one.

    Args:
        kept: (N, R).
        count: How many points.
        generators: One for each cloud.

    Returns:
        Places in R, (N, count); -1 throughout where a cloud has no point.
    """
    found = np.full((len(kept), count), -1, dtype=np.int64)
    for row, (mask, generator) in enumerate(zip(kept, generators, strict=True)):
        places = np.flatnonzero(mask)
        if len(places):
            rounds = [generator.permutation(places) for _ in range(-(-count // len(places)))]
            found[row] = np.concatenate(rounds)[:count]
    return found


def farthest_points(points: npt.ArrayLike, count: int) -> IntArray:
    """Return points that cover a cloud: each is the farthest from all chosen before it.

    Begins with the first point (Eldar et al. 1997; PointNet++ of Qi et al. 2017).

    Args:
        points: (N, P, 3), P at least ``count`` unless points may repeat.
        count: How many to choose.

    Returns:
        Places in P, (N, count).
    """
    cloud = np.ascontiguousarray(np.asarray(points, dtype=np.float32).transpose(0, 2, 1))
    rows = np.arange(len(cloud))
    chosen = np.zeros((len(cloud), count), dtype=np.int64)
    nearest = np.full((len(cloud), cloud.shape[2]), np.inf, dtype=np.float32)
    for step in range(1, count):
        last = cloud[rows, :, chosen[:, step - 1]][:, :, None]
        apart = ((cloud - last) ** 2).sum(axis=1)
        np.minimum(nearest, apart, out=nearest)
        chosen[:, step] = nearest.argmax(axis=1)
    return chosen
