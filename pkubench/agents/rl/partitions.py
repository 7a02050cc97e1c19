"""Partitions of tasks that look at no features: what clusters of geometry are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pkubench.errors import ConfigError

IntArray = npt.NDArray[np.int64]


def random_partition(labels: npt.ArrayLike, seed: int) -> IntArray:
    """Return a partition into groups as large as those of ``labels``, without regard to geometry.

    The control of GeoClustering, and the partition of generalist-specialist learning (GSL, Jia et
    al. 2022): sizes are the same, so that specialists have as many tasks.
    """
    return np.random.default_rng(seed).permutation(np.asarray(labels, dtype=np.int64))


def category_partition(families: Sequence[str], groups: int) -> IntArray:
    """Return a partition that leaves each family whole, (n,).

    One family after the other, from the largest, goes to the group with the fewest tasks.

    Raises:
        ConfigError: there are fewer families than groups, no group, or a task without a family.
    """
    if not all(families) or groups < 1:
        raise ConfigError(f"every task needs a family, and there is 1 group or more, not {groups}")
    names, counts = np.unique(np.asarray(families), return_counts=True)
    if len(names) < groups:
        raise ConfigError(f"{len(names)} families do not fill {groups} groups")
    sizes, home = np.zeros(groups, dtype=np.int64), {}
    for k in np.argsort(-counts, kind="stable"):
        home[str(names[k])] = int(sizes.argmin())
        sizes[home[str(names[k])]] += counts[k]
    return np.array([home[name] for name in families], dtype=np.int64)
