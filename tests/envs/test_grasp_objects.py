"""Objects to grasp against formulas, published counts, and hulls of another library."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.stats import chi2

from pkubench.envs.grasp.objects.draws import Draws
from pkubench.envs.grasp.objects.families import FAMILIES
from pkubench.envs.grasp.objects.model import MAX_PARTS, QUANTUM, GraspObject, make_object
from pkubench.envs.grasp.objects.shapes import box, cylinder, turn, turned, wall
from pkubench.envs.grasp.objects.splits import (
    SCALES,
    SPLITS,
    scales,
    small_scales,
    small_split,
    split,
)
from pkubench.envs.grasp.objects.surface import contains, surface_points
from pkubench.errors import DataError, UnknownName

PUBLISHED = {
    "train": (3200, (1342, 913, 543, 281, 121)),
    "seen_category": (141, (62, 39, 23, 12, 5)),
    "unseen_category": (100, (42, 25, 16, 12, 5)),
}
"""Objects, and how many of each scale: counted in the split files of UniDexGrasp++."""


@pytest.mark.parametrize("name", SPLITS)
def test_splits_have_the_published_numbers_of_objects_and_scales(name: str) -> None:
    count, per_scale = PUBLISHED[name]
    assert len(split(name)) == len(scales(name)) == count
    assert tuple(int((scales(name) == scale).sum()) for scale in SCALES) == per_scale


def test_splits_share_no_object_and_the_unseen_one_no_family() -> None:
    families = {name: {item.family for item in split(name)} for name in SPLITS}
    assert families["seen_category"] <= families["train"]
    assert not families["unseen_category"] & families["train"]
    assert len(families["train"]) >= 90 and len(families["unseen_category"]) >= 22
    everything = [item for name in SPLITS for item in split(name)]
    assert len({item.digest for item in everything}) == len(everything) == 3441
    assert len({item.name for item in everything}) == 3441


def test_small_splits_are_parts_of_the_full_ones_and_have_few_parts() -> None:
    for name, count in zip(SPLITS, (24, 18, 9), strict=True):
        small = small_split(name)
        assert len(small) == len(small_scales(name)) == count
        assert {item.digest for item in small} <= {item.digest for item in split(name)}
        assert max(len(item.parts) for item in small) <= 4
        assert set(small_scales(name).tolist()) == {0.06, 0.08, 0.10}
    assert len({item.family for item in small_split("train")}) == 9
    assert len({item.family for item in small_split("unseen_category")}) == 9


def test_an_unknown_split_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unseen_category"):
        split("unseen_categories")


DIGESTS = {
    "bottle/0000": "74eb2df931146a361d6bf22386f4a12d1f9798b1324e5a7006da30ab06b0b88b",
    "mug/0007": "72c94b8e25c7078b39e8c8a05330611c87d52809be544bd38258fc5c32077b60",
    "donut/0001": "f0ed219f56a7369be69bc0a1ae874eff88798c517d7da354705799d041101ff0",
    "teapot/0002": "15a60dd4f2158a701d360bd64d7a71410d8b5ce3d0d9c9102a5961a76a483671",
    "sphere/0043": "74c9b5c659e73bfaabe4f324c7aabdbf20c5095e27724c0be21801f685314e8f",
}
"""What these objects have been since the first release: records of evaluations refer to them."""


@pytest.mark.parametrize("name", DIGESTS)
def test_an_object_is_the_same_on_every_machine_and_in_every_release(name: str) -> None:
    family, number = name.split("/")
    assert FAMILIES[family].make(int(number)).digest == DIGESTS[name]


def test_the_small_training_set_is_the_same_in_every_release() -> None:
    found = hashlib.sha256("".join(item.digest for item in small_split("train")).encode())
    assert found.hexdigest() == SMALL


SMALL = "68fe8bf4444b137108dedefe39e4bf4ba16391ef39f914f7e5335a149c5fd0e5"


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_are_convex_few_and_normalized(family: str) -> None:
    item = FAMILIES[family].make(3)
    assert 1 <= len(item.parts) <= MAX_PARTS
    assert np.linalg.norm(item.vertices, axis=1).max() == pytest.approx(1.0, abs=2 * QUANTUM)
    np.testing.assert_allclose(item.center, 0.0, atol=8 * QUANTUM)
    for part in item.parts:
        counts = part.vertices / QUANTUM
        np.testing.assert_array_equal(counts, np.rint(counts))
        outside = part.vertices @ part.halfspaces[:, :3].T - part.halfspaces[:, 3]
        # Slivers of a rounded flat side may stand a little proud.
        assert np.quantile(outside, 0.999) < 30 * QUANTUM
        assert part.volume == pytest.approx(ConvexHull(part.vertices).volume, rel=2e-3, abs=1e-6)


def test_volume_of_a_box_and_of_a_regular_prism_by_hand() -> None:
    a, b, c = 2.0, 1.0, 0.5
    radius = math.sqrt(a * a + b * b + c * c) / 2
    item = make_object("box/0000", [box(a, b, c, (5.0, -3.0, 2.0))])
    assert item.volume == pytest.approx(a * b * c / radius**3, rel=1e-3)
    sides, r, h = 16, 0.7, 3.0
    area = sides / 2 * math.sin(2 * math.pi / sides) * r * r
    item = make_object("can/0000", [cylinder(r, h)])
    assert item.volume == pytest.approx(area * h / math.hypot(r, h / 2) ** 3, rel=1e-3)


def test_volume_and_center_of_a_cone_by_hand() -> None:
    item = make_object("cone/0000", [turned((1.0, 0.0), (0.0, 4.0))])
    # A pyramid's center of mass is a quarter of its height above the base: the base's corners are
    # at distance sqrt(1 + 1), the apex at 3, so that 3 becomes 1.
    assert item.vertices[:, 2].max() == pytest.approx(1.0, abs=QUANTUM)
    assert item.vertices[:, 2].min() == pytest.approx(-1 / 3, abs=QUANTUM)
    base = 16 / 2 * math.sin(2 * math.pi / 16)
    assert item.volume == pytest.approx(base * 4 / 3 / 27, rel=1e-3)


def test_center_of_mass_of_two_blocks_by_hand() -> None:
    # An upright block of volume 3 about (0.5, 0, 1.5), and a lying one of volume 1 about (1.5, 0,
    # 0.5): together (0.75, 0, 1.25). The corner (0, +-0.5, 3) is the farthest from there.
    item = make_object("l/0000", [box(1, 1, 3, (0.5, 0, 1.5)), box(1, 1, 1, (1.5, 0, 0.5))])
    radius = math.sqrt(0.75**2 + 0.5**2 + 1.75**2)
    low = item.vertices.min(axis=0) * radius
    np.testing.assert_allclose(low, [-0.75, -0.5, -1.25], atol=4 * QUANTUM)
    assert item.volume == pytest.approx(4 / radius**3, rel=1e-3)


def test_the_digest_is_of_the_geometry_alone() -> None:
    cube = box(1, 1, 1)
    first = make_object("a/0000", [cube])
    assert make_object("b/0000", [3.0 * cube + 1.0]).digest == first.digest
    assert make_object("a/0000", [box(1, 1, 1.001)]).digest != first.digest


def test_draws_are_the_leading_53_bits_of_a_hash() -> None:
    for number in range(8):
        name = f"mug/{number:04d}"
        word = hashlib.sha256(f"{name}#0".encode()).digest()[:8]
        expected = (int.from_bytes(word, "little") >> 11) / 2**53
        assert Draws(name).between(0.0, 1.0) == expected
    draws = Draws("uniform")
    numbers = np.array([draws.whole(1, 4) for _ in range(4000)])
    counts = np.bincount(numbers, minlength=5)[1:]
    assert ((counts - 1000) ** 2 / 1000).sum() < chi2.ppf(0.999, 3)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([np.zeros((5, 3))], "not a solid"),
        ([np.full((5, 3), np.nan)], "not a solid"),
        ([], "1 to 16"),
        ([box(1, 1, 1)] * 17, "17 convex parts"),
    ],
)
def test_what_is_not_an_object_is_refused(points: list[np.ndarray], words: str) -> None:
    with pytest.raises(DataError, match=words):
        make_object("bad/0000", points)


def test_a_box_turned_and_turned_back_is_itself() -> None:
    corners = box(1.0, 2.0, 3.0)
    (quarter,) = turn(corners, "z", 0.25)
    np.testing.assert_allclose(quarter[:, 0], -corners[:, 1], atol=1e-15)
    np.testing.assert_allclose(quarter[:, 1], corners[:, 0], atol=1e-15)
    (back,) = turn(turn(corners, "y", 0.1), "y", -0.1)
    np.testing.assert_allclose(back, corners, atol=1e-15)


def plain(*sizes: float) -> GraspObject:
    return make_object("box/0000", [box(*sizes)])


def test_surface_points_are_uniform_by_area() -> None:
    points, normals = surface_points(plain(3.0, 2.0, 1.0), 6000, seed=1)
    radius = math.sqrt(14.0) / 2
    half = np.array([1.5, 1.0, 0.5]) / radius
    axis = np.abs(normals).argmax(axis=1)
    sign = np.sign(normals[np.arange(len(axis)), axis])
    np.testing.assert_allclose(
        sign * points[np.arange(len(axis)), axis], half[axis], atol=2 * QUANTUM
    )
    # Each side in four cells: 24 cells of areas by hand.
    other = np.array([(1, 2), (0, 2), (0, 1)])[axis]
    cell = sum((points[np.arange(len(axis)), other[:, k]] > 0) * 2**k for k in range(2))
    counts = np.zeros((3, 2, 4))
    np.add.at(counts, (axis, (sign > 0).astype(int), cell), 1)
    areas = np.array([2.0 * 1.0, 3.0 * 1.0, 3.0 * 2.0])[:, None, None] / 4 * np.ones((3, 2, 4))
    expected = 6000 * areas / areas.sum()
    assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 23)


def test_no_surface_point_lies_where_parts_touch_or_overlap() -> None:
    # A 2 x 1 x 1 box made of two cubes that overlap by a half: 10 of surface, as one box has.
    halves = [box(1.25, 1, 1, (-0.375, 0, 0)), box(1.25, 1, 1, (0.375, 0, 0))]
    points, normals = surface_points(make_object("pair/0000", halves), 4000, seed=2)
    radius = math.sqrt(1.5)
    assert not np.any(np.abs(points[:, 0]) < 0.9 / radius, where=np.abs(normals[:, 0]) > 0.9)
    ends = np.abs(normals[:, 0]) > 0.9
    assert ends.mean() == pytest.approx(2 / 10, abs=4 * math.sqrt(0.16 / 4000))
    # Where both halves have the same outer side, points are not twice as dense.
    sides = points[~ends][:, 0] * radius
    middle = np.mean(np.abs(sides) < 0.25)
    assert middle == pytest.approx(0.25, abs=4 * math.sqrt(0.19 / len(sides)))


def test_a_tube_of_wedges_has_points_on_its_outside_inside_and_rims_only() -> None:
    pieces, inner, outer, height = 8, 0.5, 1.0, 1.0
    item = make_object("tube/0000", wall((inner, inner), (outer, outer), 0.0, height, pieces))
    radius = math.hypot(outer, height / 2)
    points, _ = surface_points(item, 5000, seed=3)
    across = np.linalg.norm(points[:, :2], axis=1) * radius
    is_rim = np.abs(np.abs(points[:, 2]) * radius - height / 2) < 1e-3
    is_inside = ~is_rim & (across < 0.51) & (across > 0.45)
    is_outside = ~is_rim & (across > 0.97)
    assert (is_rim | is_inside | is_outside).all()
    outer_side = 16 * 2 * math.sin(math.pi / 16) * height
    inner_side = 8 * 2 * inner * math.sin(math.pi / 8) * height
    rims = 2 * (8 * math.sin(math.pi / 8) - 4 * inner**2 * math.sin(math.pi / 4))
    total = outer_side + inner_side + rims
    for found, area in ((is_outside, outer_side), (is_inside, inner_side), (is_rim, rims)):
        share = area / total
        assert found.mean() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 5000))


def test_surface_points_depend_on_the_seed_alone() -> None:
    item = FAMILIES["mug"].make(0)
    first, second = surface_points(item, 100, 5)[0], surface_points(item, 100, 5)[0]
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, surface_points(item, 100, 6)[0])


def test_a_point_is_inside_or_not() -> None:
    part = plain(2.0, 2.0, 2.0).parts[0]
    half = 1 / math.sqrt(3)
    places = np.array([[0, 0, 0], [0.99 * half, 0, 0], [1.01 * half, 0, 0]])
    assert contains(part, places).tolist() == [True, True, False]
    corners = np.array(list(itertools.product((-1, 1), repeat=3))) * half
    assert not contains(part, 1.01 * corners).any()
