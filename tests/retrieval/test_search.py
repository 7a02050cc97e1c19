"""Searches against the sorted distances of hand-made keys."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from pkubench.errors import ConfigError, MissingExtra
from pkubench.retrieval import search
from pkubench.retrieval.search import NONE, ApproximateIndex, ExactIndex, Index

HAS_USEARCH = importlib.util.find_spec("usearch") is not None
KINDS = [
    ExactIndex,
    pytest.param(
        ApproximateIndex, marks=pytest.mark.skipif(not HAS_USEARCH, reason="needs usearch")
    ),
]
NONES = np.full(500, -1)


def drawn(count: int = 500, width: int = 5) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(-9, 10, (count, width)).astype(np.float32)


def slow(keys: np.ndarray, query: np.ndarray, metric: str, allowed: np.ndarray) -> np.ndarray:
    """The scores of all allowed keys, the best first."""
    away = -((keys - query) ** 2).sum(1) if metric == "l2" else keys @ query
    return np.sort(away[allowed])[::-1]


@pytest.mark.parametrize("metric", ["l2", "dot"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_allowed_keys_are_found_in_order(
    kind: type[Index], metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_CHUNK", 64)  # several chunks, the last one not full
    monkeypatch.setattr(search, "_QUERIES", 7)
    keys, queries = drawn(), drawn(20) + 0.5
    tasks, episodes = np.arange(500) % 3, np.arange(500) // 50
    index = kind(metric)  # type: ignore[arg-type]
    index.fit(keys[:300], tasks[:300], episodes[:300])
    index.add(keys[300:], tasks[300:], episodes[300:])
    own_task, own_episode = np.arange(20) % 3, np.arange(20) % 10
    for of_tasks, of_episodes in ((None, None), (own_task, None), (own_task, own_episode)):
        found = index.query(queries, 8, of_tasks, of_episodes)
        for number in range(20):
            allowed = np.ones(500, bool)
            if of_tasks is not None:
                allowed &= tasks == of_tasks[number]
            if of_episodes is not None:
                allowed &= episodes != of_episodes[number]
            rows = found.rows[number]
            assert allowed[rows].all() and len(set(rows.tolist())) == 8
            best = slow(keys, queries[number], metric, allowed)[:8]
            np.testing.assert_allclose(found.scores[number], best, atol=1e-3)
            own = [slow(keys[[row]], queries[number], metric, np.ones(1, bool))[0] for row in rows]
            np.testing.assert_allclose(own, best, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_places_without_an_allowed_key_are_marked(kind: type[Index]) -> None:
    index = kind()
    index.fit(drawn(6), np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2]))
    found = index.query(drawn(3), 4, np.array([0, 1, 7]), np.array([0, -1, 0]))
    assert [sorted(rows[rows != NONE].tolist()) for rows in found.rows] == [[2], [3, 4, 5], []]
    assert np.isneginf(found.scores[found.rows == NONE]).all()
    assert (found.rows[0] == [2, NONE, NONE, NONE]).all()
    index.fit(drawn(6), NONES[:6], NONES[:6])  # -1 is no episode, so it is not the same one
    assert set(index.query(drawn(1), 6, None, NONES[:1]).rows[0].tolist()) == set(range(6))


def test_equal_keys_are_taken_in_the_same_order_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = ExactIndex()
    index.fit(np.zeros((500, 2), np.float32), NONES, NONES)
    whole = index.query(np.ones((2, 2), np.float32), 9)
    np.testing.assert_array_equal(whole.rows[0], whole.rows[1])
    # by hash, not by age: old and new rows alike
    by_hash = np.argsort(search._mixed(np.arange(500, dtype=np.uint32)))[:9]
    np.testing.assert_array_equal(whole.rows[0], by_hash)
    assert whole.rows[0].min() < 250 < whole.rows[0].max()
    monkeypatch.setattr(search, "_CHUNK", 50)
    np.testing.assert_array_equal(index.query(np.ones((1, 2), np.float32), 9).rows[0], by_hash)


def test_the_order_of_the_keys_does_not_matter() -> None:
    keys, order = drawn(), np.random.default_rng(0).permutation(500)
    queries, found = drawn(20) + 0.25, []
    for of in (keys, keys[order]):
        index = ExactIndex()
        index.fit(of, NONES, NONES)
        found.append(index.query(queries, 5))
    np.testing.assert_array_equal(found[0].scores, found[1].scores)
    own = ((keys[found[0].rows] - queries[:, None]) ** 2).sum(2)
    np.testing.assert_allclose(-found[0].scores, own, rtol=1e-5)


def test_hashes_of_rows_are_all_different() -> None:
    assert len(np.unique(search._mixed(np.arange(1 << 16, dtype=np.uint32)))) == 1 << 16


def test_wrong_keys_and_queries_are_refused_in_one_line() -> None:
    index = ExactIndex()
    with pytest.raises(ConfigError, match="index is empty"):
        index.query(drawn(1), 3)
    index.fit(drawn(4), NONES[:4], NONES[:4])
    with pytest.raises(ConfigError, match=r"wanted \(n, 5\)"):
        index.add(drawn(4, 3), NONES[:4], NONES[:4])
    with pytest.raises(ConfigError, match=r"wanted k of at least 1 and keys \(n, 5\)"):
        index.query(drawn(1, 3), 3)
    with pytest.raises(ConfigError, match="k = 0"):
        index.query(drawn(1), 0)
    with pytest.raises(ConfigError, match="NaN"):
        index.add(np.full((1, 5), np.nan, np.float32), NONES[:1], NONES[:1])
    with pytest.raises(ConfigError, match="l2 or dot"):
        ExactIndex("cosine")  # type: ignore[arg-type]


@pytest.mark.skipif(HAS_USEARCH, reason="usearch is installed")
def test_approximate_search_names_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"pkubench\[search\]"):
        ApproximateIndex()
