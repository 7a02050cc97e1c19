"""A request to train, checked before anything is written or built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkubench.agents.components import as_plain, check_fits, with_settings
from pkubench.agents.learner import Context
from pkubench.agents.registry import (
    AgentFamily,
    Input,
    family_of,
    import_function,
    limits_of,
    preset,
)
from pkubench.agents.saved.files import CONFIG, WEIGHTS
from pkubench.agents.saved.runs import train_command
from pkubench.agents.suitability import why_not
from pkubench.envs.core.seeding import check_seed
from pkubench.errors import ConfigError, StorageError
from pkubench.tasks.task import Task
from pkubench.training.trackers import check_trackers
from pkubench.training.validation import Validation, validation_for

MAX_BATCH = 100_000_000
"""Environment steps of one update: observations of ten numbers take 4 GB then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A requested training of one or more seeds; made by :func:`request`."""

    agent: str
    task: Task
    family: AgentFamily
    config: Any
    """The preset's settings on the task, with the user's changes."""
    total: int
    """The budget in the family's unit."""
    seeds: tuple[int, ...]
    """The training seeds; several are trained in parallel."""
    settings: Mapping[str, str]
    """The user's changes."""
    device: str = "cpu"
    validation: Validation | None = None
    track: tuple[str, ...] = ()
    inputs: Mapping[str, Path | str] = field(default_factory=dict)
    """As the user named them."""
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What learners get of them: read, or the path."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Their SHA-256."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    save_points: bool = False
    """Whether the agent of every validation point is saved too, in ``points/``."""

    def context(self, seed: int) -> Context:
        """Return what the learner of one seed is made from."""
        return Context(
            agent=self.agent,
            task=self.task,
            settings=self.config,
            seed=seed,
            total=self.total,
            device=self.device,
            inputs=self.values,
            env_kwargs=self.env_kwargs,
        )

    def identity(self, seed: int) -> dict[str, Any]:
        """Return what two trainings of the same agent share, without the budget, as JSON values."""
        identity: dict[str, Any] = {
            "agent": self.agent,
            "task": self.task.id,
            "seed": seed,
            "settings": as_plain(self.config),
        }
        if self.validation is not None:
            identity["validated"] = as_plain(self.validation)
        if self.env_kwargs:
            identity["env_kwargs"] = dict(self.env_kwargs)
        if self.hashes:
            identity["inputs"] = dict(self.hashes)
        found: dict[str, Any] = json.loads(json.dumps(identity))
        return found

    def command(self, total: int | None = None) -> str:
        """Return the command that trains this."""
        flags: list[str] = []
        usual = None if self.family.load is None else validation_for(self.task)
        if self.validation != usual:
            how = self.validation
            flags += ["--validate", str(0 if how is None else how.points)]
            if how is not None:
                flags += ["--validation-episodes", str(how.episodes)]
                flags += ["--window", str(how.window), "--keep", how.keep]
                flags += ["--validate-sampled"] if how.sampled else []
        for entry in self.family.inputs:
            if entry.name in self.inputs:
                flags += entry.spelled(str(self.inputs[entry.name]))
        total = self.total if total is None else total
        return train_command(self.agent, self.task.id, total, self.seeds, self.settings, flags)


def request(
    agent: str,
    task: Task,
    settings: Mapping[str, str],
    *,
    steps: int | None,
    seeds: Sequence[int],
    device: str = "cpu",
    validation: Validation | None = None,
    track: Sequence[str] = (),
    inputs: Mapping[str, Path | str] | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    save_points: bool = False,
) -> Request:
    """Return a checked request: valid settings, a budget, and an available device.

    Raises:
        UnknownName: no such agent, setting, input or tracker.
        DataError: a data set is damaged, or of another task.
        ConfigError: the agent is not trained, or does not fit the task; a budget below 1; a seed
            out of range; no such device; a setting of a wrong type or out of its domain; a
            constraint on a task without cost; or a component that does not fit the task.
    """
    chosen = preset(agent)
    family = family_of(chosen)
    if family.learner is None and family.plan is None:
        raise ConfigError(f"agent {agent!r} is not trained")
    if why := why_not(chosen, task):
        raise ConfigError(f"{agent} does not train on {task.id}: {why}")
    before = chosen.config(task)
    config = with_settings(before, settings, limits_of(task))
    total = steps
    if total is None:  # learners that count iterations or gradient steps may have a default number
        own = None if family.unit == "environment_steps" else getattr(config, family.unit, None)
        total = own if own is not None else task.protocol.budget.get(family.unit)
    if total is None:
        raise ConfigError(f"{task.id} has no budget of its own: give a number of steps (--steps)")
    if total < 1:
        raise ConfigError(f"steps must be at least 1, got {total}")
    for seed in seeds:
        check_seed(seed)
    if len(seeds) > 1 and family.batch is None:
        raise ConfigError(f"{agent} trains one seed at a time: leave --batch-seeds out")
    _check_size(config)
    _check_device(device)
    _check_constraint(agent, task, before, config)
    check_fits(config, task)
    check_trackers(tuple(track), len(seeds))
    inputs = dict(inputs or {})
    values, hashes = _read_inputs(agent, family, inputs, task)
    return Request(
        agent=agent,
        task=task,
        family=family,
        config=config,
        total=total,
        seeds=tuple(seeds),
        settings=dict(settings),
        device=device,
        validation=None if family.load is None else validation,  # an artefact does not act
        track=tuple(track),
        inputs=inputs,
        values=values,
        hashes=hashes,
        env_kwargs=dict(env_kwargs or {}),
        save_points=save_points,
    )


def _check_size(config: Any) -> None:
    """Refuse a batch of an update that no machine holds."""
    envs, steps = (getattr(config, name, 1) for name in ("num_envs", "rollout_steps"))
    if envs * steps > MAX_BATCH:
        raise ConfigError(
            f"num_envs={envs:,} with rollout_steps={steps:,} makes {envs * steps:,} steps per "
            f"update; at most {MAX_BATCH:,} are taken: reduce num_envs or rollout_steps"
        )


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"no device {device!r}; choose cpu or cuda")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("no CUDA device is visible to torch; use the device cpu")


def constraint_name(config: Any) -> str:
    """Return the constraint that a config holds; ``none`` where it has no such setting."""
    chosen = getattr(config, "constraint", "none")
    return str(getattr(chosen, "name", chosen))


def _check_constraint(agent: str, task: Task, before: Any, config: Any) -> None:
    if task.cost_limits and constraint_name(config) != "none":
        held = getattr(config.constraint, "cost_keys", ())
        if len(held) != len(task.cost_limits):
            raise ConfigError(
                f"constraint={constraint_name(config)} holds one cost limit, and {task.id} has "
                f"{len(task.cost_limits)}; use ppo-lag or another agent with several multipliers"
            )
    if task.cost_limit is not None or constraint_name(config) == "none":
        return
    if constraint_name(before) == "none":
        raise ConfigError(
            f"constraint={constraint_name(config)} enforces a cost limit; {task.id} has no cost; "
            "leave this setting out"
        )
    raise ConfigError(
        f"{agent} enforces a cost limit, but {task.id} has no cost; use an agent without a "
        "constraint (`pkubench list` shows all)"
    )


def _read_inputs(
    agent: str, family: AgentFamily, inputs: Mapping[str, Path | str], task: Task
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what learners get of the inputs, and the hash of each."""
    known = {entry.name: entry for entry in family.inputs}
    _check_inputs(agent, known, inputs)
    values: dict[str, Any] = {}
    hashes: dict[str, str] = {}
    for name, given in inputs.items():
        if (read := known[name].read) is None:
            values[name] = Path(given)
            hashes[name] = sha256_of(values[name])
        else:
            values[name] = import_function(read)(str(given), task)
            hashes[name] = values[name].sha256
    return values, hashes


def _check_inputs(agent: str, known: Mapping[str, Input], inputs: Mapping[str, Path | str]) -> None:
    for name in inputs:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ConfigError(f"{agent} has no input {name!r}; {takes}")
    for name, entry in known.items():
        if entry.is_required and name not in inputs:
            flag = " ".join(entry.spelled("PATH"))
            raise ConfigError(f"{agent} needs the input {name!r} ({flag}): {entry.summary}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, of a saved agent's weights, or of a folder's files and names.

    Raises:
        StorageError: it does not exist or cannot be read.
    """
    try:
        if path.is_dir() and (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
            path = path / WEIGHTS
        if not path.is_dir():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    whole = hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{part.relative_to(path).as_posix()}\0{sha256_of(part)}\n".encode())
    return whole.hexdigest()
