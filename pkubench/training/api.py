"""``pkubench.train``: the session from Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pkubench.agents.saved.runs import claimed, read_curve
from pkubench.errors import ConfigError
from pkubench.evaluation.run.arguments import output_folder, whole_number
from pkubench.tasks.registry import as_task
from pkubench.tasks.task import Task
from pkubench.training.progress import Progress
from pkubench.training.request import request
from pkubench.training.session import run_request
from pkubench.training.validation import validation_for


class Trained(NamedTuple):
    """A finished training."""

    folder: Path
    """The run folder: ``pkubench.load_agent(str(folder))`` acts, and every verb takes it."""
    steps: int
    """How much of the budget is done, in the family's unit."""
    figures: dict[str, float]
    """The last line of the curve."""


def run_folder(agent: str, task: Task, seed: int | None = None) -> Path:
    """Return the default folder of a run; without a seed, the folder of several runs."""
    from pkubench.evaluation.run.harness import folder_name

    name = folder_name(f"{agent}-{task.id.rpartition('/')[2]}")
    return Path("runs") / (name if seed is None else f"{name}-seed{seed}")


def train(
    agent: str,
    task: str | Task,
    *,
    steps: int | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    device: str = "cpu",
    validate: int | None = None,
    validation_episodes: int | None = None,
    window: int | None = None,
    keep: str = "last",
    validate_sampled: bool = False,
    track: str | Sequence[str] = (),
    inputs: Mapping[str, Path | str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train an agent on a task, as ``pkubench train`` does.

    An exception (Ctrl-C, say) leaves a folder that ``resume=True`` finishes.

    Args:
        agent: Name of a preset, such as ``happo``.
        task: A task, or its name.
        steps: Budget: environment steps, or iterations of a game learner; None is the task's own,
            or the learner's.
        seed: Everything random derives from it.
        settings: Changes of the preset's settings, ``{"gamma": 0.95, "hidden": [64, 64]}``.
        out: Run folder; None is ``runs/AGENT-TASK-seedN``.
        resume: Resume the run in ``out``.
        device: ``cpu`` or ``cuda``.
        validate: Points of validation, spread evenly over the budget; None is 20; 0 is none.
        validation_episodes: Episodes of each point; None is 8, or 4 where episodes are long.
        window: Points averaged to rate the weights; None is half of them.
        keep: Which weights are saved: the ``last``, or the ``best`` by validation.
        validate_sampled: Validate with sampled actions too at every point, not only the last one.
        track: In addition to the curve: ``tensorboard``, ``trackio``, ``wandb``; one, or several.
        inputs: Data, teachers or initial weights, by the names that the agent's family declares:
            ``{"data": "pkubench/KeyToDoor/random-v0"}``.
        on_progress: Called with each report.

    Raises:
        ConfigError: an argument is not of its kind.
        PkubenchError: the agent, task or a setting does not exist or does not fit; or the folder
            holds another run, or cannot be used.
    """
    if not isinstance(agent, str):
        raise ConfigError(f"agent must be the name of a preset, got {agent!r:.80}")
    steps, validate = _count("steps", steps), _count("validate", validate)
    validation_episodes = _count("validation_episodes", validation_episodes)
    window, seed = _count("window", window), whole_number("seed", seed)
    chosen = as_task(task)
    asked = request(
        agent,
        chosen,
        {name: _text(value) for name, value in _mapping("settings", settings).items()},
        steps=steps,
        seeds=[seed],
        device=device,
        validation=validation_for(
            chosen,
            points=validate,
            episodes=validation_episodes,
            window=window,
            keep=keep,
            sampled=validate_sampled,
        ),
        track=(track,) if isinstance(track, str) else track,
        inputs={name: str(given) for name, given in _mapping("inputs", inputs).items()},
    )
    folder = output_folder(out) or run_folder(agent, chosen, seed)
    with claimed([folder], resume):
        running = run_request(asked, [folder], resume=resume)
        last = _followed(running, on_progress)
    if last is None:  # it was finished already
        *_, line = read_curve(folder) or [{"steps": asked.total}]
        last = Progress(int(line.pop("steps")), asked.total, line)
    return Trained(folder, last.steps, last.metrics)


def _followed(
    running: Generator[list[Progress], None, None], on_progress: Callable[[Progress], None] | None
) -> Progress | None:
    """Report the progress of a run of one seed to its end; return the last, None without any."""
    last: Progress | None = None
    try:
        for (last,) in running:
            if on_progress is not None:
                on_progress(last)
    finally:
        running.close()
    return last


def _count(name: str, value: Any) -> int | None:
    return None if value is None else whole_number(name, value)


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a mapping by name, got {value!r:.80}")
    return value or {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
