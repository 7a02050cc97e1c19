"""Retrievers and keys on banks whose answers are known, and the scores of what they find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pkubench.errors import ConfigError, DataError
from pkubench.retrieval.bank import States
from pkubench.retrieval.keys import RandomProjection, one_hot, raw_pixels
from pkubench.retrieval.optima import Optimum
from pkubench.retrieval.quality import dcg, gains, quality, spearman
from pkubench.retrieval.retrievers import (
    KeyRetriever,
    Neighbors,
    OracleRetriever,
    RandomRetriever,
    Retriever,
)
from pkubench.retrieval.search import NONE, ExactIndex
from tests.retrieval.hand_made import VALUES, by_hand


def along_a_line(images: np.ndarray, tasks: np.ndarray) -> np.ndarray:
    """The place of a hand-made image's marked cell, as a key of two numbers."""
    marked = (images[..., 0] == 5).reshape(len(images), -1)
    place = marked.argmax(1)
    return np.stack([place // 7 + 7 * (place % 7), np.ones(len(images))], 1).astype(np.float32)


def a_query(row: int, episode: int = -1, task: int | None = None) -> States:
    found = by_hand().states(np.array([row]))._replace(episodes=np.array([episode]))
    return found if task is None else found._replace(tasks=np.array([task]))


def fitted(retriever: Retriever, states: States | None = None) -> Retriever:
    retriever.fit(by_hand().states() if states is None else states)
    return retriever


def test_a_single_equal_state_is_the_answer_with_full_confidence() -> None:
    for index in (ExactIndex("l2"), ExactIndex("dot")):
        one = by_hand().states(np.array([3]))
        found = fitted(KeyRetriever(along_a_line, index), one).query(a_query(3), 1)
        assert found.weights.tolist() == [[1.0]] and found.confidence.tolist() == [1.0]
        assert found.mean(VALUES[[3]]) == pytest.approx(VALUES[3])


def test_weights_of_distances_are_the_kernel_of_episodic_control() -> None:
    found = fitted(KeyRetriever(along_a_line)).query(a_query(4), 3)
    assert sorted(found.rows[0].tolist()) == [3, 4, 5] and found.rows[0, 0] == 4
    kernel = np.array([1 / 1e-3, 1 / 1.001, 1 / 1.001])
    np.testing.assert_allclose(found.weights[0], kernel / kernel.sum(), rtol=1e-6)
    by_row = dict(zip(found.rows[0].tolist(), kernel / kernel.sum(), strict=True))
    assert found.mean(VALUES)[0] == pytest.approx(sum(w * VALUES[r] for r, w in by_row.items()))
    # from rows 8 and 9 without their episode: the nearest is 7, at distances 1 and 2
    away = fitted(KeyRetriever(along_a_line)).query(
        by_hand().states(np.array([8, 9])), 1, same_task=False
    )
    assert away.rows[:, 0].tolist() == [7, 7]
    np.testing.assert_allclose(away.confidence, [1e-3 / 1.001, 1e-3 / 4.001], rtol=1e-5)


def test_weights_of_products_are_the_softmax_over_what_was_found() -> None:
    found = fitted(KeyRetriever(along_a_line, ExactIndex("dot"))).query(a_query(2), 3)
    assert found.rows[0].tolist() == [9, 8, 7]  # the longest keys
    logits = np.array([2 * 9 + 1, 2 * 8 + 1, 2 * 7 + 1]) / np.sqrt(2)
    softmax = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(found.weights[0], softmax, rtol=1e-5)
    assert found.confidence[0] == pytest.approx(softmax[0], rel=1e-5)


def test_a_state_does_not_find_its_own_episode_unless_asked_to() -> None:
    retriever = fitted(KeyRetriever(along_a_line))
    query = by_hand().states(np.array([4]))
    assert retriever.query(query, 1).rows.tolist() == [[5]]
    assert retriever.query(query, 1, own_episode=True).rows.tolist() == [[4]]
    rows = retriever.query(query, 8).rows[0]
    assert sorted(rows.tolist()) == [NONE, NONE, NONE, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("kind", [lambda: KeyRetriever(raw_pixels), RandomRetriever])
def test_only_the_own_task_is_found_where_asked(kind: type[RandomRetriever]) -> None:
    retriever = fitted(kind())
    for task, rows in ((0, set(range(8))), (1, {8, 9})):
        found = retriever.query(a_query(0, task=task), 10, same_task=True)
        assert set(found.rows[0].tolist()) - {NONE} == rows
        np.testing.assert_allclose(found.weights.sum(), 1.0)
        assert (found.weights[found.rows == NONE] == 0).all()
    nothing = retriever.query(a_query(8, episode=2, task=1), 2, same_task=True)
    assert nothing.rows.tolist() == [[NONE, NONE]]
    assert nothing.mean(VALUES).tolist() == [0.0] and nothing.confidence.tolist() == [0.0]


def test_the_order_of_the_bank_does_not_change_the_answer() -> None:
    bank, order = by_hand(), np.random.default_rng(0).permutation(10)
    for index in (ExactIndex("l2"), ExactIndex("dot")):
        retriever = KeyRetriever(along_a_line, index)
        answers = [
            fitted(retriever, bank.states(rows)).query(bank.states(), 2).mean(VALUES[rows])
            for rows in (np.arange(10), order)
        ]
        np.testing.assert_allclose(*answers, rtol=1e-6)


def test_states_can_be_added() -> None:
    bank, whole = by_hand(), fitted(KeyRetriever(along_a_line))
    parts = fitted(KeyRetriever(along_a_line), bank.states(np.arange(4)))
    parts.add(bank.states(np.arange(4, 10)))
    for found, wanted in zip(
        parts.query(bank.states(), 3), whole.query(bank.states(), 3), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    again = fitted(fitted(RandomRetriever(), bank.states(np.arange(4))), bank.states())
    assert len(again.tasks) == 10  # type: ignore[attr-defined]


def test_a_saved_retriever_finds_the_same(tmp_path: Path) -> None:
    bank, path = by_hand(), tmp_path / "keys.npz"
    projection = RandomProjection(8)
    for embed, metric in ((raw_pixels, "l2"), (projection, "dot")):
        retriever = KeyRetriever(embed, ExactIndex(metric))  # type: ignore[arg-type]
        retriever.fit(bank.states())
        retriever.save(path)
        found = KeyRetriever.load(path, embed)
        pairs = zip(found.query(bank.states(), 3), retriever.query(bank.states(), 3), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)
    with pytest.raises(DataError, match=r"has keys by RandomProjection\(width=8, seed=0\), not by"):
        KeyRetriever.load(path, RandomProjection(8, seed=1))
    bank.save(path)
    with pytest.raises(DataError, match="is a pkubench memory bank"):
        KeyRetriever.load(path, raw_pixels)


def test_keys_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gave keys \(10,\) of 10 states"):
        fitted(KeyRetriever(lambda images, tasks: np.zeros(len(images), np.float32)))
    with pytest.raises(ConfigError, match="nothing to look up"):
        RandomRetriever().query(a_query(0), 1)


def test_random_rows_are_all_different_even_and_the_same_for_a_seed() -> None:
    bank = by_hand()
    retriever = fitted(RandomRetriever(seed=5))
    many = States(*(np.repeat(of[:1], 600, axis=0) for of in bank.states()))
    found = retriever.query(many, 2)
    assert (found.rows[:, 0] != found.rows[:, 1]).all() and (found.rows >= 5).all()
    shares = np.bincount(found.rows.ravel(), minlength=10)[5:] / found.rows.size
    np.testing.assert_allclose(shares, 1 / 5, atol=0.05)
    np.testing.assert_array_equal(retriever.query(many, 2).rows, found.rows)
    assert (fitted(RandomRetriever(seed=6)).query(many, 2).rows != found.rows).any()
    assert found.weights.tolist() == [[0.5, 0.5]] * 600


def answers(values: list[float], actions: list[int]) -> Optimum:
    return Optimum(np.array(values), np.array(actions, dtype=np.uint8))


KNOWN = answers([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0], [1, 2, 1, 2, 1, 2, 1, 2, 3, 6])


def test_the_oracle_finds_the_nearest_values_with_a_common_action() -> None:
    oracle = OracleRetriever(KNOWN)
    fitted(oracle)
    asked = oracle.asked(answers([0.58], [1]))
    assert asked.query(a_query(0), 4).rows.tolist() == [[4, 2, 6, 0]]
    assert asked.query(a_query(0, episode=0), 3).rows.tolist() == [[6, 8, 5]]  # 5: no action
    assert asked.query(a_query(0, task=1), 3, same_task=True).rows.tolist() == [[8, 9, NONE]]
    both = oracle.asked(answers([0.58], [3]))
    assert both.query(a_query(0), 2).rows.tolist() == [[3, 4]]
    with pytest.raises(ConfigError, match="does not know"):
        fitted(OracleRetriever(KNOWN)).query(a_query(0), 1)


def test_raw_keys_are_the_image_and_projected_ones_keep_its_distances() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, (11, 6, 4), (40, 7, 7, 3)).astype(np.uint8)
    tasks = np.zeros(40, np.int64)
    assert raw_pixels(images, tasks).shape == (40, 147)
    assert raw_pixels(images, tasks)[3, 5] == images[3, 0, 1, 2]
    ones = one_hot(images)
    assert ones.shape == (40, 49 * 21) and (ones.sum(1) == 147).all()
    differ = (images[0] != images[1]).sum()
    assert ((ones[0] - ones[1]) ** 2).sum() == 2 * differ
    projected = RandomProjection(2048, seed=1)(images, tasks)
    for a, b in ((0, 1), (5, 9)):
        exact = ((ones[a] - ones[b]) ** 2).sum()
        assert ((projected[a] - projected[b]) ** 2).sum() == pytest.approx(exact, rel=0.15)
    np.testing.assert_array_equal(projected[:3], RandomProjection(2048, 1)(images[:3], tasks[:3]))
    assert (RandomProjection(8, 1)(images, tasks) != RandomProjection(8, 2)(images, tasks)).any()


def test_quality_is_what_the_definitions_say() -> None:
    queries = answers([0.58, 0.2], [1, 2])
    rows = np.array([[4, 3], [7, NONE]])
    found = Neighbors(rows, np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([0.9, 0.1]))
    best = Neighbors(np.array([[4, 2], [7, 5]]), np.full((2, 2), 0.5), np.ones(2))
    returns = np.arange(10) / 10
    of = quality(found, best, (np.array([0, 1]), by_hand().row_tasks), (queries, KNOWN), returns)
    assert of.task_precision == pytest.approx(2 / 3) and of.queries == 2
    assert of.action_agreement == pytest.approx(2 / 3)  # 4 and 7; not 3, and none counts
    errors = np.array([0.25 * 0.4 + 0.75 * 0.3 - 0.58, 0.7 - 0.2])
    assert of.value_rmse == pytest.approx(np.sqrt((errors**2).mean()))
    optimal = np.array([0.25 * 0.5 + 0.75 * 0.6 - 0.58, 0.0])
    assert of.optimal_rmse == pytest.approx(np.sqrt((optimal**2).mean()))
    e = np.exp
    first = e(-0.08 / 0.05) / (e(-0.08 / 0.05) + e(-0.12 / 0.05) / np.log2(3))
    second = 1 / (1 + e(-0.2 / 0.05) / np.log2(3))
    assert of.ndcg == pytest.approx((first + second) / 2)
    assert of.calibration == pytest.approx(1.0)  # 0.9 with the error 0.255, 0.1 with 0.5


def test_gains_of_the_oracle_are_the_best_there_are() -> None:
    queries, oracle = answers([0.33, 0.71, 0.0], [1, 2, 4]), OracleRetriever(KNOWN)
    fitted(oracle)
    states = by_hand().states(np.arange(3))._replace(episodes=np.full(3, -1))
    best = oracle.asked(queries).query(states, 4)
    every = np.tile(np.arange(10), (3, 1))
    sorted_gains = -np.sort(-gains(every, queries, KNOWN), axis=1)[:, :4]
    np.testing.assert_allclose(gains(best.rows, queries, KNOWN), sorted_gains)
    assert dcg(np.ones((1, 3)))[0] == pytest.approx(1 + 1 / np.log2(3) + 1 / 2)


def test_a_constant_confidence_has_no_calibration() -> None:
    assert spearman(np.ones(4), np.arange(4.0)) is None
    assert spearman(np.array([1.0, 5.0, 9.0]), np.array([0.1, 0.2, 7.0])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 5.0, 9.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1.0)
