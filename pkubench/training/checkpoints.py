"""Checkpoints: generations of files, and one file, replaced atomically, that names the valid ones.

::

    checkpoint/checkpoint.json             format, and the newest generations: facts, SHA-256
    checkpoint/000012/state.safetensors    arrays
    checkpoint/000012/state.json           plain data around them

A generation is written whole before ``checkpoint.json`` names it, and older ones are removed after
that, so a kill at any moment leaves a generation to resume from. The one before the newest stays
valid: seeds trained in parallel, killed while writing to one of their folders, resume from the
newest checkpoint that all of them have.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pkubench.agents.saved.files import load_tensors, write_tensors
from pkubench.agents.saved.runs import CHECKPOINT, COMMIT
from pkubench.errors import ConfigError, WeightsError
from pkubench.files import write_bytes, write_json
from pkubench.training.state import join, split

FORMAT = 1
STATE, PLAIN = "state.safetensors", "state.json"
MIN_SECONDS = 20.0
"""Between two checkpoints."""
MIN_FACTOR = 20.0
"""Time between checkpoints, in units of the time to write the last one: replays are large."""


class Generation(NamedTuple):
    """One checkpoint of a run."""

    number: int
    facts: dict[str, Any]
    """JSON values; at least ``iterations``."""
    hashes: dict[str, str]
    """File name -> SHA-256."""

    @property
    def folder(self) -> str:
        """Its folder's name."""
        return f"{self.number:06d}"


class Spacing:
    """Says when the next checkpoint is due."""

    def __init__(self) -> None:
        """Count from now."""
        self._wait, self._last = MIN_SECONDS, time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() - self._last >= self._wait

    def wrote(self, seconds: float) -> None:
        """Count from now, after writing took ``seconds``."""
        self._wait = max(MIN_SECONDS, MIN_FACTOR * seconds)
        self._last = time.monotonic()


def write(
    folders: Sequence[Path], states: Sequence[Any], facts: Sequence[Mapping[str, Any]]
) -> None:
    """Write a checkpoint of each run of a session.

    Args:
        folders: Run folders.
        states: What is written of each: nested arrays and plain data.
        facts: JSON values that say what the checkpoint is of; at least ``iterations``.

    Raises:
        StorageError: A folder cannot be written.
    """
    known = [read_generations(folder) for folder in folders]
    for folder, state, about, before in zip(folders, states, facts, known, strict=True):
        number = before[-1].number + 1 if before else 1
        fresh = Generation(number, dict(about), {})
        place = folder / CHECKPOINT / fresh.folder
        shutil.rmtree(place, ignore_errors=True)  # left by a write that was killed
        tensors, plain = split(state)
        text = json.dumps(plain).encode()
        write_bytes(place / PLAIN, text)
        fresh.hashes[PLAIN] = hashlib.sha256(text).hexdigest()
        fresh.hashes[STATE] = write_tensors(place / STATE, tensors)
        named = [g._asdict() for g in (*before[-1:], fresh)]
        commit = {"format": FORMAT, "generations": named}
        write_json(folder / CHECKPOINT / COMMIT, commit, allow_nan=True)
    for folder in folders:
        newest = read_generations(folder)[-1]
        for path in (folder / CHECKPOINT).iterdir():
            if path.is_dir() and path.name != newest.folder:
                shutil.rmtree(path, ignore_errors=True)


def read_generations(folder: Path) -> list[Generation]:
    """Return the checkpoints of a run, oldest first; an empty list if there are none.

    Raises:
        WeightsError: ``checkpoint.json`` is damaged, or the newest checkpoint is gone.
    """
    path = folder / CHECKPOINT / COMMIT
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_bytes())
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r}, and this release reads {FORMAT}")
        known = [
            Generation(int(g["number"]), dict(g["facts"]), dict(g["hashes"]))
            for g in found["generations"]
        ]
        if not known or not all(isinstance(g.facts["iterations"], int) for g in known):
            raise ValueError("it does not record iterations")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged ({error}); {_WAY_OUT}") from error
    there = [g for g in known if (path.parent / g.folder).is_dir()]
    if there[-1:] != known[-1:]:
        raise WeightsError(f"{path} names a checkpoint that is gone; {_WAY_OUT}")
    return there


_WAY_OUT = "delete the run and train from scratch"


def common(folders: Sequence[Path]) -> list[Generation] | None:
    """Return the newest checkpoint of the same iteration in every folder; None before the first.

    Raises:
        ConfigError: they stopped at different iterations.
        WeightsError: one is damaged.
    """
    found = [read_generations(folder) for folder in folders]
    is_first = all(g.number == 1 for of in found for g in of)
    if is_first and not all(found):  # killed before all had written their first one
        return None
    known = [{int(g.facts["iterations"]): g for g in of} for of in found]
    shared = set.intersection(*(set(of) for of in known))
    if not shared:
        reached = sorted({max(of, default=0) for of in known})
        raise ConfigError(
            f"the runs stopped at different iterations ({reached}): resume them one by one"
        )
    return [of[max(shared)] for of in known]


def read(folder: Path, generation: Generation) -> Any:
    """Return the state of a checkpoint.

    Raises:
        WeightsError: a file is missing, torn or changed.
        StorageError: a file cannot be read.
    """
    place = folder / CHECKPOINT / generation.folder
    for name in (STATE, PLAIN):
        path = place / name
        if not path.is_file():
            raise WeightsError(f"the checkpoint {place} has no {name}; {_WAY_OUT}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != generation.hashes.get(name):
            raise WeightsError(
                f"{path} is torn or changed (its SHA-256 is not that of {COMMIT}); {_WAY_OUT}"
            )
    return join(load_tensors(place / STATE), json.loads((place / PLAIN).read_bytes()))


def discard(folder: Path) -> None:
    """Remove the checkpoints of a finished run: hundreds of megabytes of replay, perhaps."""
    (folder / CHECKPOINT / COMMIT).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
