"""The memory bank: whole recorded episodes of several tasks, in one checked file.

A file is NumPy's ``npz`` of plain arrays and a description in JSON; reading one runs no code. The
SHA-256 of the content is part of the description, and a file that does not have it is refused.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.data.episodes import Array, BoolArray, Episodes, FloatArray, IntArray
from pkubench.envs.minigrid import cells, view
from pkubench.envs.minigrid.catalogue import FAMILIES
from pkubench.errors import ConfigError, DataError
from pkubench.files import write_bytes

Images = npt.NDArray[np.uint8]

RANDOM, SEARCH_EPSILON, SEARCH = BEHAVIOURS = ("random", "search-epsilon", "search")
"""Who acted: uniform random actions; the shortest way with half of the actions random; the shortest
way."""
GAMMA = 0.99
"""Discount of the returns to go (Jin et al., arXiv 2306.10698, and MOORE)."""
IMAGE = (view.SIDE, view.SIDE, 3)
_LARGEST = (10, 5, 3)
"""The largest object, color and state that MiniGrid has."""
FORMAT, VERSION = "pkubench memory bank", 1
_ABOUT, _HASH = "about", "sha256"


class States(NamedTuple):
    """States by what an agent sees of them; n of them."""

    images: Images
    """(n, 7, 7, 3): object, color, state of the cells in front."""
    tasks: IntArray
    """(n,) the agent's index of the task."""
    episodes: IntArray
    """(n,) the bank's episode that it is of; -1: of none."""


class Slots(NamedTuple):
    """What an agent's memory is filled with: N states of a bank and their returns."""

    states: Images
    """(N, 7, 7, 3)."""
    values: npt.NDArray[np.float32]
    """(N,) discounted return to go."""
    tasks: IntArray
    """(N,) the agent's index of the task."""
    optimal_values: npt.NDArray[np.float32] | None = None
    """(N,) V*, where it is known."""
    optimal_actions: npt.NDArray[np.uint8] | None = None
    """(N,) optimal actions as bits, where they are known."""
    targets: npt.NDArray[np.str_] | None = None
    """(K,) MiniGrid's names of the levels that the agent learns, by the index of the task, where
    they are known: a training on other levels refuses the file."""

    def save(self, path: Path) -> str:
        """Write the arrays by their names (``npz``), and return the SHA-256 of the file.

        Raises:
            StorageError: the file cannot be written.
        """
        data = packed({name: of for name, of in self._asdict().items() if of is not None})
        write_bytes(path, data)
        return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, eq=False, kw_only=True)
class MemoryBank:
    """Episodes of several tasks; M steps of E episodes. Equal content has an equal ``sha256``.

    Raises:
        DataError: arrays of other shapes, numbers out of range, NaN, or levels that are not known.
    """

    episodes: Episodes
    """Images (M, 7, 7, 3) uint8, actions (M,) int64, rewards (M,), ``terminated`` (E,), ``starts``
    (E + 1,). Step ``t`` of episode ``e`` is row ``starts[e] + t``."""
    directions: IntArray
    """(M,) where the agent looks: 0 right, 1 down, 2 left, 3 up."""
    truncated: BoolArray
    """(E,): whether the time limit was reached."""
    level: IntArray
    """(E,) index into ``levels``."""
    task: IntArray
    """(E,) the index that an agent of several tasks knows the episode's task by."""
    seeds: IntArray
    """(E,) what the level was made of."""
    behaviour: IntArray
    """(E,) index into ``BEHAVIOURS``: who acted."""
    levels: tuple[str, ...]
    """MiniGrid's names, without ``MiniGrid-``."""
    gamma: float = GAMMA

    def __post_init__(self) -> None:
        for name in ("directions", "level", "task", "seeds", "behaviour"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        object.__setattr__(self, "truncated", np.asarray(self.truncated, dtype=np.bool_))
        unknown = [name for name in self.levels if name not in FAMILIES]
        if unknown or not self.levels:
            raise self._error(f"it is of unknown tasks: {', '.join(unknown) or 'none'}")
        if not 0 < self.gamma <= 1:
            raise self._error(f"gamma is {self.gamma}, and lies in (0, 1]")
        seen = self.episodes.observations
        if seen.shape[1:] != IMAGE or seen.dtype != np.uint8:
            raise self._error(f"images are {seen.shape[1:]} {seen.dtype}, wanted {IMAGE} uint8")
        if (seen > np.array(_LARGEST, dtype=np.uint8)).any():
            raise self._error(f"images have objects, colors or states beyond {_LARGEST}")
        count, steps = len(self.episodes), self.episodes.num_steps
        bounds = {"directions": 4, "level": len(self.levels), "behaviour": len(BEHAVIOURS)}
        for name in ("directions", "truncated", "level", "task", "seeds", "behaviour"):
            array, length = getattr(self, name), steps if name == "directions" else count
            if array.shape != (length,):
                raise self._error(f"{name} has shape {array.shape}, wanted {(length,)}")
            if array.dtype == np.int64 and not _is_below(array, bounds.get(name)):
                raise self._error(f"{name} has values {array.min()} to {array.max()}")
        actions = self.episodes.actions
        if actions.shape != (steps,) or not _is_below(actions, cells.ACTIONS):
            raise self._error(f"actions are not numbers from 0 to {cells.ACTIONS - 1}")
        if not (self.episodes.terminated | self.truncated).all():
            open_ = int(np.argmin(self.episodes.terminated | self.truncated))
            raise self._error(f"episode {open_} neither terminated nor was truncated")

    def _error(self, problem: str) -> DataError:
        return DataError(f"{self.episodes.name or 'the memory bank'}: {problem}")

    def __len__(self) -> int:
        """Return M, the number of steps."""
        return self.episodes.num_steps

    @property
    def images(self) -> Images:
        """What was seen before each action, (M, 7, 7, 3) uint8."""
        return self.episodes.observations

    @property
    def missions(self) -> tuple[str, ...]:
        """What is asked in each of ``levels``, in MiniGrid's words."""
        return tuple(FAMILIES[name].mission for name in self.levels)

    @functools.cached_property
    def returns_to_go(self) -> FloatArray:
        """Discounted sum of the rewards from each step on, its own included, (M,)."""
        return self.episodes.returns_to_go(self.gamma)

    @functools.cached_property
    def row_episodes(self) -> IntArray:
        """The episode of each step, (M,)."""
        return np.repeat(np.arange(len(self.episodes)), self.episodes.lengths)

    @property
    def row_tasks(self) -> IntArray:
        """The task of each step, (M,)."""
        return self.task[self.row_episodes]

    def states(self, rows: IntArray | slice = slice(None)) -> States:
        """Return the states of some rows, all by default."""
        return States(self.images[rows], self.row_tasks[rows], self.row_episodes[rows])

    def slots(
        self, count: int, seed: int, quota: bool = True, num_tasks: int | None = None
    ) -> Slots:
        """Return states to fill an agent's memory with; see :meth:`slot_rows`."""
        return self.slots_at(self.slot_rows(count, seed, quota, num_tasks))

    def slots_at(self, rows: IntArray, optimum: tuple[Array, Array] | None = None) -> Slots:
        """Return rows as slots, with V* and optimal actions (N,) each where these are known."""
        values = self.returns_to_go[rows].astype(np.float32)
        slots = Slots(self.images[rows], values, self.row_tasks[rows])
        if optimum is None:
            return slots
        return slots._replace(
            optimal_values=optimum[0].astype(np.float32),
            optimal_actions=optimum[1].astype(np.uint8),
        )

    def slot_rows(
        self, count: int, seed: int, quota: bool = True, num_tasks: int | None = None
    ) -> IntArray:
        """Draw states to fill an agent's memory with; all different rows.

        With a quota, each task gets equally many (the first ones one more where it does not come
        out even), and within a task a step is drawn by its episode first, so that the long episodes
        of failures do not crowd out the others. Without, each row is as likely as any other, as in
        the released code of the paper.

        Args:
            count: N.
            seed: of the draw.
            quota: see above.
            num_tasks: how many tasks the agent knows; None: it is not checked.

        Raises:
            DataError: the bank has too few steps, or tasks that the agent does not know.
        """
        if num_tasks is not None and self.task.max() >= num_tasks:
            raise self._error(
                f"it has the task {self.task.max()}, and the agent knows those below {num_tasks}"
            )
        if count < 1:
            raise ConfigError(f"a memory has at least one slot, got {count}")
        rng, by_row = np.random.default_rng(seed), self.row_tasks
        if not quota:
            return self._drawn(rng, np.arange(len(self)), count, None)
        tasks = np.unique(self.task)
        shares = [count // len(tasks) + (k < count % len(tasks)) for k in range(len(tasks))]
        weights = 1.0 / self.episodes.lengths[self.row_episodes]
        return np.concatenate(
            [
                self._drawn(rng, np.flatnonzero(by_row == task), share, weights)
                for task, share in zip(tasks, shares, strict=True)
            ]
        )

    def _drawn(
        self, rng: np.random.Generator, rows: IntArray, count: int, weights: FloatArray | None
    ) -> IntArray:
        if count > len(rows):
            raise self._error(f"{count} slots are asked for, of {len(rows)} steps")
        shares = None if weights is None else weights[rows] / weights[rows].sum()
        found: IntArray = rng.choice(rows, size=count, replace=False, p=shares)
        return found

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the content: arrays, levels and discount; not of the file's name."""
        return _content_hash(self._facts(), self._arrays())

    def _facts(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "levels": list(self.levels),
            "missions": list(self.missions),
            "behaviours": list(BEHAVIOURS),
            "gamma": self.gamma,
        }

    def _arrays(self) -> dict[str, Array]:
        of = self.episodes
        return {
            "images": of.observations,
            "final_images": of.final_observations,
            "directions": self.directions.astype(np.uint8),
            "actions": of.actions.astype(np.uint8),
            "rewards": of.rewards,
            "returns_to_go": self.returns_to_go,
            "starts": of.starts,
            "terminated": of.terminated,
            "truncated": self.truncated,
            "level": self.level,
            "task": self.task,
            "seeds": self.seeds,
            "behaviour": self.behaviour,
        }

    def save(self, path: Path) -> None:
        """Write the bank; equal banks have equal bytes.

        Raises:
            StorageError: the file cannot be written.
        """
        write_bytes(path, packed(self._arrays(), {**self._facts(), _HASH: self.sha256}))

    @classmethod
    def load(cls, path: Path | str) -> MemoryBank:
        """Read a bank.

        Raises:
            DataError: it is missing or damaged, its content does not have its hash, an array is
                missing, of another shape or NaN, or its tasks are unknown.
        """
        facts, arrays = read_arrays(Path(path), FORMAT, VERSION)
        missing = [name for name in _KINDS if name not in arrays]
        if missing:
            raise DataError(f"{path}: no {', '.join(missing)} in the memory bank")
        for name, kind in _KINDS.items():
            if arrays[name].dtype.str[1:] != kind:
                raise DataError(f"{path}: {name} is {arrays[name].dtype}, wanted {kind}")
        known = {k: v for k, v in facts.items() if k != _HASH}
        if _content_hash(known, {name: arrays[name] for name in _KINDS}) != facts.get(_HASH):
            raise DataError(f"{path} is damaged: its content does not have the hash in it")
        if facts.get("behaviours") != list(BEHAVIOURS):
            raise DataError(f"{path}: behaviours are {facts.get('behaviours')}")
        bank = cls(
            episodes=Episodes(
                observations=arrays["images"],
                final_observations=arrays["final_images"],
                actions=arrays["actions"].astype(np.int64),
                rewards=arrays["rewards"],
                terminated=arrays["terminated"],
                starts=arrays["starts"],
                name=str(path),
            ),
            levels=tuple(map(str, facts.get("levels") or ())),
            gamma=float(facts.get("gamma", 0.0)),
            **{name: arrays[name] for name in _OWN},
        )
        if not np.array_equal(bank.returns_to_go, arrays["returns_to_go"]):
            raise DataError(f"{path}: returns_to_go are not the discounted sums of the rewards")
        return bank


_OWN = ("directions", "truncated", "level", "task", "seeds", "behaviour")
_KINDS = {
    "images": "u1",
    "final_images": "u1",
    "directions": "u1",
    "actions": "u1",
    "rewards": "f8",
    "returns_to_go": "f8",
    "starts": "i8",
    "terminated": "b1",
    "truncated": "b1",
    "level": "i8",
    "task": "i8",
    "seeds": "i8",
    "behaviour": "i8",
}
"""Array of a file -> kind and size of its numbers."""


def _is_below(array: IntArray, bound: int | None) -> bool:
    return bool((array >= 0).all() and (bound is None or (array < bound).all()))


def _content_hash(facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        whole.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()


def packed(arrays: Mapping[str, Array], facts: Mapping[str, Any] | None = None) -> bytes:
    """Return a file of arrays and of JSON values that describe it; the same bytes for the same."""
    whole, parts = io.BytesIO(), dict(arrays)
    if facts is not None:
        text = json.dumps(facts, sort_keys=True).encode()
        parts[_ABOUT] = np.frombuffer(text, dtype=np.uint8)
    np.savez_compressed(whole, allow_pickle=False, **parts)
    return whole.getvalue()


def read_arrays(path: Path, kind: str, version: int) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the description and the arrays of a file; no code in it is run.

    Raises:
        DataError: it is missing, damaged, or not of this kind and version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays.pop(_ABOUT).tobytes())
        is_known = (facts["format"], facts["version"]) == (kind, version)
    except FileNotFoundError as error:
        raise DataError(f"no file {path}") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a {kind}, or damaged: {_line(error)}") from error
    except AttributeError as error:  # a single array, without names
        raise DataError(f"{path} is not a {kind}") from error
    if not is_known:
        raise DataError(
            f"{path} is a {facts['format']} of version {facts['version']}, "
            f"wanted a {kind} of version {version}"
        )
    return facts, arrays


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
