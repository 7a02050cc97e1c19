"""``pkubench train``: an agent on a task, with progress, to a folder from which it can resume."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pkubench.agents.registry import family_of, preset
from pkubench.agents.saved.runs import (
    claimed,
    has_checkpoint,
    is_nonempty,
    read_curve,
    read_training,
    training_folders,
)
from pkubench.cli.cluster import train_on_cluster
from pkubench.cli.interrupt import GentleStop, Interrupted, this_command
from pkubench.cli.names import command, short, spelling, task_named
from pkubench.cli.options import (
    SEED,
    BackendName,
    CostKey,
    CostLimit,
    CostMissing,
    Json,
    MaxHistories,
    Out,
    Quiet,
    check_backend,
    complete_agents,
    complete_tasks,
    count,
    name_with_costs,
    seeds_of,
    set_max_histories,
    verb_app,
)
from pkubench.cli.output import Output
from pkubench.cli.presets import check_trains
from pkubench.cli.progress import Meter
from pkubench.cli.training_notes import card, has_return, no_episode, notes, shown
from pkubench.errors import ConfigError, UnknownName, counted
from pkubench.training.api import run_folder
from pkubench.training.progress import Progress
from pkubench.training.request import Request, request
from pkubench.training.session import run_request
from pkubench.training.validation import validation_for

app = verb_app()

_UNITS = {"iterations": "iteration", "gradient_steps": "gradient step"}


@app.command()
def train(
    agent: Annotated[
        str | None,
        typer.Argument(
            metavar="AGENT",
            help="A learner of `pkubench list`, such as happo.",
            autocompletion=complete_agents,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK",
            help="A task of `pkubench list`; the part before the slash may be left out.",
            autocompletion=complete_tasks,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        count(
            "--steps",
            1,
            "Environment steps, such as 1e5; gradient steps of an offline learner, iterations of a "
            "game learner; default: the task's budget, or the learner's own number.",
        ),
    ] = None,
    seed: Annotated[int | None, SEED] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="A-B", help="Several seeds one after another: 0-4, 1,5,7."),
    ] = None,
    batch_seeds: Annotated[
        bool,
        typer.Option(
            "--batch-seeds", help="Off-policy: train the seeds in parallel in one process."
        ),
    ] = False,
    together: Annotated[bool, typer.Option("--together", hidden=True)] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; see `pkubench show`."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=PATH", help="Data or weights to train from."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="ID|PATH", help="Data set to learn from, of Minari's kind."),
    ] = None,
    out: Out = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume the run in its folder; --out FOLDER alone is enough to name it.",
        ),
    ] = False,
    validate: Annotated[
        int | None,
        count("--validate", 0, "Validation points; default 20; 0: none."),
    ] = None,
    validation_episodes: Annotated[
        int | None,
        count(
            "--validation-episodes", 1, "Episodes per validation point; default 8, or 4 if long."
        ),
    ] = None,
    window: Annotated[
        int | None,
        count("--window", 1, "Points averaged to rate the weights; default: half of them."),
    ] = None,
    keep: Annotated[
        str,
        typer.Option("--keep", metavar="last|best", help="Which weights are saved."),
    ] = "last",
    validate_sampled: Annotated[
        bool,
        typer.Option(
            "--validate-sampled",
            help="Validate with sampled actions too at every point; default: at the last one.",
        ),
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track", metavar="TRACKER", help="Also log to tensorboard, trackio or wandb."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="cpu|cuda", help="Where to compute.")
    ] = "cpu",
    backend: BackendName = "local",
    max_histories: MaxHistories = None,
    cost_key: CostKey = None,
    cost_limit: CostLimit = None,
    cost_missing: CostMissing = "error",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train an agent on a task.

    Leaves config.json, weights.safetensors and training.jsonl (the curve) in the run folder;
    training.json there records what is trained, from the first step on. Ctrl-C stops after the
    update that is running; --resume then continues to exactly the weights an uninterrupted run
    would have had.
    """
    set_max_histories(max_histories)
    if agent is None or task is None:
        _resume_alone(agent, out, resume, json=json, quiet=quiet)
        return
    chosen = task_named(name_with_costs(task, cost_key, cost_limit, cost_missing))
    family = family_of(preset(agent))
    check_trains(preset(agent), chosen)
    is_batch = batch_seeds or together
    if is_batch and family.batch is None:
        raise ConfigError(f"{agent} trains one seed at a time: leave --batch-seeds out")
    if seed is not None and seeds is not None:
        raise ConfigError("--seed and --seeds both say which seeds; give one")
    changes = _pairs("--set", settings or [], "gamma=0.99")
    numbers = [seed or 0] if seeds is None else seeds_of(seeds)
    folders = _folders(
        run_folder(agent, chosen, None if seeds else numbers[0]), out, numbers, seeds
    )
    try:
        asked = request(
            agent,
            chosen,
            changes,
            steps=steps,
            seeds=numbers if is_batch else numbers[:1],
            device=device,
            validation=validation_for(
                chosen,
                points=validate,
                episodes=validation_episodes,
                window=window,
                keep=keep,
                sampled=validate_sampled,
            ),
            track=track or (),
            inputs=_pairs("--input", _with_data(inputs or [], data), "teacher=RUN"),
        )
    except UnknownName as error:
        if error.kind != "setting":
            raise
        guess = f"; did you mean {error.nearest!r}?" if error.nearest else ";"
        hint = f"`pkubench show {agent}` lists all"
        raise ConfigError(f"{agent} has no setting {error.name!r}{guess} {hint}") from error
    if check_backend(backend) == "ray":
        train_on_cluster(folders, numbers, is_batch=is_batch, json=json, quiet=quiet)
        return
    said = () if quiet else tuple(notes(asked, steps, len(numbers)))
    with (
        Output(json=json, quiet=quiet) as output,
        claimed(folders, resume, is_many=seeds is not None),
    ):
        if together:
            output.note("note: --together is called --batch-seeds now")
        for note in said:
            output.note(note)
        pairs = list(zip(numbers, folders, strict=True))
        jobs = [pairs] if is_batch else [[pair] for pair in pairs]
        runs = [
            run
            for job in jobs
            for run in _train(asked, job, resume, output, json=json, quiet=quiet)
        ]
        if json:
            output.document({"runs": runs})
        parent = folders[0] if seeds is None else folders[0].parent
        commands = [command("evaluate", spelling(parent), short(chosen.id))]
        if any(has_return(chosen, run["metrics"]) for run in runs):
            commands.append(command("plot", parent))
        output.next(*commands)


def _train(
    asked: Request,
    job: Sequence[tuple[int, Path]],
    resume: bool,
    output: Output,
    *,
    json: bool,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Train one seed, or several in parallel; print a card and return what ``--json`` has."""
    began = time.monotonic()
    asked = dataclasses.replace(asked, seeds=tuple(seed for seed, _ in job))
    outs = [folder for _, folder in job]
    unit = _UNITS.get(asked.family.unit, "step")
    is_resumed = resume and all([_is_begun(folder, output) for folder in outs])
    title = f"{asked.agent} {short(asked.task.id)} seed {', '.join(map(str, asked.seeds))}"
    progress = run_request(asked, outs, resume=is_resumed)
    reports = _follow(progress, title, outs[0].parent if len(outs) > 1 else outs[0], unit, quiet)
    runs = []
    for k, (seed, folder) in enumerate(job):
        last = reports[k] if reports else _last_report(folder)
        runs.append(
            {
                "agent": asked.agent,
                "task": asked.task.id,
                "seed": seed,
                "steps": last.steps if last else None,
                "seconds": round(time.monotonic() - began, 3),
                "metrics": last.metrics if last else {},
                "out": str(folder),
            }
        )
        if not reports:
            output.note(f"{folder} is finished: nothing was left to train")
        elif not quiet and last is not None:
            if last.ended:
                output.note(f"ended {last.ended} after {counted(f'{last.steps:,}', unit)}")
            output.show(card(runs[-1], unit))
            if unit == "step" and not has_return(asked.task, last.metrics):
                output.note(no_episode(asked.task, last.steps))
    return runs


def _resume_alone(
    agent: str | None, out: Path | None, resume: bool, *, json: bool, quiet: bool
) -> None:
    """Resume the run in a folder, by the command that started it.

    Raises:
        ConfigError: There is nothing to resume, or more than one run.
    """
    if not resume or out is None or agent is not None:
        raise ConfigError(
            "name an AGENT and a TASK, as in `pkubench train happo SimpleSpread-v0`; or a run to "
            "resume: `pkubench train --resume --out FOLDER`"
        )
    found = [run for folder in training_folders(out) if (run := read_training(folder))]
    commands = {run.command for run in found}
    if not found or None in commands:
        raise ConfigError(f"{out} holds no run that records which command started it")
    if len(commands) > 1 or (
        found[0].folder != out and "--batch-seeds" not in str(found[0].command)
    ):
        raise ConfigError(f"{out} holds several runs: name one of them, such as {found[0].folder}")
    words = shlex.split(str(found[0].command))[2:]
    words += ["--out", str(out), "--resume", *(["--json"] * json), *(["--quiet"] * quiet)]
    typer.main.get_command(app).main(words, prog_name="pkubench train", standalone_mode=False)


def _pairs(flag: str, words: Sequence[str], example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise ConfigError(f"{flag} {word!r} is not KEY=VALUE, as in {flag} {example}")
        if name in pairs:
            raise ConfigError(f"{flag} {name} is given twice")
        pairs[name] = value
    return pairs


def _with_data(inputs: Sequence[str], data: str | None) -> list[str]:
    """Return the inputs, with ``--data X`` as the ``--input data=X`` that it stands for."""
    return [*inputs, *([] if data is None else [f"data={data}"])]


def _folders(usual: Path, out: Path | None, seeds: Sequence[int], many: str | None) -> list[Path]:
    parent = out or usual
    return [parent] if many is None else [parent / f"seed{seed}" for seed in seeds]


def _is_begun(folder: Path, output: Output) -> bool:
    """Return whether there is something in ``folder`` for the session to resume."""
    run = read_training(folder)
    if run is not None and not run.is_finished and not has_checkpoint(folder):
        output.note(f"{folder} was stopped before its first checkpoint: it starts from scratch")
    return is_nonempty(folder)


def _last_report(folder: Path) -> Progress | None:
    curve = read_curve(folder)
    if not curve:
        return None
    steps = curve[-1].pop("steps")
    return Progress(steps, steps, curve[-1])


def _follow(
    progress: Iterator[list[Progress]], title: str, folder: Path, unit: str, quiet: bool
) -> list[Progress]:
    """Run the training to its end; on a signal stop it where it can be resumed."""
    reports: list[Progress] = []
    stop = GentleStop("stopping after this update; press again to stop immediately")
    with stop:
        try:
            with Meter(title, quiet=quiet, unit=f"{unit}s") as meter:
                for reports in progress:
                    last = reports[0]
                    total = last.steps if last.ended else last.total_steps
                    named = f"{title} {last.stage}" if last.stage else title
                    meter.update(last.steps, total, shown(last.metrics), title=named)
                    if stop.wanted and _is_resumable(last):
                        break
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped immediately; to resume from the last checkpoint in {folder}, if there is "
                f"one: {this_command(add='--resume')}",
                stop.exit_code,
            ) from None
        finally:
            # Closing a generator runs its ``finally``: this is where the checkpoint is written.
            progress.close()  # type: ignore[attr-defined]
    if stop.wanted and reports and _is_resumable(reports[0]):
        last = reports[0]
        raise Interrupted(
            f"stopped at {unit} {last.steps:,} of {last.total_steps:,}, saved in {folder}; "
            f"to resume: {this_command(add='--resume')}",
            stop.exit_code,
        )
    return reports


def _is_resumable(report: Progress) -> bool:
    """Return whether stopping after a report leaves something to resume."""
    return not report.is_last or bool(report.stage)
