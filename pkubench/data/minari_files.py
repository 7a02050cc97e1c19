"""Data sets as files in Minari's format: any of them is read, and ours are written.

A data set is a folder with ``data/metadata.json`` and the episodes beside it (HDF5 or Arrow), and
its id is its path below Minari's root. What ours have besides: ``task``, the SHA-256 of the content
(``episodes_sha256``), the data card (``card``), and ``info["cost"]`` where the task counts costs.
Several agents: see :mod:`pkubench.data.teams`.

Minari's own writer takes three times as long for short episodes, mostly for HDF5's chunks, which
let an episode grow later. Episodes here are finished, and each of their arrays is stored in one
piece; Minari reads them as it reads its own (``python -m benchmarks.offline``).

Source: Younis et al., "Minari", Farama Foundation, 2024; format of version 0.5.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from pkubench.data import teams
from pkubench.data.episodes import Array, Episodes, EpisodesBuilder, each
from pkubench.errors import DataError, MissingExtra, StorageError

DATA, METADATA = "data", "metadata.json"
ROOT_VARIABLE = "MINARI_DATASETS_PATH"
HASH, CARD, TASK = "episodes_sha256", "card", "task"
COST = "cost"
_SPACES = ("observation_space", "action_space")


def root() -> Path:
    """Return the folder of all data sets, as Minari chooses it."""
    return Path(os.environ.get(ROOT_VARIABLE) or Path.home() / ".minari" / "datasets")


def find(source: str) -> Path:
    """Return the ``data`` folder of a data set, given by its path or its id.

    Raises:
        DataError: there is none.
    """
    for folder in (Path(source), root() / source):
        for place in (folder / DATA, folder):
            if (place / METADATA).is_file():
                return place
    if Path(source).exists():
        raise DataError(f"{source} is not a data set: it has no {DATA}/{METADATA}")
    raise DataError(
        f"no data set {source!r}: neither a folder nor an id below {root()}; `minari download ID` "
        "fetches a public one, `python -m benchmarks.offline_data` makes ours"
    )


def read_metadata(folder: Path) -> dict[str, Any]:
    """Return the metadata of a ``data`` folder.

    Raises:
        DataError: they cannot be read.
    """
    try:
        found = json.loads((folder / METADATA).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / METADATA} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{folder / METADATA} is not an object of JSON")
    return found


def read(source: str) -> Episodes:
    """Read a data set by its id or path.

    Raises:
        DataError: there is none; it is damaged, or has no spaces, no rewards, no episodes, an
            episode without a step, NaN; or observations or actions that are not one array each.
        MissingExtra: Minari is not installed.
    """
    folder = find(source)
    metadata = read_metadata(folder)
    name = str(metadata.get("dataset_id", source))
    if not all(isinstance(metadata.get(space), str) for space in _SPACES):
        # Minari would make the environment that the metadata name, which runs code of their choice.
        raise DataError(f"{name} does not say what its spaces are ({' and '.join(_SPACES)})")
    agents = teams.agents_of(metadata)
    builder = EpisodesBuilder(task=str(metadata.get(TASK, "")), name=name, agents=agents)
    for number, episode in enumerate(_episodes(folder, name)):
        where = f"{name}: episode {number}"
        if agents:
            builder.add(*teams.arrays_of(episode, agents, where))
            continue
        for part in ("observations", "actions"):
            if not isinstance(episode[part], np.ndarray):
                raise DataError(
                    f"{where} has {part} of several parts ({type(episode[part]).__name__}), and "
                    "learners take one array"
                )
        builder.add(
            episode["observations"],
            episode["actions"],
            episode["rewards"],
            _is_terminated(episode),
            _costs(episode),
        )
    episodes = builder.build()
    if metadata.get(HASH, episodes.sha256) != episodes.sha256:
        raise DataError(f"{name} is damaged: its content does not have the hash in its metadata")
    return episodes


def _is_terminated(episode: Mapping[str, Any]) -> bool:
    return bool(len(episode["terminations"]) and episode["terminations"][-1])


def _costs(episode: Mapping[str, Any]) -> Array | None:
    infos = episode["infos"] or {}
    return np.asarray(infos[COST])[1:] if COST in infos else None


def _episodes(folder: Path, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the episodes of any format that Minari has; its errors in one line."""
    _check_installed()
    from minari import MinariDataset

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for episode in MinariDataset(folder).iterate_episodes():
                yield vars(episode)
    except KeyError as error:
        if "rewards" in str(error):
            raise DataError(f"{name} has no rewards") from error
        raise DataError(f"{name} is damaged: no {error}") from error
    except ImportError as error:
        raise MissingExtra("data", f"the format of {name}") from error
    except _UNREADABLE as error:
        text = " ".join(str(error).split())
        raise DataError(f"{name} cannot be read: {text or type(error).__name__}") from error


_UNREADABLE = (
    AssertionError,
    AttributeError,
    IndexError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What Minari and h5py raise on damaged files, and on spaces that Minari does not know."""


def _check_installed() -> None:
    try:
        import h5py  # noqa: F401
        import minari  # noqa: F401
        from PIL import Image  # noqa: F401
    except ImportError as error:
        raise MissingExtra("data", "a data set") from error


def write(
    episodes: Episodes,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    *,
    card: Mapping[str, Any],
    below: Path | None = None,
) -> Path:
    """Write a data set under its ``name``, replacing what is there; return its folder.

    Args:
        episodes: What is written; ``name`` is an id such as ``pkubench/KeyToDoor/random-v0``.
        observation_space: Of the agent; of each agent where there are several.
        action_space: Likewise.
        card: Facts about the data set, JSON values, kept in its metadata.
        below: The folder of all data sets; None is Minari's.

    Raises:
        StorageError: the folder cannot be written.
        MissingExtra: Minari is not installed.
    """
    _check_installed()
    folder = (root() if below is None else below) / episodes.name
    new = folder.with_name(f"{folder.name}.new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        _fill(new / DATA, episodes, observation_space, action_space, card)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder


def _fill(
    folder: Path,
    episodes: Episodes,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    card: Mapping[str, Any],
) -> None:
    import gymnasium
    import minari
    from minari.dataset.minari_storage import MinariStorage

    if episodes.agents:
        observation_space = teams.space_of(observation_space, episodes.agents)
        action_space = teams.space_of(action_space, episodes.agents)
    # A team has no environment of Gymnasium's kind; a variant has no id there.
    spec = gymnasium.registry.get(episodes.task) if not episodes.agents else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = MinariStorage.new(
            folder, observation_space, action_space, spec, "hdf5", jpeg_encoding=False
        )
        _write_hdf5(folder / "main_data.hdf5", episodes)
        storage.update_metadata(
            {
                "dataset_id": episodes.name,
                "minari_version": minari.__version__,
                "total_episodes": len(episodes),
                "total_steps": episodes.num_steps,
                "description": str(card.get("summary", "")),
                TASK: episodes.task,
                HASH: episodes.sha256,
                CARD: dict(card),
                **({teams.AGENTS: list(episodes.agents)} if episodes.agents else {}),
            }
        )
        storage.update_metadata({"dataset_size": float(storage.get_size())})


def _write_hdf5(path: Path, episodes: Episodes) -> None:
    import h5py

    with h5py.File(path, "w", libver="latest", track_order=True) as file:
        writer = _Writer(h5py)
        for number, rows in each(episodes):
            length = rows.stop - rows.start
            group = h5py.h5g.create(file.id, b"episode_%d" % number)
            writer.attribute(group, b"id", number)
            writer.attribute(group, b"total_steps", length)
            ends = np.zeros((2, length), dtype=np.bool_)
            ends[0 if episodes.terminated[number] else 1, -1] = True
            final = episodes.final_observations[number : number + 1]
            parts: dict[str, Any] = {
                "observations": np.concatenate([episodes.observations[rows], final]),
                "actions": episodes.actions[rows],
                "rewards": episodes.rewards[rows],
                "terminations": ends[0],
                "truncations": ends[1],
            }
            if episodes.costs is not None:
                parts["infos"] = {COST: np.concatenate([[0.0], episodes.costs[rows]])}
            if episodes.agents:
                parts |= teams.parts_of(parts, episodes.agents)
            writer.write(group, parts)


class _Writer:
    """HDF5's own calls: the convenient ones of h5py cost three times as much an array."""

    COMPACT = 48_000
    """Bytes of an array up to which HDF5 keeps it with its description, which is quicker."""

    def __init__(self, h5py: Any) -> None:
        self.h5 = h5py
        self._small = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        self._small.set_layout(h5py.h5d.COMPACT)
        self._types: dict[Any, Any] = {}
        self._shapes: dict[tuple[int, ...], Any] = {}
        self._scalar = h5py.h5s.create(h5py.h5s.SCALAR)

    def attribute(self, group: Any, name: bytes, value: int) -> None:
        array = np.array(value, dtype=np.int64)
        self.h5.h5a.create(group, name, self._type(array.dtype), self._scalar).write(array)

    def write(self, group: Any, parts: Mapping[str, Any]) -> None:
        """Write arrays by name, in a group of their own where there are several of a name."""
        for name, part in parts.items():
            if isinstance(part, Mapping):
                self.write(self.h5.h5g.create(group, name.encode()), part)
                continue
            array = np.ascontiguousarray(part)
            if array.shape not in self._shapes:
                self._shapes[array.shape] = self.h5.h5s.create_simple(array.shape)
            dataset = self.h5.h5d.create(
                group,
                name.encode(),
                self._type(array.dtype),
                self._shapes[array.shape],
                self._small if array.nbytes <= self.COMPACT else None,
            )
            dataset.write(self.h5.h5s.ALL, self.h5.h5s.ALL, array)

    def _type(self, dtype: Any) -> Any:
        if dtype not in self._types:
            self._types[dtype] = self.h5.h5t.py_create(dtype, logical=True)
        return self._types[dtype]
