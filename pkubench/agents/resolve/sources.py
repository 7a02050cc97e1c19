"""A resolved agent: its name, and runs that any process can load."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkubench.agents.contract import Entrant
from pkubench.errors import StorageError


@dataclass(frozen=True)
class AgentRun:
    """One trained run of an agent; picklable, so that other processes can load it."""

    label: str
    """Folder name of the run's records, e.g. ``seed1``."""
    function: Callable[..., Entrant] = field(repr=False)
    """Module-level function that loads the entrant."""
    arguments: tuple[Any, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    """File name -> SHA-256 of the loaded files."""
    spent: Mapping[str, int] = field(default_factory=dict)
    """What its training used, by counter such as ``environment_steps``, where that is known."""
    reusable: bool = True
    """Whether one loaded entrant may be reused for many blocks of episodes (see the harness)."""

    def load(self) -> Entrant:
        """Return the entrant.

        Raises:
            AgentError: it cannot be loaded, or does not fit the task.
        """
        return self.function(*self.arguments)


@dataclass(frozen=True)
class AgentSource:
    """An agent by name, with all its runs: training seeds, the sample of confidence intervals."""

    name: str
    label: str
    """``builtin``, ``pretrained``, ``saved``, ``population``, ``code``, ``scripted``, ``onnx`` or
    ``sb3``."""
    runs: tuple[AgentRun, ...]
    runtimes: tuple[str, ...] = ()
    """Distributions that it runs with."""
    needs_terminal: bool = False
    """Whether it reads the keyboard, so that it acts in the process of the command."""


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
