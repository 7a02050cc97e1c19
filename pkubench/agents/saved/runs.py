"""Run folders: what a training is, written down before its first step and read by every verb.

``training.json`` holds agent, task, seed, settings and the command from the beginning, so that a
run which is stopped or killed is known and can only be resumed as what it is. A finished run says
the same in the ``config.json`` of its saved agent.
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
CURVE = "training.jsonl"
CHECKPOINT, COMMIT = "checkpoint", "checkpoint.json"
"""The folder of checkpoints in a run folder, and the file there that says which are good."""


class Ended(StrEnum):
    """How a training whose agent is saved on the way stands; ``ended`` in its ``config.json``."""

    STOPPED = "stopped"
    """Before its time, by the user or a kill."""
    COMPLETE = "complete"
    """All its steps are done."""
    SOLVED = "solved"
    """Before its time, at an equilibrium or within the tolerance that was set."""


_ROUNDING = 1e-8
"""What ends within this tolerance, a share of the largest payoff, ends at an equilibrium."""


def where_solved(settings: object) -> str:
    """Return where a game learner with these settings ends before its time, in words."""
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
        """What a step of this run is."""
        settings = self.facts.get("settings")
        return "iteration" if isinstance(settings, dict) and "iterations" in settings else "step"

    @property
    def ended(self) -> str | None:
        """How the training of a saved agent ended, in words, where its config tells."""
        done, total = self.facts.get("iterations"), self.facts.get("total_steps")
        match self.facts.get("ended"):
            case Ended.SOLVED:
                return f"ended {where_solved(self.facts.get('settings'))} after {self._done}"
            case Ended.COMPLETE:
                return f"complete: {self._done}"
            case Ended.STOPPED:  # the saved agent may be newer than the last report of the curve
                return f"stopped at {self.unit} {done} of {total}; what it had learnt is saved"
        return None

    @property
    def _done(self) -> str:
        done = self.facts.get("iterations")
        return counted(done, self.unit) if isinstance(done, int) else f"{done} {self.unit}s"

    @property
    def is_stopped(self) -> bool:
        """Whether it has an agent to offer and more to train."""
        return self.facts.get("ended") == Ended.STOPPED

    @property
    def progress(self) -> str:
        """How far an unfinished run came, in words."""
        curve = read_curve(self.folder)
        total = self.facts.get("total_steps")
        reached = f"{self.unit} {curve[-1]['steps']:,}" if curve else "before its first report"
        return reached + (f" of {total:,}" if curve and isinstance(total, int) else "")

    @property
    def command(self) -> str | None:
        """The command that began the run, if it is known."""
        command = self.facts.get("command")
        return command if isinstance(command, str) else None

    @property
    def resume_command(self) -> str:
        """The command that resumes an unfinished run."""
        if self.command is None:
            return "the command that began it, with --resume"
        words = self.command.split()
        out = self.folder.parent if {"--batch-seeds", "--together"} & {*words} else self.folder
        return f"{self.command} {shlex.join(['--out', str(out), '--resume'])}"

    @property
    def unfinished(self) -> str:
        """The line about a run that has no agent to offer yet."""
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
    """Return the command that trains this: one seed, or several side by side."""
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
    """Keep other processes from training into run folders, until the end or a kill.

    Folders are made for it; those in which nothing was written are removed again, if this process
    got them: the one that holds a folder may not have written its first file yet.

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
    """Hold the folders of runs that are to be trained; refuse what must not be written to.

    Raises:
        ConfigError: A folder is a file; it holds something and ``resume`` is not set; or it is
            the only one, holds nothing, and ``resume`` is set.
        StorageError: Another process trains into one of them, or one cannot be made.
    """
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file; --out names the folder of a run")
        if resume and not is_many and not holds_something(folder):
            raise ConfigError(f"there is no run to resume in {folder}; leave --resume out")
    with held(folders):
        # only now: while another process trains, that is what a user should read
        for folder in folders:
            if holds_something(folder) and not resume:
                raise ConfigError(
                    f"{folder} holds something already; --resume continues the run, "
                    "--out writes elsewhere"
                )
        yield


def holds_something(folder: Path) -> bool:
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
    """Write down what a run is, before its first step; of one that is resumed, check that it is it.

    Args:
        folder: The run folder; made if it does not exist.
        identity: What two trainings of the same weights share (JSON values).
        command: What the user types to train this.
        resume: Resume the run in ``folder``.
        more: What may differ when the run is resumed, such as a budget that may be extended.

    Raises:
        ConfigError: The folder holds a run and ``resume`` is not set; or no run, or another one,
            and it is set.
        StorageError: The folder cannot be written.
    """
    facts = {**identity, **(more or {}), "command": command}
    if not resume:
        if is_training(folder):
            raise ConfigError(f"{folder} holds a run already; add --resume or use another --out")
        write_json(folder / TRAINING, facts)
    elif (folder / TRAINING).exists():
        check_identity(folder, _read(folder / TRAINING), identity)
    elif not is_training(folder):
        raise ConfigError(
            f"{folder} holds no run to resume: nothing there says what was trained; leave "
            "--resume out and use another --out"
        )


def check_identity(folder: Path, held: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse to resume another run than the one in ``folder``.

    Raises:
        ConfigError: What is ``held`` there differs; of many settings, those that do are named.
    """
    for key, value in identity.items():
        mine, there = json.loads(json.dumps(value)), held.get(key)
        if there == mine:
            continue
        what = f"another {key} ({there!r}, not {mine!r})"
        if isinstance(there, dict) and isinstance(mine, dict):
            names = [name for name in mine if there.get(name) != mine[name]]
            what = "other settings: " + ", ".join(
                f"{name}={there.get(name)!r}, not {mine[name]!r}" for name in names
            )
        run = read_training(folder)
        begun = f": {run.resume_command}" if run is not None and run.command is not None else ""
        raise ConfigError(
            f"{folder} holds a run with {what}; resume it with the settings it began with{begun}"
        )


def is_training(folder: Path) -> bool:
    """Return whether a training began in ``folder``."""
    known = any((folder / name).exists() for name in (TRAINING, CONFIG))
    return known or any(folder.glob("checkpoint*"))


def has_checkpoint(folder: Path) -> bool:
    """Return whether the run in ``folder`` has a checkpoint that this release resumes from."""
    return (folder / CHECKPOINT / COMMIT).is_file()


def check_resumable(folder: Path) -> bool:
    """Return whether the run in ``folder`` has something left to train, as far as its files say.

    A run that has neither saved its agent nor a checkpoint has: it starts from scratch.

    Raises:
        ConfigError: It was stopped, and has only a checkpoint of an earlier release, or none
            beside the agent that it saved on the way.
        StorageError: What describes it cannot be read.
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
        f"{folder} was stopped and has no checkpoint that this release resumes from (those of "
        "earlier ones it does not): train again with another --out"
    )


def trainings(folder: Path) -> list[Training]:
    """Return the runs of ``training_folders``.

    Raises:
        StorageError: What describes one cannot be read.
    """
    found = (read_training(path) for path in training_folders(folder))
    return [run for run in found if run is not None]


def training_folders(folder: Path) -> list[Path]:
    """Return ``folder`` if it holds a run, else its ``seed*`` folders that do, by number."""
    if is_training(folder):
        return [folder]
    seeds = [path for path in folder.glob("seed*") if is_training(path)]
    return sorted(seeds, key=lambda path: (len(path.name), path.name))


def read_training(folder: Path) -> Training | None:
    """Return the run in ``folder``; None if there is none.

    Raises:
        StorageError: What describes it cannot be read.
    """
    if not is_training(folder):
        return None
    if (folder / CONFIG).exists():
        return Training(folder, _read(folder / CONFIG), True)
    # a run of an earlier release may have no more than a checkpoint
    held = folder / TRAINING
    return Training(folder, _read(held) if held.exists() else {}, False)


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's training curve; none if there is no curve.

    Raises:
        StorageError: A line is damaged. The last one of a killed run may be torn, and is left out.
    """
    path = folder / CURVE
    if not path.is_file():
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if text.endswith("}"):
            line = _parsed(text, f"{path}:{number}")
            if not isinstance(line.get("steps"), int):
                raise StorageError(f"{path}:{number} does not say its steps")
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
