"""Retrievers: given a state, which states of a bank to look at, and how much to trust them.

All have ``fit``, ``add`` and ``query``. What a query may not return is left out before the search:
states of other tasks (``same_task``), and those of the query's own episode, whose returns are the
future of the query itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pkubench.data.episodes import FloatArray, IntArray
from pkubench.errors import ConfigError, DataError
from pkubench.files import write_bytes
from pkubench.retrieval.bank import States, packed, read_arrays
from pkubench.retrieval.keys import Embed, name_of
from pkubench.retrieval.optima import Optimum
from pkubench.retrieval.search import INDEXES, NONE, ExactIndex, Found, Index

DELTA: Final = 1e-3
"""Of the kernel 1 / (d^2 + delta) (Pritzel et al., 2017)."""
GAIN_SCALE: Final = 0.05
"""The difference of optimal values at which a state is worth 1/e of the best one."""
FORMAT, VERSION = "pkubench retriever", 1


class Neighbors(NamedTuple):
    """What n queries found, the best first."""

    rows: IntArray
    """(n, k) of the bank, -1 where fewer are allowed."""
    weights: FloatArray
    """(n, k) not negative, with sum 1; 0 where there is none."""
    confidence: FloatArray
    """(n,) larger where the retriever trusts its answer more; 0 where nothing was found."""

    def mean(self, values: FloatArray) -> FloatArray:
        """Return V_mem, the weighted mean of the found rows' values (M,), (n,); 0 of none."""
        mean: FloatArray = (self.weights * values[self.rows]).sum(axis=1)
        return mean


class Retriever(ABC):
    """Looks states up."""

    @abstractmethod
    def fit(self, states: States) -> None:
        """Look up in these states, and in no others; a row is a number among them."""

    @abstractmethod
    def add(self, states: States) -> None:
        """Look up in these states too; their rows go on from the last one."""

    @abstractmethod
    def query(
        self, states: States, k: int, *, same_task: bool = False, own_episode: bool = False
    ) -> Neighbors:
        """Return the k best rows for each of n states.

        Args:
            states: what is looked for.
            k: how many.
            same_task: leave out rows of other tasks.
            own_episode: keep rows of the query's own episode, which are left out otherwise.

        Raises:
            ConfigError: nothing to look up, or k below 1.
        """


class KeyRetriever(Retriever):
    """The states with the nearest keys.

    With squared distances, weights are the kernel 1 / (d^2 + 1e-3) of neural episodic control, and
    the confidence is that of the nearest, on the scale where an equal key has 1. With products,
    weights are the softmax of q k / sqrt(d) over what was found, and the confidence is the largest
    weight, as in the paper of task-adaptive retrieval.
    """

    def __init__(self, embed: Embed, index: Index | None = None) -> None:
        """Make an empty retriever.

        Args:
            embed: from images and tasks to keys.
            index: what searches; by default exactly, by squared distance.
        """
        self.embed = embed
        self.index = ExactIndex() if index is None else index

    def fit(self, states: States) -> None:
        """Replace what is there; see :class:`Retriever`."""
        self.index.fit(self._keys(states), states.tasks, states.episodes)

    def add(self, states: States) -> None:
        """Add states; see :class:`Retriever`."""
        self.index.add(self._keys(states), states.tasks, states.episodes)

    def _keys(self, states: States) -> Any:
        keys = np.asarray(self.embed(states.images, states.tasks), dtype=np.float32)
        if keys.ndim != 2 or len(keys) != len(states.images):
            raise ConfigError(
                f"{name_of(self.embed)} gave keys {keys.shape} of {len(states.images)} states; "
                "wanted (n, d)"
            )
        return keys

    def query(
        self, states: States, k: int, *, same_task: bool = False, own_episode: bool = False
    ) -> Neighbors:
        """Look states up; see :class:`Retriever`."""
        found = self.index.query(
            self._keys(states),
            k,
            states.tasks if same_task else None,
            None if own_episode else states.episodes,
        )
        return _weighted(found, self.index)

    def save(self, path: Path) -> None:
        """Write keys and what they are of; the function that makes keys is not written.

        Raises:
            StorageError: the file cannot be written.
        """
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "index": self.index.kind,
            "metric": self.index.metric,
            "keys": name_of(self.embed),
        }
        write_bytes(path, packed(self.index.state(), facts))

    @classmethod
    def load(cls, path: Path | str, embed: Embed) -> KeyRetriever:
        """Read a retriever; an approximate index is built again from the keys.

        Args:
            path: of the file.
            embed: the function that made its keys, by the same name.

        Raises:
            DataError: it is missing or damaged, or its keys were made by another function.
            MissingExtra: what its index needs is not installed.
        """
        facts, arrays = read_arrays(Path(path), FORMAT, VERSION)
        if facts.get("keys") != name_of(embed):
            raise DataError(f"{path} has keys by {facts.get('keys')}, not by {name_of(embed)}")
        missing = {"keys", "tasks", "episodes"} - arrays.keys()
        if missing or facts.get("index") not in INDEXES:
            raise DataError(f"{path} is damaged: no {', '.join(sorted(missing)) or 'index'}")
        shapes = {len(arrays[name]) for name in ("keys", "tasks", "episodes")}
        if len(shapes) > 1 or arrays["keys"].ndim != 2:
            raise DataError(f"{path} is damaged: keys, tasks and episodes of different lengths")
        index = INDEXES[facts["index"]](facts.get("metric"))  # type: ignore[arg-type]
        index.fit(arrays["keys"], arrays["tasks"], arrays["episodes"])
        return cls(embed, index)


def _weighted(found: Found, index: Index) -> Neighbors:
    is_found = found.rows != NONE
    scores = np.where(is_found, found.scores, -np.inf).astype(np.float64)
    if index.metric == "l2":
        kernel = np.where(is_found, 1.0 / (DELTA - scores), 0.0)
        confidence = DELTA * kernel.max(axis=1)
    else:
        scaled = scores / np.sqrt(index.keys.shape[1])
        highest = np.where(is_found.any(1), scaled.max(axis=1), 0.0)
        kernel = np.exp(scaled - highest[:, None])
        confidence = np.zeros(0)
    weights = _normalised(kernel)
    return Neighbors(
        found.rows, weights, confidence if index.metric == "l2" else weights.max(axis=1)
    )


def _normalised(weights: FloatArray) -> FloatArray:
    total = weights.sum(axis=1, keepdims=True)
    shares: FloatArray = weights / np.where(total > 0, total, 1.0)
    return shares


class _Kept(Retriever):
    """Keeps tasks and episodes, and looks each state up by itself."""

    def __init__(self) -> None:
        self.tasks: IntArray = np.zeros(0, dtype=np.int64)
        self.episodes: IntArray = np.zeros(0, dtype=np.int64)

    def fit(self, states: States) -> None:
        """Replace what is there; see :class:`Retriever`."""
        self.tasks = self.episodes = np.zeros(0, dtype=np.int64)
        self.add(states)

    def add(self, states: States) -> None:
        """Add states; see :class:`Retriever`."""
        self.tasks = np.concatenate([self.tasks, states.tasks])
        self.episodes = np.concatenate([self.episodes, states.episodes])

    def query(
        self, states: States, k: int, *, same_task: bool = False, own_episode: bool = False
    ) -> Neighbors:
        """Look states up; see :class:`Retriever`."""
        if k < 1 or not len(self.tasks):
            raise ConfigError(f"nothing to look up, or k = {k} is below 1")
        rows = np.full((len(states.tasks), k), NONE, dtype=np.int64)
        by_task = {int(task): np.flatnonzero(self.tasks == task) for task in set(states.tasks)}
        everything = np.arange(len(self.tasks))
        for number, task in enumerate(states.tasks.tolist()):
            among = by_task[task] if same_task else everything
            episode = NONE if own_episode else int(states.episodes[number])
            found = self._one(number, among, episode, k)
            rows[number, : len(found)] = found
        weights = _normalised((rows != NONE).astype(np.float64))
        return Neighbors(rows, weights, self._confidence(rows))

    @abstractmethod
    def _one(self, number: int, among: IntArray, episode: int, k: int) -> IntArray:
        """Return up to k of the rows ``among``, none of the episode, for one query."""

    def _confidence(self, rows: IntArray) -> FloatArray:
        found: FloatArray = (rows != NONE).any(axis=1).astype(np.float64)
        return found


class RandomRetriever(_Kept):
    """States drawn at random, all different; it trusts each answer alike."""

    def __init__(self, seed: int = 0) -> None:
        """Make an empty retriever; the n-th query of a call draws from ``seed`` and n."""
        super().__init__()
        self.seed = seed

    def _one(self, number: int, among: IntArray, episode: int, k: int) -> IntArray:
        rng, count = np.random.default_rng((self.seed, number)), 2 * k
        while True:  # few rows are of one episode, so few draws are lost
            drawn = among[rng.choice(len(among), min(count, len(among)), replace=False)]
            allowed: IntArray = drawn[(self.episodes[drawn] != episode) | (episode < 0)]
            if len(allowed) >= k or count >= len(among):
                return allowed[:k]
            count *= 4


class OracleRetriever(_Kept):
    """The states with the nearest optimal value that share an optimal action, then the others.

    It is told the exact answers (``pkubench.retrieval.optima``) of the states that it looks up in
    and, with :meth:`asked`, of those that are looked up.
    """

    def __init__(self, known: Optimum) -> None:
        """Make an empty retriever of states whose answers are ``known``, in their order."""
        super().__init__()
        self.known = known
        self._asked: Optimum | None = None
        draws = np.random.default_rng(0)
        self._ties = 1e-12 * draws.random(len(known.values))
        """Less than any difference of values: of equal ones no episode is preferred."""

    def asked(self, optimum: Optimum) -> OracleRetriever:
        """Tell it the answers of the states of the next query."""
        self._asked = optimum
        return self

    def _one(self, number: int, among: IntArray, episode: int, k: int) -> IntArray:
        if self._asked is None or len(self.known.values) != len(self.tasks):
            raise ConfigError("the oracle does not know the answers of these states")
        value, actions = self._asked.values[number], self._asked.actions[number]
        away = np.abs(self.known.values[among] - value) + self._ties[among]
        away += 10.0 * ((self.known.actions[among] & actions) == 0)
        away[(self.episodes[among] == episode) & (episode >= 0)] = np.inf
        best = np.argpartition(away, min(k, len(away)) - 1)[:k]
        best = best[np.argsort(away[best])]
        found: IntArray = among[best[np.isfinite(away[best])]]
        return found
