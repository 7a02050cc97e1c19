"""``pkubench train``: an agent on a task, with progress, to a folder from which it can go on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from pkubench.agents.registry import TEAM, Preset, family_of, import_function
from pkubench.agents.registry import preset as preset_named
from pkubench.agents.requirements import num_agents
from pkubench.agents.saved.runs import held, read_curve, read_training
from pkubench.agents.training import Progress, Trainer, configured, with_settings
from pkubench.cli.interrupt import GentleStop, Interrupted, this_command
from pkubench.cli.names import command, short, spelling, task_named
from pkubench.cli.options import (
    SEED,
    Json,
    MaxHistories,
    Out,
    Quiet,
    TaskName,
    complete_agents,
    count,
    set_max_histories,
    verb_app,
)
from pkubench.cli.output import Output, facts, number
from pkubench.cli.presets import check_trains
from pkubench.cli.progress import Meter
from pkubench.envs.core.seeding import check_seed
from pkubench.errors import ConfigError, UnknownName, counted
from pkubench.tasks.task import Task

app = verb_app()

MOST_SEEDS = 1000
"""Of one command."""


@app.command()
def train(
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT",
            help="A learner of `pkubench list`, such as happo.",
            autocompletion=complete_agents,
        ),
    ],
    task: TaskName,
    steps: Annotated[
        int | None,
        count(
            "--steps",
            1,
            "Environment steps, such as 1e5, or iterations of a game learner; if left, the task's "
            "own budget or the learner's own number.",
        ),
    ] = None,
    seed: Annotated[int | None, SEED] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="A-B", help="Several seeds one after another: 0-4, 1,5,7."),
    ] = None,
    together: Annotated[
        bool,
        typer.Option("--together", help="Off-policy: the seeds side by side in one process."),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; see `pkubench show`."),
    ] = None,
    out: Out = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder.")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", metavar="cpu|cuda", help="Where to compute.")
    ] = "cpu",
    max_histories: MaxHistories = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train an agent on a task.

    Leaves config.json, weights.safetensors and training.jsonl (the curve) in the run folder;
    training.json there says from the first step on what is trained.
    Ctrl-C stops after the update that is running; --resume then goes on to exactly the weights
    an uninterrupted run would have had.
    """
    set_max_histories(max_histories)
    spec, chosen = preset_named(agent), task_named(task)
    check_trains(spec, chosen)
    if together and family_of(spec).batch is None:
        raise ConfigError(f"{spec.name} trains one seed at a time: leave --together out")
    if seed is not None and seeds is not None:
        raise ConfigError("--seed and --seeds both say which seeds; give one")
    changes = _settings(settings or [])
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"no device {device!r}; choose cpu or cuda")
    numbers = [seed or 0] if seeds is None else _seeds(seeds)
    folders = _folders(agent, chosen, numbers, out, is_many=seeds is not None)
    config = _configured(spec, chosen, changes, steps, numbers, device)
    remarks = () if quiet else tuple(_remarks(spec, chosen, changes, steps, numbers, config))
    is_played = chosen.scoring.is_played
    with (
        Output(json=json, quiet=quiet) as output,
        _claimed(folders, resume, is_many=seeds is not None),
    ):
        for remark in remarks:
            output.note(remark)
        runs: list[dict[str, Any]] = []
        for job in (
            [list(zip(numbers, folders, strict=True))]
            if together
            else [[pair] for pair in zip(numbers, folders, strict=True)]
        ):
            began = time.monotonic()
            reports: list[Progress] = []
            progress = _start(
                spec,
                chosen,
                job,
                reports,
                steps=steps,
                settings=changes,
                resume=resume and all([_is_begun(folder, output) for _, folder in job]),
                device=device,
            )
            title = f"{agent} {short(chosen.id)} seed {', '.join(str(n) for n, _ in job)}"
            unit = "iteration" if family_of(spec).unit == "iterations" else "step"
            _follow(progress, title, job[0][1].parent if together else job[0][1], unit, quiet)
            for k, (run_seed, folder) in enumerate(job):
                last = reports[k] if reports else _last_report(folder)
                runs.append(
                    {
                        "agent": agent,
                        "task": chosen.id,
                        "seed": run_seed,
                        "steps": last.steps if last else None,
                        "seconds": round(time.monotonic() - began, 3),
                        "metrics": last.metrics if last else {},
                        "out": str(folder),
                    }
                )
                if not reports:
                    output.note(f"{folder} is finished: there was nothing left to train")
                elif not quiet:
                    if last is not None and last.ended:
                        output.note(f"ended {last.ended} after {counted(f'{last.steps:,}', unit)}")
                    output.show(_card(runs[-1], unit))
                    if is_played and runs[-1]["metrics"].get("return") is None:
                        output.note(_no_episode(chosen, last.steps if last else steps))
        if json:
            output.document({"runs": runs})
        parent = folders[0] if seeds is None else folders[0].parent
        commands = [command("evaluate", spelling(parent), short(chosen.id))]
        if not is_played or any(run["metrics"].get("return") is not None for run in runs):
            commands.append(command("plot", parent))
        output.next(*commands)


def _is_limit(text: str) -> bool:
    """Return whether a text is a limit that training accepts; others it refuses itself."""
    try:
        return float(text) >= 0.0
    except ValueError:
        return False


def _remarks(
    spec: Preset,
    task: Task,
    changes: dict[str, str],
    steps: int | None,
    seeds: list[int],
    config: Any,
) -> Iterator[str]:
    """Yield what is legal but seldom meant."""
    from pkubench.agents.acting import idle

    if family_of(spec).unit == "iterations":
        if len(seeds) > 1 and not getattr(spec.config(task), "is_random", True):
            yield f"note: {spec.name} draws nothing: these {len(seeds)} runs will be the same"
        if steps is not None and "iterations" in changes:
            yield f"note: --steps {steps} is how many iterations are done, whatever is --set"
    at_once = getattr(config, "batch_steps", getattr(config, "interval_steps", 1))
    if steps is not None and steps < at_once:
        stride = counted(f"{at_once:,}", "step")
        yield f"note: it trains {stride} at a time, so --steps {steps} trains as many"
    for name, beside in idle(config, changes):
        yield f"note: {name} changes nothing here: it acts with {beside}"
    if task.cost_limit is not None:
        constraint = changes.get("constraint", spec.config(task).constraint)
        held = changes.get("cost_limit", number(task.cost_limit))
        if held != number(task.cost_limit) and _is_limit(held):
            yield (
                f"note: training holds a cost of {held}; {short(task.id)} scores, "
                f"and counts the cost of training, at its own limit of {number(task.cost_limit)}"
            )
        if constraint == "none":
            yield (
                f"note: {spec.name} does not look at the cost, which {short(task.id)} limits to "
                f"{number(task.cost_limit)}"
            )
    if TEAM in spec.tags and num_agents(task) == 1:
        yield f"note: {short(task.id)} has one agent: there is no team for {spec.name} to train"


def _configured(
    spec: Preset,
    task: Task,
    changes: dict[str, str],
    steps: int | None,
    seeds: list[int],
    device: str,
) -> Any:
    """Return the settings of a learner of this package, checked; None of another's."""
    if family_of(spec).configure is None:
        return None
    preset = spec.config(task)
    try:
        if family_of(spec).unit == "iterations":
            return with_settings(preset, changes)
        return configured(
            spec.name, task, preset, changes, steps=steps, seeds=seeds, device=device
        )[0]
    except UnknownName as error:
        guess = f"; did you mean {error.nearest!r}?" if error.nearest else ";"
        hint = f"`pkubench show {spec.name}` lists all"
        raise ConfigError(f"{spec.name} has no setting {error.name!r}{guess} {hint}") from error


def _no_episode(task: Task, steps: int | None) -> str:
    """Return why a finished training has no return to show."""
    horizon = task.protocol.horizon
    return (
        f"note: no episode ended in {number(steps)} steps, so no return was measured: the steps "
        f"are shared by copies of the world (num_envs), and an episode lasts up to {horizon:,} of "
        "each; train longer, or with fewer copies"
    )


def _start(
    spec: Preset,
    task: Task,
    job: list[tuple[int, Path]],
    reports: list[Progress],
    **options: Any,
) -> Iterator[Progress]:
    """Train one seed, or several side by side; keep the latest report of each in ``reports``."""
    progress: Any
    if len(job) > 1:
        seeds, outs = [seed for seed, _ in job], [folder for _, folder in job]
        several = import_function(_trainer(spec, "train_together"))
        progress = several(spec.name, task, seeds=seeds, outs=outs, **options)
    else:
        trainer = cast(Trainer, import_function(_trainer(spec, "train")))
        progress = trainer(spec.name, task, seed=job[0][0], out=job[0][1], **options)
    try:
        for latest in progress:
            reports[:] = latest if len(job) > 1 else [latest]
            yield reports[0]
    finally:
        # the checkpoint is written by the trainer's own ``finally``
        if hasattr(progress, "close"):
            progress.close()


def _trainer(spec: Preset, name: str) -> str:
    """Return where a family's package trains."""
    family = family_of(spec)
    return f"{str(family.configure or family.learner).rpartition('.')[0]}:{name}"


def _settings(pairs: list[str]) -> dict[str, str]:
    changes: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise ConfigError(f"--set {pair!r} is not KEY=VALUE, as in --set gamma=0.99")
        if name in changes:
            raise ConfigError(f"--set {name} is given twice")
        changes[name] = value
    return changes


def _seeds(text: str) -> list[int]:
    """Read ``0-4`` or ``0,2,7-9``."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise ConfigError(f"--seeds {text!r} is not a list of seeds like 0-4 or 1,5,7")
        low = int(match[1])
        high = low if match[2] is None else int(match[2])
        check_seed(high)
        if high - low >= MOST_SEEDS:
            raise ConfigError(f"--seeds {part} are more than {MOST_SEEDS:,} seeds")
        seeds.extend(range(low, high + 1))
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"--seeds {text!r} names no seed, or one twice")
    return seeds


def _folders(
    agent: str, task: Task, seeds: list[int], out: Path | None, *, is_many: bool
) -> list[Path]:
    from pkubench.evaluation.run.harness import folder_name

    name = folder_name(f"{agent}-{task.id.rpartition('/')[2]}")
    if is_many:
        parent = out or Path("runs") / name
        return [parent / f"seed{seed}" for seed in seeds]
    return [out or Path("runs") / f"{name}-seed{seeds[0]}"]


@contextmanager
def _claimed(folders: list[Path], resume: bool, *, is_many: bool) -> Iterator[None]:
    """Hold the folders of all runs of this command; refuse what must not be written to.

    Raises:
        ConfigError: A folder is a file; it holds something and ``resume`` is not set; or it is
            the only one, holds nothing, and ``resume`` is set.
        StorageError: Another process trains into one of them, or one cannot be made.
    """
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file; --out names the folder of a run")
        if resume and not is_many and not _holds_something(folder):
            raise ConfigError(f"there is no run to resume in {folder}; leave --resume out")
    with held(folders):
        # only now: while another process trains, that is what a user should read
        for folder in folders:
            if _holds_something(folder) and not resume:
                raise ConfigError(
                    f"{folder} holds something already; --resume continues the run, "
                    "--out writes elsewhere"
                )
        yield


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _is_begun(folder: Path, output: Output) -> bool:
    """Return whether there is something in ``folder`` for the trainer to go on with."""
    run = read_training(folder)
    if run is not None and not run.is_finished and not any(folder.glob("checkpoint*")):
        output.note(f"{folder} was stopped before its first checkpoint: it starts anew")
    return _holds_something(folder)


def _last_report(folder: Path) -> Progress | None:
    curve = read_curve(folder)
    if not curve:
        return None
    steps = curve[-1].pop("steps")
    return Progress(steps, steps, curve[-1])


def _follow(
    progress: Iterator[Progress], title: str, folder: Path, unit: str, quiet: bool
) -> Progress | None:
    """Run the training to its end; on a signal close it where it can go on."""
    last: Progress | None = None
    stop = GentleStop("stopping after this update; once more stops at once")
    with stop:
        try:
            with Meter(title, quiet=quiet, unit=f"{unit}s") as meter:
                for last in progress:
                    total = last.steps if last.ended else last.total_steps
                    meter.update(last.steps, total, _shown(last.metrics))
                    if stop.wanted and not last.is_last:
                        break
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped at once; to go on from the last checkpoint in {folder}, if there is "
                f"one: {this_command(add='--resume')}",
                stop.exit_code,
            ) from None
        finally:
            # A generator's close runs its ``finally``: this is where the checkpoint is written.
            close = getattr(progress, "close", None)
            if close is not None:
                close()
    if stop.wanted and last is not None and not last.is_last:
        raise Interrupted(
            f"stopped at {unit} {last.steps:,} of {last.total_steps:,}, saved in {folder}; "
            f"to go on: {this_command(add='--resume')}",
            stop.exit_code,
        )
    return last


def _shown(metrics: dict[str, float]) -> dict[str, float]:
    """Choose the numbers worth a place in the bar."""
    wanted = {
        "return": "return",
        "cost": "cost",
        "exploitability": "exploitability",
        "nash_conv": "NashConv",
        "steps_per_second": "steps/s",
    }
    return {label: metrics[name] for name, label in wanted.items() if name in metrics}


_SPENT = {"seconds": "seconds of learning", "scoring_seconds": "seconds of scoring"}
"""How a card calls parts of the time that the command took, which is its ``seconds``."""


def _card(run: dict[str, Any], unit: str) -> Any:
    values = {_SPENT.get(name, name): number(value) for name, value in run["metrics"].items()}
    return facts(
        [
            ("agent", run["agent"]),
            ("task", run["task"]),
            ("seed", str(run["seed"])),
            (f"{unit}s", number(run["steps"])),
            ("seconds", f"{run['seconds']:.1f}"),
            *((name, value) for name, value in values.items()),
            ("saved in", run["out"]),
        ]
    )
