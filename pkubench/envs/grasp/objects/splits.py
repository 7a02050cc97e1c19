"""Which objects are trained on and tested on, and how large they are.

The counts are those of UniDexGrasp++ (Wan et al. 2023; the splits of its repository): 3,200 objects
to train on, 141 other objects of the same categories, and 100 of categories that are not trained
on; each at one of five scales. The objects are this project's own, and so are their categories.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Final

import numpy as np

from pkubench.envs.grasp.objects.families import FAMILIES
from pkubench.envs.grasp.objects.families.registry import Family
from pkubench.envs.grasp.objects.model import FloatArray, GraspObject
from pkubench.errors import UnknownName

SCALES: Final = (0.06, 0.08, 0.10, 0.12, 0.15)
"""Bounding radii of objects in meters."""
SCALE_COUNTS: Final[Mapping[str, tuple[int, ...]]] = {
    "train": (1342, 913, 543, 281, 121),
    "seen_category": (62, 39, 23, 12, 5),
    "unseen_category": (42, 25, 16, 12, 5),
}
"""Split -> how many of its objects have each scale."""
SPLITS: Final = tuple(SCALE_COUNTS)

SMALL_PARTS: Final = 4
"""Convex parts of an object of the small set, at most."""
SMALL_SCALES: Final = SCALES[:3]
SMALL_FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "seen": (
        *("sphere", "egg", "can", "cardboard_box", "bottle", "hammer", "mushroom", "dumbbell"),
        "l_block",
    ),
    "unseen": (
        *("dice", "lemon", "pear", "hourglass", "axe", "desk_bell", "bolt", "tape_measure"),
        "clothes_peg",
    ),
}


@functools.cache
def split(name: str) -> tuple[GraspObject, ...]:
    """Return the objects of a split: 3,200 of ``train``, 141 or 100 of the two to test on.

    They are made anew in each process: about 1.5 ms of a processor each.

    Raises:
        UnknownName: there is no such split.
    """
    return tuple(FAMILIES[family].make(number) for family, number in _members(name))


@functools.cache
def scales(name: str) -> FloatArray:
    """Return the scale of each object of a split, in its order: (N,) float64, meters.

    How many have which scale is as published; which ones is decided by hashes of their names.

    Raises:
        UnknownName: there is no such split.
    """
    names = [f"{family}/{number:04d}" for family, number in _members(name)]
    order = sorted(range(len(names)), key=lambda k: hashlib.sha256(names[k].encode()).digest())
    found = np.empty(len(names))
    found[order] = np.repeat(SCALES, SCALE_COUNTS[name])
    found.flags.writeable = False
    return found


@functools.cache
def small_split(name: str) -> tuple[GraspObject, ...]:
    """Return 24, 18 or 9 objects of few parts, each of which is also in the split of that name.

    Raises:
        UnknownName: there is no such split.
    """
    members = _members(name)
    names = SMALL_FAMILIES["unseen" if name == "unseen_category" else "seen"]
    wanted = {"train": 24, "seen_category": 18, "unseen_category": 9}[name]
    found: list[GraspObject] = []
    for place, family in enumerate(names):
        count = wanted // len(names) + (place < wanted % len(names))
        numbers = [number for other, number in members if other == family][:count]
        found += [FAMILIES[family].make(number) for number in numbers]
    return tuple(found)


def small_scales(name: str) -> FloatArray:
    """Return the scale of each object of a small split: 6, 8 and 10 cm in turn, (N,) float64."""
    return np.resize(np.array(SMALL_SCALES), len(small_split(name)))


def allotment(total: int, families: list[Family]) -> dict[str, int]:
    """Return how many of ``total`` objects each family has: by its share, largest remainder first.

    Where there are as many objects as families, each has at least one.
    """
    shares = sum(family.share for family in families)
    exact = {family.name: total * family.share / shares for family in families}
    counts = {name: int(value) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in rest[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


@functools.cache
def _members(name: str) -> tuple[tuple[str, int], ...]:
    """Family and number of each object of a split."""
    if name not in SCALE_COUNTS:
        raise UnknownName("split of objects", name, SPLITS)
    is_unseen = name == "unseen_category"
    named = sorted(FAMILIES.items())
    families = [family for _, family in named if family.is_unseen == is_unseen]
    counts = allotment(sum(SCALE_COUNTS[name]), families)
    first = dict.fromkeys(counts, 0)
    if name == "seen_category":
        # Numbers go on where those of the training split end.
        first = allotment(sum(SCALE_COUNTS["train"]), families)
    return tuple(
        (family, first[family] + k) for family, count in counts.items() for k in range(count)
    )
