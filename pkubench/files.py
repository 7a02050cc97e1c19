"""Files that are written atomically, and folders that only one process at a time writes to."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from pkubench.errors import StorageError

try:
    import fcntl
except ModuleNotFoundError:  # not a Unix system: folders are not locked
    fcntl = None  # type: ignore[assignment]


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, in a folder that is made if it does not exist.

    Raises:
        StorageError: the folder cannot be written, or the disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: Path, value: Any, *, allow_nan: bool = False) -> None:
    """Write a JSON file whole or not at all.

    Args:
        path: The file.
        value: JSON values.
        allow_nan: Write NaN and infinity too, which only Python reads back.

    Raises:
        StorageError: the folder cannot be written, or the disk is full.
        ValueError: a number is not finite, and ``allow_nan`` is not set.
    """
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=allow_nan) + "\n").encode())


def lock_folder(folder: Path, refusal: str) -> int | None:
    """Return a descriptor that locks a folder until it is closed (``unlock``), also by a kill.

    None where the system or the file system has no such locks.

    Args:
        folder: Made if it does not exist.
        refusal: The error message if another process has locked the folder.

    Raises:
        StorageError: another process has locked it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        for path in (folder, *folder.parents):
            if path.is_file():
                raise StorageError(
                    f"cannot write {folder}: {path} is a file; name a folder"
                ) from error
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
    if fcntl is None:
        return None
    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = os.path.samestat(os.fstat(descriptor), folder.stat())
    except BlockingIOError as error:
        unlock(descriptor)
        raise StorageError(refusal) from error
    except FileNotFoundError:
        is_there = False
    except OSError:  # a network file system without locks
        unlock(descriptor)
        return None
    if is_there:
        return descriptor
    # the process that had locked the folder removed it before we locked it
    unlock(descriptor)
    return lock_folder(folder, refusal)


def unlock(descriptor: int | None) -> None:
    """Release a folder locked by ``lock_folder``."""
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.close(descriptor)
