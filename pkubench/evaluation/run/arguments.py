"""What ``evaluate`` is given from Python: of the right kind, or refused by name."""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import Any

from pkubench.errors import ConfigError


def whole_number(name: str, value: Any) -> int:
    """Return an argument that counts something, as an int; those of NumPy are taken too.

    Raises:
        ConfigError: it is not a whole number.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ConfigError(f"{name} must be a whole number, got {value!r:.80}")


def output_folder(out: Any) -> Path | None:
    """Return where records go, None for nowhere.

    Raises:
        ConfigError: it is not a path, or an empty one, which would be the current folder.
    """
    if out is None:
        return None
    if not isinstance(out, str | os.PathLike):
        raise ConfigError(f"out must be a path, got {out!r:.80}")
    if not os.fspath(out):
        raise ConfigError("out is empty; '.' is the current folder")
    return Path(out)
