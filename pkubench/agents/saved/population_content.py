"""The content of a population file, before its game is known: read with its size bounded.

Shapes and types of an ``.npz`` are taken from the headers of its arrays and checked before anything
is allocated for them. The format is documented in ``population_file``.
"""

from __future__ import annotations

import io
import json
import math
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pkubench.errors import StorageError, WeightsError

POPULATION_SUFFIXES = (".npz", ".json")
"""Suffixes of population files."""
MAX_BYTES = 256 << 20
"""Largest file, and largest sum of its arrays when unpacked."""
MAX_POLICIES, MAX_STATES = 10_000, 1_000_000
"""Per player; each becomes a Python object when read."""

_LAYOUT = {
    "game": ("U", ()),
    "states": ("U", ("states",)),
    "probabilities": ("f", ("policies", "states", "actions")),
    "meta": ("f", ("policies",)),
}
"""Kind and dimensions of each array."""
_WANTED = ["game"] + [f"{n}_{p}" for p in (0, 1) for n in ("states", "probabilities", "meta")]


class Seat(NamedTuple):
    """One player's part as in the file.

    Attributes:
        policies: Tables ``(policies, states, actions)``, or a list of mappings.
        states: The tables' rows, all different; None for mappings.
        meta: ``(policies,)``.
    """

    policies: Any
    states: list[str] | None
    meta: Any


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def check_population_bytes(name: str, data: bytes) -> None:
    """Check that a file's content is a population of some game; its policies are checked later.

    Raises:
        WeightsError: It is damaged, too large, or not a population.
    """
    path = Path(name)
    if len(data) > MAX_BYTES:
        raise WeightsError(_too_large(path))
    population_content(path, data)


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        WeightsError: It is too large.
        StorageError: It cannot be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(_too_large(path))
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def population_content(path: Path, data: bytes) -> tuple[str, tuple[Seat, Seat]]:
    """Return the name of a population's game and both players' parts.

    Args:
        path: Its name, for messages; ``.json`` is read as JSON, all else as ``.npz``.
        data: Its bytes.

    Raises:
        WeightsError: It is damaged, too large, or not a population.
    """
    return _json(path, data) if path.suffix == ".json" else _npz(path, data)


def _too_large(path: Path) -> str:
    return (
        f"{path.name} is larger than {MAX_BYTES >> 20} MiB; submit fewer policies, such as "
        "those with weight in the meta-strategy"
    )


def _npz(path: Path, data: bytes) -> tuple[str, tuple[Seat, Seat]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                raise WeightsError(_too_large(path))
            if sorted(names) != sorted(f"{name}.npy" for name in _WANTED):
                missing = [name for name in _WANTED if f"{name}.npy" not in names]
                what = f"{missing[0]!r} is missing" if missing else "it has further ones"
                raise WeightsError(
                    f"{path.name} is not a population: it must have the arrays "
                    f"{', '.join(_WANTED)}, "
                    f"and {what}"
                )
            _check_headers(path, {name: _header(archive, name) for name in _WANTED})
        with np.load(io.BytesIO(data), allow_pickle=False) as read:
            arrays = {name: read[name] for name in _WANTED}
        seats = [
            Seat(arrays[f"probabilities_{p}"], arrays[f"states_{p}"].tolist(), arrays[f"meta_{p}"])
            for p in (0, 1)
        ]
        game = str(arrays["game"])
    except WeightsError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen types on damage
        reason = str(error)[:200] or type(error).__name__
        raise WeightsError(
            f"{path.name} is damaged or not an .npz ({reason}); write it again with numpy.savez"
        ) from error
    for player in (0, 1):
        texts: NDArray[np.str_] = arrays[f"states_{player}"]
        different, counts = np.unique(texts, return_counts=True)
        if len(different) < len(texts):
            raise WeightsError(
                f"{path.name}: states_{player} has {str(different[counts.argmax()])!r} "
                f"{counts.max()} times; give each information state one row"
            )
    return game, (seats[0], seats[1])


def _header(archive: zipfile.ZipFile, name: str) -> _Header:
    """Return an array's header; nothing is allocated for it."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        version = npy.read_magic(file)
        # Only field names need the third version, and there are none.
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise WeightsError(
                f"the array {name!r} contains Python objects; pickled objects are refused, so save "
                "text with dtype=str and numbers with dtype=float"
            )
        left = info.file_size - file.tell()
    if math.prod(shape) * dtype.itemsize != left:
        raise ValueError(f"{name!r} has shape {shape} and dtype {dtype}, but {left} bytes")
    return _Header(shape, dtype)


def _check_headers(path: Path, headers: Mapping[str, _Header]) -> None:
    """Check types, shapes, counts, and that corresponding arrays have equal lengths."""
    for name, (shape, dtype) in headers.items():
        kind, dimensions = _LAYOUT[name.rstrip("_01")]
        is_filled = dtype.itemsize > 0 and all(size >= 1 for size in shape)
        if dtype.kind != kind or len(shape) != len(dimensions) or not is_filled:
            wanted = f"({', '.join(dimensions)}{',' * (len(dimensions) == 1)})"
            raise WeightsError(
                f"{name!r} of {path.name} has shape {shape} and dtype {dtype}, wanted "
                f"{'text' if kind == 'U' else 'float'} of shape {wanted} with at least one of "
                "each; see docs/concepts/games.md for the format"
            )
    for p in (0, 1):
        policies, states, _ = headers[f"probabilities_{p}"].shape
        for name, size in (("states", states), ("meta", policies)):
            others = headers[f"{name}_{p}"].shape[0]
            if size != others:
                raise WeightsError(
                    f"{path.name}: probabilities_{p} must have shape (policies, states, actions) "
                    f"and is of {size} {_LAYOUT[name][1][0]}, but {name}_{p} has {others} entries; "
                    "make them equal"
                )
        _check_counts(path, p, policies, states)


def _check_counts(path: Path, player: int, policies: int, states: int) -> None:
    for name, count, most in (
        ("policies", policies, MAX_POLICIES),
        ("information states", states, MAX_STATES),
    ):
        if count > most:
            raise WeightsError(
                f"{path.name} has {count:,} {name} of player {player}, at most {most:,} are read; "
                "submit fewer, such as those with weight in the meta-strategy"
            )


def _json(path: Path, data: bytes) -> tuple[str, tuple[Seat, Seat]]:
    try:
        read = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name} is not valid JSON: {error!s:.200}") from error
    game, players = _member(path, read, "game"), _member(path, read, "players")
    if not isinstance(game, str):
        raise WeightsError(f"{path.name} does not name its game: write its task's name as text")
    if not isinstance(players, list) or len(players) != 2:
        raise WeightsError(f'{path.name} must have two players in the list "players"')
    first, second = (
        Seat(_member(path, player, "policies"), None, _member(path, player, "meta_strategy"))
        for player in players
    )
    for player, seat in enumerate((first, second)):
        if not isinstance(seat.policies, list):
            raise WeightsError(f"{path.name}: the policies of player {player} must be a list")
        if not seat.policies:
            raise WeightsError(f"{path.name} has no policy of player {player}; submit at least one")
        _check_counts(path, player, len(seat.policies), 0)
        if not isinstance(seat.meta, list) or not all(is_number(p) for p in seat.meta):
            raise WeightsError(
                f"{path.name}: the meta-strategy of player {player} must be a list of numbers, one "
                f"per policy, got {seat.meta!r:.40}"
            )
    return game, (first, second)


def _member(path: Path, document: Any, name: str) -> Any:
    """Return a required entry of an object."""
    if isinstance(document, dict) and name in document:
        return document[name]
    kind = f"an object without {name!r}" if isinstance(document, dict) else f"{document!r:.40}"
    raise WeightsError(
        f'{path.name} is not a population: it must be {{"game": NAME, "players": [{{"policies": '
        f'[...], "meta_strategy": [...]}}, {{...}}]}}, and has {kind} where {name!r} belongs'
    )


def is_number(value: object) -> bool:
    """Return whether a JSON value is a number, not a boolean, that fits in a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max or isinstance(value, float)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{twice!r:.80} occurs twice in one object; remove one")
    return found
