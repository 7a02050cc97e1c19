"""Saved agents: ``config.json`` and ``weights.safetensors``. Never pickle; loading runs no code."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.errors import ConfigError, MissingExtra, StorageError, WeightsError
from pkubench.files import write_bytes, write_json

FORMAT = 1
"""Version of the saved-agent format."""
CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
DIGEST = "weights_sha256"
"""Entry of a saved agent's ``config.json`` by which a changed byte of its weights is detected."""

FILES = "files"
"""Entry of ``config.json`` with the SHA-256 of each further file, by name."""

EXTRA = "extra_files"
"""Entry of ``config.json`` with the SHA-256 of each file of tensors that acting does not read. They
may be absent: shipped weights and bundles do not have them."""

Tensors = dict[str, npt.NDArray[Any]]


class SavedAgent(NamedTuple):
    """Contents of a saved agent's folder."""

    config: dict[str, Any]
    """At least ``format``, ``kind`` (which loader reads it), ``agent`` and ``task``."""
    tensors: Tensors
    files: Mapping[str, bytes] = {}
    """Further files that acting reads (a vocabulary, say), by name."""
    folder: Path | None = None
    """Where it was read, for tensors that acting does not read; None where it is in no folder."""


def save_agent(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Tensors,
    files: Mapping[str, bytes] | None = None,
    extra: Mapping[str, Mapping[str, npt.NDArray[Any]]] | None = None,
) -> None:
    """Save an agent. ``config`` needs ``kind``, ``agent`` and ``task``.

    Args:
        folder: is made if it does not exist.
        config: JSON values.
        tensors: of the weights.
        files: further files that acting reads, by name.
        extra: tensors that acting does not read, by the name of their file without its suffix.

    Raises:
        ConfigError: the name of a further file is not a plain one.
        StorageError: the folder cannot be written.
        MissingExtra: safetensors is not installed.
    """
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in (files or {}).items()}
    for name in hashes:
        if not _is_plain(name):
            raise ConfigError(f"{name!r} cannot be the name of a file of a saved agent")
    for name, data in (files or {}).items():
        write_bytes(folder / name, data)
    beside = {
        f"{n}.safetensors": write_tensors(folder / f"{n}.safetensors", dict(of))
        for n, of in (extra or {}).items()
    }
    digest = write_tensors(folder / WEIGHTS, tensors)
    entries: dict[str, Any] = {"format": FORMAT, **config, DIGEST: digest}
    if hashes:
        entries[FILES] = hashes
    if beside:
        entries[EXTRA] = beside
    # Last, so that a kill between the two leaves weights that do not match the old config.
    write_json(folder / CONFIG, entries, allow_nan=True)


def write_tensors(path: Path, tensors: Tensors) -> str:
    """Write a safetensors file atomically, and return its SHA-256.

    Raises:
        StorageError: the folder cannot be written.
        MissingExtra: safetensors is not installed.
    """
    ordered = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    data: bytes = _safetensors().save(ordered)
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def load_saved(folder: Path) -> SavedAgent:
    """Read a saved agent.

    Raises:
        WeightsError: a file is missing, corrupt, truncated, of another format, or not what was
            saved; weights of a config without their hash are not checked.
        StorageError: a file cannot be read.
        MissingExtra: safetensors is not installed.
    """
    config_path, weights_path = folder / CONFIG, folder / WEIGHTS
    for path in (config_path, weights_path):
        if not path.is_file():
            raise WeightsError(f"{folder} is not a saved agent: it has no {path.name}")
    config = _config(config_path)
    data = _read(weights_path)
    tensors = _tensors(data, weights_path)
    digest = hashlib.sha256(data).hexdigest()
    if config.get(DIGEST, digest) != digest:
        raise WeightsError(
            f"{weights_path} is not the file that was saved with {CONFIG} (its SHA-256 differs "
            "from weights_sha256 there): copy both again, or continue with --resume if saving was "
            "interrupted"
        )
    return SavedAgent(config, tensors, _further(folder, config), folder)


def load_extra(folder: Path, name: str) -> Tensors:
    """Read tensors of a saved agent that acting does not read.

    Args:
        folder: of the saved agent.
        name: of their file, without its suffix.

    Raises:
        WeightsError: there are none, or they are not what was saved with the agent.
    """
    path = folder / f"{name}.safetensors"
    known = _config(folder / CONFIG).get(EXTRA, {})
    if not path.is_file() or not isinstance(known, dict) or path.name not in known:
        raise WeightsError(f"{folder} has no {path.name}")
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != known[path.name]:
        raise WeightsError(
            f"{path} is not the file that was saved with {CONFIG} (its SHA-256 differs from the "
            "one there): copy both again"
        )
    return _tensors(data, path)


def has_extra(folder: Path, name: str = "") -> bool:
    """Return whether a folder has all tensors that were saved there for other ends than acting.

    With a ``name``, that of a file without its suffix, whether it has those; without, there are
    some at least.
    """
    try:
        known = _config(folder / CONFIG).get(EXTRA)
    except (WeightsError, StorageError):  # said when it is loaded
        return False
    if not isinstance(known, dict):
        return False
    wanted = [f"{name}.safetensors"] if name else [*known]
    return bool(wanted) and all(n in known and (folder / n).is_file() for n in wanted)


def files_of(folder: Path) -> tuple[str, ...]:
    """Return the names of the further files of a saved agent; none where it cannot be read."""
    try:
        return tuple(_hashes(folder / CONFIG, _config(folder / CONFIG)))
    except (WeightsError, StorageError):  # said when it is loaded
        return ()


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(_read(path))
    except (ValueError, RecursionError) as error:  # also numbers too long, brackets too deep
        raise WeightsError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict) or "kind" not in config:
        raise WeightsError(f"{path} does not describe a saved agent (no 'kind')")
    if config.get("format") != FORMAT:
        raise WeightsError(
            f"{path} has format {config.get('format')!r}; this release reads {FORMAT}"
        )
    return config


def _hashes(path: Path, config: Mapping[str, Any]) -> dict[str, str]:
    found = config.get(FILES, {})
    if not isinstance(found, dict) or not all(_is_plain(name) for name in found):
        raise WeightsError(f"{path}: files must be a table of file names without folders")
    return found


def _is_plain(name: str) -> bool:
    """Whether a name stays in its folder and is none that a run folder has itself."""
    is_own = name in (CONFIG, WEIGHTS, "checkpoint") or name.startswith("training.")
    return bool(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name)) and not is_own


def _further(folder: Path, config: Mapping[str, Any]) -> dict[str, bytes]:
    """Read the further files of a saved agent and check their hashes."""
    files = {}
    for name, digest in _hashes(folder / CONFIG, config).items():
        if not (folder / name).is_file():
            raise WeightsError(f"{folder} is not complete: it has no {name}")
        files[name] = _read(folder / name)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise WeightsError(
                f"{folder / name} is not the file that was saved with {CONFIG} (its SHA-256 "
                "differs from the one there): copy both again"
            )
    return files


def load_tensors(path: Path) -> Tensors:
    """Read a safetensors file into NumPy arrays.

    Raises:
        WeightsError: it is a pickle, truncated or otherwise not a safetensors file.
    """
    return _tensors(_read(path), path)


def _tensors(data: bytes, path: Path) -> Tensors:
    safetensors = _safetensors()
    # A safetensors file starts with the length of its header, which can look like a pickle's first
    # bytes (640 = 0x0280); the header itself starts with a brace.
    pickle_or_zip = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")
    if data[:2] in pickle_or_zip and data[8:9] != b"{":
        raise WeightsError(
            f"{path} is a pickle or a torch archive, not safetensors; it is refused because "
            "reading it could run code. Save the weights with safetensors instead"
        )
    try:
        tensors: Tensors = safetensors.load(data)
    except Exception as error:  # the library raises several private types
        raise WeightsError(f"{path} is corrupt or truncated: {error}") from error
    return tensors


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "reading saved agents") from error
    return safetensors.numpy
