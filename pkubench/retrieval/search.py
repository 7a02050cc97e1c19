"""Nearest keys: exact search with torch, and approximate search with usearch for large banks.

An index keeps keys with the task and the episode of each. The order of what it finds is fixed: of
keys with equal scores those come first whose number has the smaller hash, so that among many equal
images no episode is preferred.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.data.episodes import Array, BoolArray, IntArray
from pkubench.errors import ConfigError, MissingExtra
from pkubench.retrieval.keys import Keys

Metric = Literal["l2", "dot"]
NONE: Final = -1
"""The row of a place that nothing was found for."""
_CHUNK: Final = 1 << 16
"""Keys that are compared at a time."""
_QUERIES: Final = 64
"""Queries that are answered at a time."""


class Found(NamedTuple):
    """The k best rows of n queries, the best first."""

    rows: IntArray
    """(n, k); NONE where fewer are allowed."""
    scores: npt.NDArray[np.float32]
    """(n, k): minus the squared distance, or the product; -inf where fewer are allowed."""


class Index(ABC):
    """Keys that grow, and the search in them."""

    kind: ClassVar[str]

    def __init__(self, metric: Metric = "l2") -> None:
        """Make an empty index.

        Args:
            metric: ``l2`` (least squared distance) or ``dot`` (largest product).

        Raises:
            ConfigError: another metric.
        """
        if metric not in ("l2", "dot"):
            raise ConfigError(f"metric must be l2 or dot, got {metric!r}")
        self.metric: Metric = metric
        self.keys: Keys = np.zeros((0, 0), dtype=np.float32)
        self.squares: Keys = np.zeros(0, dtype=np.float32)
        """(M,) squared lengths of the keys."""
        self.tasks: IntArray = np.zeros(0, dtype=np.int64)
        self.episodes: IntArray = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.keys)

    def fit(self, keys: Keys, tasks: IntArray, episodes: IntArray) -> None:
        """Replace what is there by keys (n, d), their tasks and episodes (n,)."""
        self.keys = np.zeros((0, keys.shape[1]), dtype=np.float32)
        self.squares = np.zeros(0, dtype=np.float32)
        self.tasks = self.episodes = np.zeros(0, dtype=np.int64)
        self.add(keys, tasks, episodes)

    def add(self, keys: Keys, tasks: IntArray, episodes: IntArray) -> None:
        """Append keys, whose numbers go on from the last one's.

        Raises:
            ConfigError: keys of another size, NaN or infinite.
        """
        keys = np.ascontiguousarray(keys, dtype=np.float32)
        if not len(self.keys) and not self.keys.shape[1]:
            self.keys = np.zeros((0, keys.shape[1]), dtype=np.float32)
        if keys.ndim != 2 or keys.shape[1] != self.keys.shape[1]:
            raise ConfigError(f"keys have shape {keys.shape}, wanted (n, {self.keys.shape[1]})")
        if not np.isfinite(keys).all():
            raise ConfigError("a key is NaN or infinite")
        self.keys = np.concatenate([self.keys, keys])
        self.squares = np.concatenate([self.squares, (keys * keys).sum(axis=1)])
        self.tasks = np.concatenate([self.tasks, tasks])
        self.episodes = np.concatenate([self.episodes, episodes])

    @abstractmethod
    def query(
        self,
        keys: Keys,
        k: int,
        tasks: IntArray | None = None,
        episodes: IntArray | None = None,
    ) -> Found:
        """Return the k best rows for each of some keys (n, d).

        Args:
            keys: what is looked for.
            k: how many.
            tasks: (n,); rows of other tasks are left out. None: none are.
            episodes: (n,); rows of the same episode are left out. None, or -1: none are.
        """

    def state(self) -> dict[str, Array]:
        """Return the arrays to save."""
        return {"keys": self.keys, "tasks": self.tasks, "episodes": self.episodes}


class _Best:
    """The k best rows of n queries so far."""

    def __init__(self, queries: int, k: int) -> None:
        self.rows: IntArray = np.full((queries, k), NONE, dtype=np.int64)
        self.scores = np.full((queries, k), -np.inf, dtype=np.float32)

    @property
    def last(self) -> npt.NDArray[np.float32]:
        """The worst of the k scores, (n,)."""
        return self.scores[:, -1].copy()

    def add(self, queries: IntArray, rows: IntArray, scores: npt.NDArray[np.float32]) -> None:
        """Take in rows of queries, (m,) each; equal scores in the order of hashes of the rows."""
        old = np.nonzero(self.rows != NONE)
        queries = np.concatenate([old[0], queries])
        rows = np.concatenate([self.rows[old], rows])
        scores = np.concatenate([self.scores[old], scores])
        order = np.lexsort((_mixed(rows.astype(np.uint32)), -scores, queries))
        queries, rows, scores = queries[order], rows[order], scores[order]
        place = np.arange(len(queries)) - np.searchsorted(queries, queries)
        kept = place < self.rows.shape[1]
        self.rows[queries[kept], place[kept]] = rows[kept]
        self.scores[queries[kept], place[kept]] = scores[kept]


class ExactIndex(Index):
    """Compares each query with every key."""

    kind: ClassVar[str] = "exact"

    def query(
        self,
        keys: Keys,
        k: int,
        tasks: IntArray | None = None,
        episodes: IntArray | None = None,
    ) -> Found:
        """Return the k best rows; see :class:`Index`."""
        _check(self, keys, k)
        torch = _torch()
        found = [np.zeros((0, k), dtype=np.int64)], [np.zeros((0, k), dtype=np.float32)]
        with torch.no_grad():
            for first in range(0, len(keys), _QUERIES):
                some = slice(first, first + _QUERIES)
                of = [None if array is None else array[some] for array in (tasks, episodes)]
                rows, scores = self._search(torch, keys[some], k, *of)
                found[0].append(rows)
                found[1].append(scores)
        return Found(np.concatenate(found[0]), np.concatenate(found[1]))

    def _search(
        self, torch: Any, keys: Keys, k: int, tasks: IntArray | None, episodes: IntArray | None
    ) -> tuple[IntArray, npt.NDArray[np.float32]]:
        """Go through the keys by chunks, and keep what may be among the best k.

        Of each chunk these are its own k best, and all that are as good as the last of these.
        """
        asked = torch.from_numpy(np.ascontiguousarray(keys, dtype=np.float32))
        best = _Best(len(keys), k)
        for first in range(0, len(self), _CHUNK):
            some = slice(first, first + _CHUNK)
            scores = self._scores(torch, asked, some)
            refused = self._refused(some, tasks, episodes)
            if refused is not None:
                scores.masked_fill_(torch.from_numpy(refused), -torch.inf)
            last = torch.from_numpy(best.last)
            if scores.shape[1] > k:
                last = torch.maximum(last, scores.topk(k, dim=1).values[:, -1])
            at = torch.nonzero((scores >= last[:, None]) & (scores > -torch.inf), as_tuple=True)
            best.add(at[0].numpy(), at[1].numpy() + first, scores[at].numpy())
        if self.metric == "l2":
            squares = (keys.astype(np.float32) ** 2).sum(axis=1, keepdims=True)
            return best.rows, np.minimum(best.scores - squares, 0.0)
        return best.rows, best.scores

    def _scores(self, torch: Any, asked: Any, some: slice) -> Any:
        """Return products, or 2 q k - k^2, which is minus the squared distance but for q^2."""
        own = torch.from_numpy(self.keys[some])
        if self.metric == "dot":
            return asked @ own.T
        squares = torch.from_numpy(self.squares[some])
        return torch.addmm(squares[None], asked, own.T, beta=-1.0, alpha=2.0)

    def _refused(
        self, some: slice, tasks: IntArray | None, episodes: IntArray | None
    ) -> BoolArray | None:
        refused: BoolArray | None = None
        if tasks is not None:
            refused = self.tasks[some] != tasks[:, None]
        if episodes is not None:
            same = (self.episodes[some] == episodes[:, None]) & (episodes >= 0)[:, None]
            refused = same if refused is None else refused | same
        return refused


class ApproximateIndex(Index):
    """A graph of near neighbors (Malkov and Yashunin, 2018), by usearch: for large frozen banks.

    Where rows are left out, more are searched until there are k, or no more.
    """

    kind: ClassVar[str] = "usearch"
    _EXPANSION: ClassVar[int] = 128
    """Candidates of a search and of an insertion."""

    def __init__(self, metric: Metric = "l2") -> None:
        """Make an empty index; see :class:`Index`.

        Raises:
            MissingExtra: usearch is not installed.
        """
        super().__init__(metric)
        self._usearch = _usearch()
        self._graph: Any = None

    def fit(self, keys: Keys, tasks: IntArray, episodes: IntArray) -> None:
        """Replace what is there; see :class:`Index`."""
        self._graph = None
        super().fit(keys, tasks, episodes)

    def add(self, keys: Keys, tasks: IntArray, episodes: IntArray) -> None:
        """Append keys; see :class:`Index`."""
        first = len(self)
        super().add(keys, tasks, episodes)
        if self._graph is None:
            self._graph = self._usearch.Index(
                ndim=self.keys.shape[1],
                metric="l2sq" if self.metric == "l2" else "ip",
                dtype="f32",
                expansion_add=self._EXPANSION,
                expansion_search=self._EXPANSION,
            )
        self._graph.add(np.arange(first, len(self), dtype=np.uint64), self.keys[first:], threads=1)

    def query(
        self,
        keys: Keys,
        k: int,
        tasks: IntArray | None = None,
        episodes: IntArray | None = None,
    ) -> Found:
        """Return about the k best rows; see :class:`Index`."""
        _check(self, keys, k)
        rows = np.full((len(keys), k), NONE, dtype=np.int64)
        scores = np.full((len(keys), k), -np.inf, dtype=np.float32)
        for number, key in enumerate(np.ascontiguousarray(keys, dtype=np.float32)):
            task = None if tasks is None else int(tasks[number])
            episode = NONE if episodes is None else int(episodes[number])
            found, score = self._one(key, k, task, episode)
            rows[number, : len(found)], scores[number, : len(found)] = found, score
        return Found(rows, scores)

    def _one(
        self, key: Keys, k: int, task: int | None, episode: int
    ) -> tuple[IntArray, npt.NDArray[np.float32]]:
        count = min(k, len(self))
        while True:
            matches = self._graph.search(key, count, threads=1)
            rows = np.asarray(matches.keys, dtype=np.int64)
            allowed = (self.episodes[rows] != episode) | (episode < 0)
            if task is not None:
                allowed &= self.tasks[rows] == task
            if allowed.sum() >= k or count == len(self):
                break
            count = min(4 * count, len(self))
        distances = np.asarray(matches.distances, dtype=np.float32)[allowed][:k]
        scores = -distances if self.metric == "l2" else 1 - distances
        return rows[allowed][:k], scores


INDEXES: Final[dict[str, type[Index]]] = {of.kind: of for of in (ExactIndex, ApproximateIndex)}


def _check(index: Index, keys: Keys, k: int) -> None:
    if not len(index):
        raise ConfigError("nothing to look up: the index is empty")
    if k < 1 or keys.ndim != 2 or keys.shape[1] != index.keys.shape[1]:
        raise ConfigError(
            f"a query of k = {k} with keys {keys.shape}; wanted k of at least 1 and keys "
            f"(n, {index.keys.shape[1]})"
        )


def _mixed(rows: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return hashes of row numbers, a different one for each (MurmurHash3's finaliser)."""
    rows = (rows ^ (rows >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    rows = (rows ^ (rows >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return rows ^ (rows >> np.uint32(16))


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "looking up states") from error
    return torch


def _usearch() -> Any:
    try:
        import usearch.index
    except ImportError as error:  # missing, or without a part of it
        raise MissingExtra("search", "approximate search") from error
    return usearch.index
