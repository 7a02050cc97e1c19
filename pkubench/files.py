"""Files that are written whole or not at all: a crash leaves the old one."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from pkubench.errors import StorageError


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
