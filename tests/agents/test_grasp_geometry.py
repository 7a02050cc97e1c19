"""Codes, clusters and curricula of geometry against small cases solved by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from pkubench.agents.families.task_geometry.autoencoder import (
    SMALL,
    UNIT_M,
    AutoencoderSettings,
    AutoencoderTraining,
    Codes,
    PointAutoencoder,
    chamfer,
)
from pkubench.agents.families.task_geometry.clusters import (
    assign,
    geo_clustering,
)
from pkubench.agents.families.task_geometry.curriculum import (
    category_curriculum,
    geo_curriculum,
)
from pkubench.agents.rl.partitions import category_partition, random_partition
from pkubench.errors import ConfigError, WeightsError

TINY = AutoencoderSettings(
    code=8, points=48, point_hidden=(16, 32), hidden=(64,), batch=16, lr=5e-3, steps=150
)


def shapes(random: np.random.Generator, count: int, points: int) -> np.ndarray:
    """Rods along x and discs in the plane, of 5 to 10 cm."""
    flat = random.uniform(-1, 1, (count, points, 3))
    rods = random.random(count) < 0.5
    flat *= np.where(rods[:, None], [1.0, 0.1, 0.1], [0.7, 0.7, 0.05])[:, None]
    return flat * random.uniform(0.05, 0.1, (count, 1, 1))


def test_the_chamfer_distance_by_hand_and_by_scipy() -> None:
    first = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    second = torch.tensor([[[0.0, 2, 0]]])
    # 4 and 5 from the first cloud's points, and 4 from the second's.
    assert chamfer(first, second).item() == pytest.approx(13.0)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 20, 3)), rng.normal(size=(3, 30, 3))
    squares = [cdist(x, y, "sqeuclidean") for x, y in zip(a, b, strict=True)]
    expected = [s.min(0).sum() + s.min(1).sum() for s in squares]
    np.testing.assert_allclose(chamfer(torch.tensor(a), torch.tensor(b)), expected, rtol=1e-10)


def test_the_encoder_has_the_published_layers() -> None:
    module = PointAutoencoder(AutoencoderSettings(), torch.Generator().manual_seed(0))
    sizes = [tuple(x.weight.shape) for x in module.encoder if isinstance(x, torch.nn.Linear)]
    assert sizes == [(64, 3), (128, 64), (128, 128), (256, 128), (64, 256)]
    sizes = [tuple(x.weight.shape) for x in module.decoder if isinstance(x, torch.nn.Linear)]
    assert sizes == [(256, 64), (256, 256), (3072, 256)]
    assert isinstance(module.encoder[-1], torch.nn.Linear)
    small = PointAutoencoder(SMALL, torch.Generator().manual_seed(0))
    assert [x.out_features for x in small.encoder if isinstance(x, torch.nn.Linear)] == [
        *(32, 64, 128),
        64,
    ]
    # He's uniform: bound sqrt(6 / inputs).
    first = module.encoder[3].weight.detach()
    assert first.abs().max() <= (6 / 64) ** 0.5
    assert first.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)


def test_training_learns_to_reconstruct_and_codes_tell_shapes_apart() -> None:
    training = AutoencoderTraining(TINY, shapes, seed=3)
    losses = [training.iterate()["chamfer"] for _ in range(150)]
    assert np.mean(losses[-10:]) < 0.15 * losses[0]
    assert training.optimiser.inner.param_groups[0]["lr"] < 1e-5
    codes = Codes(TINY, training.tensors())
    rng = np.random.default_rng(9)
    rods = np.concatenate([shapes(rng, 1, 64) for _ in range(60)])
    is_rod = np.abs(rods[:, :, 1]).max(axis=1) < 0.02
    found = codes(rods)
    assert found.shape == (60, 8) and found.dtype == np.float32
    clusters = geo_clustering(found, 2, seed=0)
    agreement = np.mean(clusters.labels == (is_rod != is_rod[0]))
    assert agreement > 0.9


def test_a_code_depends_on_the_set_of_points_and_not_on_their_order_or_number() -> None:
    codes = Codes(TINY, AutoencoderTraining(TINY, shapes, 0).tensors())
    cloud = shapes(np.random.default_rng(1), 2, 40)
    shuffled = cloud[:, ::-1]
    np.testing.assert_array_equal(codes(cloud), codes(shuffled))
    np.testing.assert_array_equal(codes(cloud), codes(np.concatenate([cloud, cloud], axis=1)))
    # The maximum over points: one that is there twice counts once.
    more = np.concatenate([cloud, cloud[:, :5]], axis=1)
    np.testing.assert_array_equal(codes(cloud), codes(more))
    assert not np.allclose(codes(cloud), codes(1.5 * cloud))
    np.testing.assert_array_equal(codes(cloud, block=1), codes(cloud))


def test_positions_enter_in_units_of_ten_centimeters() -> None:
    training = AutoencoderTraining(TINY, shapes, 0)
    cloud = shapes(np.random.default_rng(1), 2, 40)
    module = training.module.double().eval()
    expected = module.encode(torch.tensor(cloud / 0.1)).detach().numpy()
    assert UNIT_M == 0.1
    np.testing.assert_allclose(Codes(TINY, training.tensors())(cloud), expected, rtol=1e-6)


def test_a_training_resumes_to_the_same_bits() -> None:
    straight = AutoencoderTraining(TINY, shapes, seed=5)
    for _ in range(3):
        straight.iterate()
    state = straight.state()
    resumed = AutoencoderTraining(TINY, shapes, seed=6)
    resumed.load_state(state)
    for _ in range(3):
        assert straight.iterate() == resumed.iterate()
    for name, value in straight.tensors().items():
        np.testing.assert_array_equal(value, resumed.tensors()[name])


def test_weights_of_another_network_are_refused() -> None:
    tensors = AutoencoderTraining(TINY, shapes, 0).tensors()
    with pytest.raises(WeightsError, match="not the weights"):
        Codes(SMALL, tensors)
    with pytest.raises(ConfigError, match="last_lr"):
        AutoencoderSettings(last_lr=1.0)
    with pytest.raises(ConfigError, match="1 or more"):
        AutoencoderSettings(code=0)


def blobs(seed: int, count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    labels = rng.permutation(np.repeat(np.arange(4), count))
    return centers[labels] + rng.normal(scale=0.5, size=(4 * count, 2)), labels


@pytest.mark.parametrize("seed", range(5))
def test_clusters_of_separate_groups_are_the_groups(seed: int) -> None:
    points, labels = blobs(seed)
    found = geo_clustering(points, 4, seed=seed)
    for k in range(4):
        assert len(set(labels[found.labels == k])) == 1
        np.testing.assert_allclose(found.centroids[k], points[found.labels == k].mean(axis=0))
    # Numbered by their first tasks.
    firsts = [int(np.flatnonzero(found.labels == k)[0]) for k in range(4)]
    assert firsts == sorted(firsts)
    np.testing.assert_array_equal(assign(points, found.centroids), found.labels)
    assert assign([[9.0, 1.0]], found.centroids)[0] == found.labels[np.flatnonzero(labels == 1)[0]]


def test_clusters_of_a_line_by_hand() -> None:
    points = np.array([[0.0], [1.0], [10.0], [11.0], [12.0]])
    found = geo_clustering(points, 2, seed=0)
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_allclose(found.centroids, [[0.5], [11.0]])
    assert found.inertia == pytest.approx(0.5 + 2.0)
    again = geo_clustering(points, 2, seed=0)
    np.testing.assert_array_equal(again.labels, found.labels)
    each = geo_clustering(points, 5, seed=0)
    assert each.labels.tolist() == [0, 1, 2, 3, 4] and each.inertia == 0.0


@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_the_restarts_is_kept(seed: int) -> None:
    # Cut across its short side, this rectangle is a local optimum of inertia 1.44.
    corners = [[0.0, 0.0], [0.0, 1.0], [1.2, 0.0], [1.2, 1.0]]
    assert geo_clustering(corners, 2, seed=seed).inertia == pytest.approx(1.0)


def test_clusters_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 different tasks"):
        geo_clustering([[0.0], [1.0], [1.0]], 3, seed=0)
    with pytest.raises(ConfigError, match="not finite"):
        geo_clustering([[0.0], [np.nan]], 1, seed=0)
    with pytest.raises(ConfigError, match="restarts must be 1 or more, got 0"):
        geo_clustering([[0.0], [1.0]], 1, seed=0, restarts=0)
    for features in ([0.0, 1.0], np.zeros((0, 3))):
        with pytest.raises(ConfigError, match="one row a task"):
            geo_clustering(features, 1, seed=0)
        with pytest.raises(ConfigError, match="one row a task"):
            geo_curriculum(features, 0)


def test_the_random_partition_has_the_same_sizes_and_no_geometry() -> None:
    points, _ = blobs(1)
    found = geo_clustering(points[:100], 4, seed=0)
    control = random_partition(found.labels, seed=1)
    np.testing.assert_array_equal(np.bincount(control), np.bincount(found.labels))
    # Within random groups, tasks are as far apart as they are overall.
    spread = sum(points[:100][control == k].var(axis=0).sum() for k in range(4)) / 4
    assert spread > 0.8 * points[:100].var(axis=0).sum()
    assert not np.array_equal(control, random_partition(found.labels, seed=2))


def test_the_category_partition_keeps_families_whole_and_groups_even() -> None:
    families = ["a"] * 5 + ["b"] * 3 + ["c"] * 2 + ["d"] * 1
    found = category_partition(families, 2)
    # a to the first group, b and c to the second, d to the first of equal size.
    assert found.tolist() == [0] * 5 + [1] * 5 + [0]
    with pytest.raises(ConfigError, match="4 families"):
        category_partition(families, 5)
    for names, groups in ((["a", ""], 1), (["a"], 0)):
        with pytest.raises(ConfigError, match="every task needs a family"):
            category_partition(names, groups)
    for names, first in (([], 0), (["a", ""], 0), (["a"], 1)):
        with pytest.raises(ConfigError, match="begins with one of the tasks"):
            category_curriculum(names, first)


def test_the_curriculum_begins_in_the_middle_and_grows_to_all_tasks() -> None:
    points, labels = blobs(2)
    points = np.concatenate([points, [[5.0, 5.0]]])
    levels = geo_curriculum(points, seed=0, sizes=(1, 4, 16))
    assert levels[0].tolist() == [120]  # the task nearest to the mean of all
    assert len(levels[1]) == 5 and set(labels[levels[1][:4]]) == {0, 1, 2, 3}
    for before, after in pairwise(levels):
        assert set(before.tolist()) <= set(after.tolist())
    assert levels[-1].tolist() == list(range(121))
    assert [len(level) for level in geo_curriculum(points[:3], 0)] == [1, 3]
    for seed in range(10):  # no level stands twice, also where one before the last has all tasks
        sizes = [len(level) for level in geo_curriculum(blobs(2)[0][:6], seed, sizes=(1, 4, 5))]
        assert sizes == sorted(set(sizes)) and sizes[-1] == 6
    with pytest.raises(ConfigError, match="increase"):
        geo_curriculum(points, 0, sizes=(4, 1))


def test_the_category_curriculum_goes_from_one_task_to_its_family_to_three_to_all() -> None:
    families = ["mug", "can", "can", "mug", "can", "egg", "key", "egg"]
    levels = category_curriculum(families, first=3)
    assert [level.tolist() for level in levels] == [
        [3],
        [0, 3],
        [0, 1, 2, 3, 4, 5, 7],
        list(range(8)),
    ]
    assert [level.tolist() for level in category_curriculum(["a", "b"])] == [[0], [0, 1]]
