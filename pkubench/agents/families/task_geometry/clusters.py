"""Which tasks a specialist is trained on: clusters of geometry, and partitions to compare with.

GeoClustering (UniDexGrasp++, Wan et al. 2023) is K-means on a feature of each task: the code of the
object's cloud in its initial pose, or in the vision stage what the generalist's own encoder makes
of that cloud.
"""

from __future__ import annotations

import contextlib
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.spatial.distance import cdist

from pkubench.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
RESTARTS: Final = 10
_ITERATIONS: Final = 100
_MAX_RUNS: Final = 200
"""Runs of K-means, with those that lose a cluster."""


class Clusters(NamedTuple):
    """A partition of tasks by their features."""

    centroids: FloatArray
    """(K, D)."""
    labels: IntArray
    """(n,): the cluster of each task."""
    inertia: float
    """Sum of the squared distances of features from their centroids."""


def geo_clustering(
    features: npt.ArrayLike, clusters: int, seed: int, restarts: int = RESTARTS
) -> Clusters:
    """Return the best of some runs of K-means (k-means++ of Arthur and Vassilvitskii 2007).

    Clusters are numbered by the first task in them.

    Args:
        features: (n, D).
        clusters: K, at most the number of different features.
        seed: Of the random generator.
        restarts: How many runs.

    Raises:
        ConfigError: there are more clusters than different features, features that are no rows of
            finite numbers, or no runs.
    """
    points = rows_of(features)
    if restarts < 1:
        raise ConfigError(f"restarts must be 1 or more, got {restarts}")
    different = len(np.unique(points, axis=0))
    if not 1 <= clusters <= different:
        raise ConfigError(
            f"{different} different tasks make 1 to {different} clusters, not {clusters}"
        )
    generator = np.random.default_rng(seed)
    runs: list[Clusters] = []
    for _ in range(_MAX_RUNS):
        with contextlib.suppress(ClusterError):  # a cluster has lost its last task
            runs.append(_converged(points, _spread(points, clusters, generator)))
        if len(runs) == restarts:
            break
    if not runs:
        raise ConfigError(f"K-means found no {clusters} clusters of these tasks: ask for fewer")
    return _renumbered(min(runs, key=lambda run: run.inertia))


def rows_of(features: npt.ArrayLike) -> FloatArray:
    """Return features as (n, D) float64.

    Raises:
        ConfigError: they have another shape, or are not finite.
    """
    points = np.asarray(features, dtype=np.float64)
    if points.ndim != 2 or not points.size:
        raise ConfigError(f"features are one row a task, (n, D); these have shape {points.shape}")
    if not np.isfinite(points).all():
        raise ConfigError("features of tasks are not finite: train the encoder again")
    return points


def _spread(points: FloatArray, clusters: int, generator: np.random.Generator) -> FloatArray:
    """Draw initial centroids: each with probability as its squared distance from those before."""
    chosen = [int(generator.integers(len(points)))]
    while len(chosen) < clusters:
        nearest = cdist(points, points[chosen], "sqeuclidean").min(axis=1)
        ends = np.cumsum(nearest)
        place = np.searchsorted(ends, generator.random() * ends[-1], side="right")
        chosen.append(int(min(place, np.flatnonzero(nearest)[-1])))
    return points[chosen]


def _converged(points: FloatArray, start: FloatArray) -> Clusters:
    centroids, _ = kmeans2(points, start, iter=_ITERATIONS, minit="matrix", missing="raise")
    squares = cdist(points, centroids, "sqeuclidean")
    labels = squares.argmin(axis=1).astype(np.int64)
    return Clusters(centroids, labels, float(squares.min(axis=1).sum()))


def _renumbered(found: Clusters) -> Clusters:
    _, first = np.unique(found.labels, return_index=True)
    order = np.argsort(first)
    place = np.argsort(order)
    return Clusters(found.centroids[order], place[found.labels].astype(np.int64), found.inertia)


def assign(features: npt.ArrayLike, centroids: npt.ArrayLike) -> IntArray:
    """Return the nearest centroid of each feature, (n,): where a new task belongs."""
    squares = cdist(np.asarray(features, float), np.asarray(centroids, float), "sqeuclidean")
    nearest: IntArray = squares.argmin(axis=1).astype(np.int64)
    return nearest
