"""What every trainer shares: progress, settings from the command line, and the training log."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from pkubench.agents.components import Component, with_settings
from pkubench.agents.saved.runs import CURVE
from pkubench.envs.core.seeding import check_seed
from pkubench.errors import ConfigError

if typing.TYPE_CHECKING:
    from pkubench.tasks.task import Task


class _Limited(Protocol):
    @property
    def constraint(self) -> Any: ...


LimitedT = TypeVar("LimitedT", bound=_Limited)


class Progress(NamedTuple):
    """One report of a running training."""

    steps: int
    """Environment steps (of one lane each) taken so far; iterations for game learners."""
    total_steps: int
    metrics: dict[str, float]
    """Named numbers of this stage, e.g. ``return``, ``cost``, ``steps_per_second``."""
    ended: str = ""
    """Why this is the last report although ``total_steps`` are not done."""

    @property
    def is_last(self) -> bool:
        """Whether nothing is left to train."""
        return self.steps >= self.total_steps or bool(self.ended)


class Trainer(Protocol):
    """Trains one preset on one task; registered by name in ``agents/catalogue.py``."""

    def __call__(
        self,
        agent: str,
        task: Task,
        *,
        steps: int | None,
        seed: int,
        settings: Mapping[str, str],
        out: Path,
        resume: bool = False,
        device: str = "cpu",
    ) -> Iterator[Progress]:
        """Yield progress while training; leave a saved agent in ``out``.

        Closing the iterator early (Ctrl-C) leaves a checkpoint from which ``resume=True`` goes on
        to exactly the weights an uninterrupted run would have had.

        Args:
            agent: preset name.
            task: what to train on.
            steps: budget; None is the task's own.
            seed: the run's seed; everything random derives from it.
            settings: overrides, ``name -> text``, of the preset's config fields.
            out: run folder: ``training.json`` before the first step (see ``agents.runs``),
                ``training.jsonl`` and a checkpoint (``checkpoint.safetensors``, or a folder
                ``checkpoint``) meanwhile, ``config.json`` and ``weights.safetensors`` at the end.
            resume: go on with the run in ``out``: from its checkpoint, or from the start if it was
                killed before its first one.
            device: ``cpu`` or ``cuda``.

        Raises:
            ConfigError: settings out of domain, or ``out`` holds another run.
        """
        ...


def configured(
    agent: str,
    task: Task,
    preset: LimitedT,
    settings: Mapping[str, str],
    *,
    steps: int | None,
    seeds: Sequence[int],
    device: str,
) -> tuple[LimitedT, int]:
    """Return a preset with its settings changed, and the budget, once they fit task and machine.

    Raises:
        UnknownName: no such setting.
        ConfigError: a budget below 1, a seed out of range, no such device, a setting of a wrong
            type or out of its domain, or a constraint where nothing costs.
    """
    total = task.protocol.training_steps if steps is None else steps
    if total is None:
        raise ConfigError(f"{task.id} has no budget of its own: say --steps N")
    if total < 1:
        raise ConfigError(f"--steps must be at least 1, got {total}")
    for seed in seeds:
        check_seed(seed)
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("no CUDA device is visible to torch; use --device cpu")
    config = with_settings(preset, settings)
    if _name(config.constraint) != "none" and task.cost_limit is None:
        if _name(preset.constraint) == "none":
            raise ConfigError(
                f"constraint={_name(config.constraint)} holds a cost limit and {task.id} has no "
                "cost; leave --set constraint out"
            )
        raise ConfigError(
            f"{agent} holds a cost constraint but {task.id} has no cost; "
            "use an agent without a constraint, such as ppo, happo or hasac"
        )
    return config, total


def _name(constraint: str | Component) -> str:
    return constraint.name if isinstance(constraint, Component) else constraint


class TrainingLog:
    """The training curve: ``training.jsonl``, one line a report, and TensorBoard if installed.

    A resumed run first cuts the lines past its checkpoint, so no step is told twice.
    """

    def __init__(self, folder: Path, keep_until: int | None = None) -> None:
        """Open the log in ``folder``; keep lines up to step ``keep_until`` (None: start anew)."""
        self.path = folder / CURVE
        kept: list[str] = []
        if keep_until is not None and self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["steps"] <= keep_until:
                        kept.append(line)
                except (json.JSONDecodeError, KeyError):
                    break
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._file = self.path.open("a", encoding="utf-8")
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=keep_until)

    def write(self, progress: Progress) -> None:
        """Append one report."""
        line = {"steps": progress.steps, **progress.metrics}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in progress.metrics.items():
                self._board.add_scalar(name, value, progress.steps)

    def close(self) -> None:
        """Flush and close both logs."""
        self._file.close()
        if self._board is not None:
            self._board.close()
