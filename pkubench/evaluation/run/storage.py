"""Where records go while an evaluation runs: complete lines only, resumable after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pkubench.errors import RecordError, StorageError
from pkubench.evaluation.run.machine import MACHINES, machines_of
from pkubench.files import lock_folder, unlock, write_json
from pkubench.tasks.records import (
    EPISODES,
    RUN,
    EpisodeRecord,
    check_order,
    parse_record,
    read_json,
    read_text,
)
from pkubench.tasks.task import Task


class RunFolder:
    """The records of one run of one agent on one task, appended block by block."""

    def __init__(
        self, folder: Path, task: Task, fingerprint: Mapping[str, Any], block_ends: Sequence[int]
    ) -> None:
        """Open ``folder`` and keep what an earlier, interrupted evaluation left in it.

        Args:
            folder: Made if it does not exist.
            task: What is evaluated.
            fingerprint: What makes it this evaluation (JSON values); kept in ``run.json``.
            block_ends: Episode numbers at which blocks end. Lines past the last whole block are
                cut: that block runs again, as a whole, so its episodes come from the same batch.

        Raises:
            RecordError: the folder holds another evaluation; nothing in it is touched.
            StorageError: it cannot be written, or another process is writing to it.
        """
        self.folder, self.task = folder, task
        self.path = folder / EPISODES
        self.settings: dict[str, Any] = {}
        self._file: IO[bytes] | None = None
        self._lock = lock_folder(
            folder,
            f"another process is evaluating into {folder}; wait for its end or choose another "
            "--out",
        )
        try:
            self._check(json.loads(json.dumps(dict(fingerprint))))
            self.records = self._kept(block_ends)
        except BaseException:
            self._unlock()
            raise

    @property
    def machines(self) -> list[dict[str, str]]:
        """The machines that wrote the records, as far as they are known."""
        return machines_of(self.settings)

    def resumed_on(self, machine: dict[str, str]) -> None:
        """Note a machine that adds to the records; for old records the earlier ones are unknown.

        Raises:
            StorageError: the folder cannot be written.
        """
        if machine not in self.machines:
            self.settings = {**self.settings, MACHINES: [*self.machines, machine]}
            write_json(self.folder / RUN, self.settings)

    def append(self, records: Sequence[EpisodeRecord]) -> None:
        """Write the records of the next block.

        Raises:
            StorageError: the disk is full or the folder is read-only.
        """
        data = "".join(f"{record.line(self.task)}\n" for record in records).encode()
        try:
            if self._file is None:
                self._file = self.path.open("ab", buffering=0)
            written = 0
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        except OSError as error:
            raise StorageError(
                f"cannot write {self.path}: {error.strerror or error}; complete lines are kept, "
                "so the same command resumes from there"
            ) from error
        self.records.extend(records)

    def close(self) -> None:
        """Make what was written durable, close the file and release the folder."""
        try:
            if self._file is not None:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror or error}") from error
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None
            self._unlock()

    def _unlock(self) -> None:
        unlock(self._lock)
        self._lock = None

    def _check(self, fingerprint: dict[str, Any]) -> None:
        path = self.folder / RUN
        if not (self.path.exists() and self.path.stat().st_size):
            write_json(path, fingerprint)  # nothing was recorded, so nothing can be mixed up
            self.settings = fingerprint
            return
        if not path.exists():
            raise RecordError(
                f"{self.path} is there but {RUN} is not, so what it holds is unknown; "
                "choose another --out"
            )
        found = self.settings = read_json(path)
        for key in [*fingerprint, *(key for key in found if key not in fingerprint)]:
            there, now = found.get(key), fingerprint.get(key)
            if there == now or key == MACHINES:  # another machine gives the same bytes, or is found
                continue
            if key == "hashes" and isinstance(there, dict) and isinstance(now, dict):
                files = sorted(name for name in there | now if there.get(name) != now.get(name))
                raise RecordError(
                    f"{self.folder} holds the evaluation of another agent that is called "
                    f"{fingerprint.get('agent')!r} too ({', '.join(files)} there and now differ); "
                    "choose another --out, or rename the agent's folder"
                )
            raise RecordError(
                f"{self.folder} holds another evaluation ({key}: {_short(there)} there, "
                f"{_short(now)} now); choose another --out or remove it"
            )

    def _kept(self, block_ends: Sequence[int]) -> list[EpisodeRecord]:
        if not self.path.exists():
            return []
        text = read_text(self.path)
        lines = text.splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
        whole = max((end for end in block_ends if end <= len(lines)), default=0)
        records = [
            parse_record(line, f"{self.path}:{number}")
            for number, line in enumerate(lines[:whole], start=1)
        ]
        check_order(records, self.path)
        kept = "".join(lines[:whole]).encode()
        if len(kept) != len(text.encode()):
            try:
                os.truncate(self.path, len(kept))
            except OSError as error:
                raise StorageError(
                    f"cannot write {self.path}: {error.strerror or error}"
                ) from error
        return records


class MemoryRun:
    """The records of one run, kept in memory: what ``evaluate(..., out=None)`` writes to."""

    def __init__(self) -> None:
        """Start with no records."""
        self.records: list[EpisodeRecord] = []

    def append(self, records: Sequence[EpisodeRecord]) -> None:
        """Keep the records of the next block."""
        self.records.extend(records)

    def close(self) -> None:
        """Do nothing."""


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
