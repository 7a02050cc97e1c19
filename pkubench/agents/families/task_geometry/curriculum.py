"""In which order tasks are added while the first generalist learns.

GeoCurriculum (UniDexGrasp++, Wan et al. 2023) begins with one task in the middle of the features
and adds tasks until all are there. Level sizes and the rule to move on were not published; both are
decided here (a hierarchy of K-means; a budget of steps for each level, which is a stage).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from pkubench.agents.families.task_geometry.clusters import IntArray, geo_clustering, rows_of
from pkubench.errors import ConfigError

LEVELS = (1, 4, 16, 64, 256)
"""Tasks that each level but the last is made of; the last has all."""


def geo_curriculum(
    features: npt.ArrayLike, seed: int, sizes: Sequence[int] = LEVELS
) -> list[IntArray]:
    """Return the tasks of each level, sorted; each level contains the one before.

    A level has the tasks nearest to the centroids of a K-means of its size, and all tasks of the
    levels before. Sizes that are not below the number of different features are left out.

    Args:
        features: (n, D), one row a task.
        seed: Of the K-means.
        sizes: Increasing numbers of clusters; the first is 1 for the task in the middle.

    Raises:
        ConfigError: sizes do not increase, or features are no rows of finite numbers.
    """
    points = rows_of(features)
    if any(b <= a for a, b in pairwise(sizes)) or (sizes and sizes[0] < 1):
        raise ConfigError(f"sizes of levels increase from 1, got {tuple(sizes)}")
    different = len(np.unique(points, axis=0))
    levels: list[IntArray] = []
    before = np.zeros(0, dtype=np.int64)
    for size in sizes:
        if size >= different:
            break
        centroids = geo_clustering(points, size, seed).centroids
        before = np.union1d(before, cdist(centroids, points).argmin(axis=1))
        if len(before) == len(points):
            break
        levels.append(before)
    return [*levels, np.arange(len(points))]


def category_curriculum(families: Sequence[str], first: int = 0) -> list[IntArray]:
    """Return the levels of UniDexGrasp (Xu et al. 2023), which go by the names of objects.

    One task, then all of its family, then three families, then all. The other two families are
    those with the most tasks.

    Args:
        families: Family of each task.
        first: The task to begin with.

    Raises:
        ConfigError: there is no such task, or a task has no family.
    """
    if not 0 <= first < len(families) or not all(families):
        raise ConfigError(
            f"a curriculum begins with one of the tasks 0 to {len(families) - 1}, each of a named "
            f"family; got {first}"
        )
    names = np.asarray(families)
    own = str(names[first])
    kinds, counts = np.unique(names, return_counts=True)
    others = [str(kinds[k]) for k in np.argsort(-counts, kind="stable") if kinds[k] != own][:2]
    levels = [
        np.array([first]),
        np.flatnonzero(names == own),
        np.flatnonzero(np.isin(names, [own, *others])),
        np.arange(len(names)),
    ]
    return [level for k, level in enumerate(levels) if k == 0 or len(level) > len(levels[k - 1])]
