"""Run folders: the description of a training, written before its first step and read by every verb.

``training.json`` has agent, task, seed, settings and the command from the beginning, so that a
stopped or killed run can be identified, and resumed only with the same settings. A finished run has
the same entries in the ``config.json`` of its saved agent.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from pkubench.agents.saved.files import CONFIG
from pkubench.errors import ConfigError, StorageError, counted
from pkubench.files import lock_folder, unlock, write_json

TRAINING = "training.json"
VALIDATED = "validated"
"""The entry of a description with the settings of validation; absent where there is none."""
CURVE = "training.jsonl"
CHECKPOINT, COMMIT = "checkpoint", "checkpoint.json"
"""The folder of checkpoints in a run folder, and the file in it that names the complete ones."""


class Ended(StrEnum):
    """Status of a training that saves its agent repeatedly; ``ended`` in its ``config.json``."""

    STOPPED = "stopped"
    """Early, by the user or a kill."""
    COMPLETE = "complete"
    """All steps are done."""
    SOLVED = "solved"
    """Early, at an equilibrium or within the given tolerance."""


def spent(facts: Mapping[str, Any]) -> dict[str, int]:
    """Return what a training used by counter, from its ``config.json``, as far as that says.

    Environment steps are at most those that were asked for: the last update may end beyond them.
    """
    asked, steps = facts.get("total_steps"), facts.get("steps")
    if isinstance(asked, int) and isinstance(steps, int):
        steps = min(asked, steps)
    found = {
        "environment_steps": steps,
        "gradient_steps": facts.get("gradient_steps"),
        "iterations": facts.get("iterations"),
    }
    return {unit: count for unit, count in found.items() if isinstance(count, int)}


_ROUNDING = 1e-8
"""Tolerance, as a share of the largest payoff, up to which a solution counts as an equilibrium."""


def where_solved(settings: object) -> str:
    """Return in words where a game learner with these settings ends early."""
    tolerance = settings.get("tolerance") if isinstance(settings, dict) else None
    if not isinstance(tolerance, float) or tolerance <= _ROUNDING:
        return "at an equilibrium"
    return f"within a tolerance of {tolerance:g} of an equilibrium"


class Training(NamedTuple):
    """A training, finished or not."""

    folder: Path
    facts: dict[str, Any]
    """``config.json`` of a run that has saved its agent, else ``training.json``."""
    is_finished: bool

    @property
    def unit(self) -> str:
        """The unit of this run's steps."""
        settings = self.facts.get("settings")
        return "iteration" if isinstance(settings, dict) and "iterations" in settings else "step"

    @property
    def ended(self) -> str | None:
        """How the training of a saved agent ended, in words, if recorded in its config."""
        done, total = self.facts.get("iterations"), self.facts.get("total_steps")
        match self.facts.get("ended"):
            case Ended.SOLVED:
                return f"ended {where_solved(self.facts.get('settings'))} after {self._done}"
            case Ended.COMPLETE:
                return f"complete: {self._done}"
            case Ended.STOPPED:  # the saved agent may be newer than the last line of the curve
                return f"stopped at {self.unit} {done} of {total}; its agent so far is saved"
        return None

    @property
    def _done(self) -> str:
        done = self.facts.get("iterations")
        return counted(done, self.unit) if isinstance(done, int) else f"{done} {self.unit}s"

    @property
    def is_stopped(self) -> bool:
        """Whether it has a saved agent and can be trained further."""
        return self.facts.get("ended") == Ended.STOPPED

    @property
    def progress(self) -> str:
        """Progress of an unfinished run, in words."""
        curve = read_curve(self.folder)
        total = self.facts.get("total_steps")
        reached = f"{self.unit} {curve[-1]['steps']:,}" if curve else "before its first report"
        return reached + (f" of {total:,}" if curve and isinstance(total, int) else "")

    @property
    def command(self) -> str | None:
        """The command that started the run, if known."""
        command = self.facts.get("command")
        return command if isinstance(command, str) else None

    @property
    def resume_command(self) -> str:
        """The command that resumes an unfinished run."""
        if self.command is None:
            return "the command that started it, with --resume"
        words = self.command.split()
        out = self.folder.parent if {"--batch-seeds", "--together"} & {*words} else self.folder
        return f"{self.command} {shlex.join(['--out', str(out), '--resume'])}"

    @property
    def unfinished(self) -> str:
        """The message about a run without a saved agent."""
        return (
            f"{self.folder} has not finished its training ({self.progress}); "
            f"to resume: {self.resume_command}"
        )


def train_command(
    agent: str,
    task_id: str,
    total: int,
    seeds: Sequence[int],
    settings: Mapping[str, str],
    flags: Sequence[str] = (),
) -> str:
    """Return the command of this training: one seed, or several in a batch."""
    words = ["pkubench", "train", agent, task_id, "--steps", str(total)]
    if len(seeds) > 1:
        words += ["--seeds", ",".join(map(str, seeds)), "--batch-seeds"]
    else:
        words += ["--seed", str(seeds[0])]
    for name, value in settings.items():
        words += ["--set", f"{name}={value}"]
    return shlex.join([*words, *flags])


@contextmanager
def held(folders: Sequence[Path]) -> Iterator[None]:
    """Lock run folders against other training processes, until the end or a kill.

    Folders are created for it; empty ones are removed again, if this process has the lock: the
    process that has it may not have written its first file yet.

    Raises:
        StorageError: Another process trains into one of them, or one cannot be made.
    """
    made: list[Path] = []
    locks: list[int | None] = []
    try:
        for folder in folders:
            is_new = not folder.exists()
            refusal = (
                f"another process is training into {folder}; wait until it ends, stop it, or "
                "choose another --out"
            )
            locks.append(lock_folder(folder, refusal))
            if is_new:
                made.append(folder)
        yield
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        for lock in locks:
            unlock(lock)


@contextmanager
def claimed(folders: Sequence[Path], resume: bool, *, is_many: bool = False) -> Iterator[None]:
    """Lock the folders of runs to train; refuse folders that must not be written to.

    Raises:
        ConfigError: A folder is a file; it is not empty and ``resume`` is not set; or it is the
            only one, is empty, and ``resume`` is set.
        StorageError: Another process trains into one of them, or one cannot be made.
    """
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file; --out names the folder of a run")
        if resume and not is_many and not is_nonempty(folder):
            raise ConfigError(f"there is no run to resume in {folder}; omit --resume")
    with held(folders):
        # only now: while another process trains, its message is the relevant one
        for folder in folders:
            if is_nonempty(folder) and not resume:
                raise ConfigError(
                    f"{folder} is not empty; resume the run (--resume), or write elsewhere (--out)"
                )
        yield


def is_nonempty(folder: Path) -> bool:
    """Return whether a folder exists and is not empty."""
    return folder.is_dir() and any(folder.iterdir())


def begin_training(
    folder: Path,
    identity: Mapping[str, Any],
    command: str,
    *,
    resume: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write the description of a run before its first step; check that of a resumed one.

    Args:
        folder: The run folder; made if it does not exist.
        identity: Everything that determines the weights (JSON values).
        command: The command line of this training.
        resume: Resume the run in ``folder``.
        more: Facts that may differ when the run is resumed, such as a budget that may be extended.

    Raises:
        ConfigError: The folder has a run and ``resume`` is not set; or no run, or another one, and
            it is set.
        StorageError: The folder cannot be written.
    """
    if (folder / CHECKPOINT).is_file():
        raise StorageError(
            f"{folder / CHECKPOINT} is a file; checkpoints need a folder of this name"
        )
    facts = {**identity, **(more or {}), "command": command}
    if not resume:
        if is_training(folder):
            raise ConfigError(f"{folder} has a run already; add --resume or use another --out")
        write_json(folder / TRAINING, facts)
    elif (folder / TRAINING).exists():
        check_identity(folder, _read(folder / TRAINING), identity)
    elif not is_training(folder):
        raise ConfigError(
            f"{folder} has no run to resume: it does not contain a description of one; omit "
            "--resume and use another --out"
        )


def check_identity(folder: Path, held: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse to resume another run than the one in ``folder``.

    Raises:
        ConfigError: The entries ``held`` there differ; the message names different settings.
    """
    for key in dict.fromkeys([*identity, VALIDATED]):
        mine, there = json.loads(json.dumps(identity.get(key))), held.get(key)
        if there == mine:
            continue
        what = f"another {key} ({there!r}, not {mine!r})"
        if key == VALIDATED and None in (there, mine):
            what = f"{'no' if there is None else 'a'} validation"
        elif isinstance(there, dict) and isinstance(mine, dict):
            names = [name for name in mine if there.get(name) != mine[name]]
            what = f"other settings{' of validation' * (key == VALIDATED)}: " + ", ".join(
                f"{name}={there.get(name)!r}, not {mine[name]!r}" for name in names
            )
        run = read_training(folder)
        begun = f": {run.resume_command}" if run is not None and run.command is not None else ""
        raise ConfigError(
            f"{folder} has a run with {what}; resume it with its original settings{begun}"
        )


def is_training(folder: Path) -> bool:
    """Return whether a training began in ``folder``."""
    known = any((folder / name).exists() for name in (TRAINING, CONFIG))
    return known or any(folder.glob("checkpoint*"))


def has_checkpoint(folder: Path) -> bool:
    """Return whether the run in ``folder`` has a checkpoint that this release resumes from."""
    return (folder / CHECKPOINT / COMMIT).is_file()


def check_resumable(folder: Path) -> bool:
    """Return whether the run in ``folder`` has something left to train, according to its files.

    A run with neither a saved agent nor a checkpoint does: it starts from scratch.

    Raises:
        ConfigError: It was stopped, and has only a checkpoint of an earlier release, or only a
            saved agent without a checkpoint.
        StorageError: Its description cannot be read.
    """
    run = read_training(folder)
    ended = run.facts.get("ended", Ended.COMPLETE) if run and run.is_finished else None
    if ended is not None and "ended" not in run.facts:  # type: ignore[union-attr]
        return False  # its agent is saved once, at the end
    if has_checkpoint(folder):
        return True
    if ended not in (None, Ended.STOPPED):
        return False
    older = (folder / "checkpoint.safetensors", folder / CHECKPOINT / CONFIG)
    if ended is None and not any(path.exists() for path in older):
        return True
    raise ConfigError(
        f"{folder} was stopped and has no checkpoint that this release can resume (those of "
        "earlier releases it cannot): train again with another --out"
    )


def trainings(folder: Path) -> list[Training]:
    """Return the runs of ``training_folders``.

    Raises:
        StorageError: A description cannot be read.
    """
    found = (read_training(path) for path in training_folders(folder))
    return [run for run in found if run is not None]


def training_folders(folder: Path) -> list[Path]:
    """Return ``folder`` if it has a run, else its ``seed*`` folders that do, by number."""
    if is_training(folder):
        return [folder]
    seeds = [path for path in folder.glob("seed*") if is_training(path)]
    return sorted(seeds, key=lambda path: (len(path.name), path.name))


def read_training(folder: Path) -> Training | None:
    """Return the run in ``folder``; None if there is none.

    Raises:
        StorageError: Its description cannot be read.
    """
    if not is_training(folder):
        return None
    if (folder / CONFIG).exists():
        return Training(folder, _read(folder / CONFIG), True)
    # a run of an earlier release may have only a checkpoint
    held = folder / TRAINING
    return Training(folder, _read(held) if held.exists() else {}, False)


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's training curve; none if there is no curve.

    Raises:
        StorageError: A line is damaged. The last one of a killed run may be incomplete, and is
            omitted.
    """
    path = folder / CURVE
    if not path.is_file():
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if text.endswith("}"):
            line = _parsed(text, f"{path}:{number}")
            if not isinstance(line.get("steps"), int):
                raise StorageError(f"{path}:{number} has no entry 'steps'")
            lines.append(line)
    return lines


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    return _parsed(data, str(path))


def _parsed(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers too long, brackets too deep
        raise StorageError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise StorageError(f"{where} is not a JSON object")
    return found
