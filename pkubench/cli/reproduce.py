"""``pkubench reproduce``: the command behind a shipped agent, a reference score or a run."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from pkubench.agents.registry import presets
from pkubench.agents.saved.runs import read_training, training_folders
from pkubench.cli.names import (
    command,
    present,
    present_with_notice,
    shipped_seeds,
    shipped_tasks,
    short,
    task_named,
)
from pkubench.cli.options import (
    Json,
    Quiet,
    complete_agents,
    complete_tasks,
    verb_app,
)
from pkubench.cli.output import Column, Output
from pkubench.envs.core.registry import unknown_id
from pkubench.errors import AgentError, ConfigError, RefusedError, StorageError
from pkubench.tasks.registry import tasks
from pkubench.tasks.task import Task

app = verb_app()

VERBS = ("train", "evaluate")
"""What a stored command may do when it is run."""
WEIGHTS = "weights.safetensors"


class Source(NamedTuple):
    """Something that was measured or trained, and the command that did it."""

    what: str
    command: str
    folder: Path | None
    """The run that the command made."""


def _complete(incomplete: str) -> list[str]:
    return complete_agents(incomplete) + complete_tasks(incomplete)


@app.command()
def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            metavar="AGENT|TASK|RUN|TABLE",
            help="A shipped agent, a task (its reference scores and agents), a run folder, or in "
            "a checkout a table of docs/results.",
            autocompletion=_complete,
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option("--task", help="Of an agent, only this task.", autocompletion=complete_tasks),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of an agent, only this seed.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Run the commands too.")] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where --run writes its runs.")
    ] = Path("reproduced"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the commands that made something, one per line; with --run, run them again.

    A training that is run again is compared with the shipped weights byte for byte. Another
    processor or other versions may differ in the last bits, which training magnifies: then
    `pkubench compare` shows whether the scores agree.
    """
    name = present_with_notice(name)
    sources = list(_sources(name, None if task is None else task_named(task), seed))
    if not sources:
        narrowed = " with this --task and --seed" if (task, seed) != (None, None) else ""
        raise ConfigError(f"nothing is shipped for {name}{narrowed} that has a command")
    with Output(json=json, quiet=quiet) as output:
        if not run:
            if json:
                commands = [{"what": s.what, "command": s.command} for s in sources]
                output.document({"commands": commands})
                return
            for source in sources:
                output.show(source.command)
            chosen = [] if task is None else ["--task", task]
            chosen += [] if seed is None else ["--seed", str(seed)]
            output.next(command("reproduce", name, *chosen, "--run"))
            return
        found = [_again(source, out, quiet, output) for source in sources]
        if json:
            documents = [
                {"what": source.what, "command": source.command, "result": result}
                for source, result in zip(sources, found, strict=True)
            ]
            output.document({"commands": documents})
            return
        columns = (Column("what", style="bold"), Column("result", wraps=True))
        rows = [(source.what, result) for source, result in zip(sources, found, strict=True)]
        output.show(output.table("", columns, rows))


def _sources(name: str, task: Task | None, seed: int | None) -> Iterator[Source]:
    agent, _, at = name.partition("@")
    if at and agent in presets():
        number = at.removeprefix("seed")
        if not number.isdecimal() or seed not in (None, int(number)):
            raise ConfigError(f"{name} does not name one seed; reproduce {agent} --seed N does")
        name, seed = agent, int(number)
    if name in presets():
        ids = [task.id] if task is not None else shipped_tasks(name)
        for task_id in ids:
            for folder in shipped_seeds(name, task_id):
                if seed is None or folder.name == f"seed{seed}":
                    yield _of_run(folder, f"{name} {short(task_id)} {folder.name}")
        return
    folders = training_folders(Path(name))
    if folders:
        yield from (_of_run(folder, str(folder)) for folder in folders)
        return
    if Path(f"benchmarks/results/{name}.py").is_file():  # in a checkout
        yield Source(f"table {name}", f"make results-{name}", None)
        return
    known = {known.id for known in tasks()}
    if name not in known | {task_id.partition("/")[2] for task_id in known}:
        raise unknown_id("agent, task or run", name, known | presets().keys())
    chosen = task_named(name)
    for anchor, reference in chosen.references.items():
        if not reference.command.startswith("pkubench "):
            continue  # it is known without measuring
        yield Source(f"{anchor} score of {short(chosen.id)}", reference.command, None)
    for agent in presets():
        for folder in shipped_seeds(agent, chosen.id):
            if seed is None or folder.name == f"seed{seed}":
                yield _of_run(folder, f"{agent} {short(chosen.id)} {folder.name}")


def _of_run(folder: Path, what: str) -> Source:
    run = read_training(folder)
    if run is not None and not run.is_finished:
        raise ConfigError(run.unfinished)
    if run is None or run.command is None:
        raise StorageError(f"{folder} does not hold the command that made it")
    words = map(present, shlex.split(run.command))  # the run may be of before a new version
    return Source(what, shlex.join(words), folder)


def _again(source: Source, out: Path, quiet: bool, output: Output) -> str:
    """Run a command in this process and say how its result compares."""
    from pkubench.cli.main import main

    words = shlex.split(source.command)
    if words[:1] != ["pkubench"] or words[1:2] not in ([verb] for verb in VERBS):
        raise RefusedError(
            f"{source.command!r} is not one of pkubench's own trainings or evaluations; it is "
            "only run by hand"
        )
    words = words[1:]
    folder = None
    if words[0] == "train":
        folder = out / source.what.replace(" ", "-").replace("/", "-")
        words = [*_without_out(words), "--out", str(folder)]
    output.note(shlex.join(["pkubench", *words]))
    code = main([*words, *(["--quiet"] if quiet else [])])
    if code:
        error = AgentError(f"{source.what} was not reproduced: its command ended with {code}")
        error.exit_code = code
        raise error
    if folder is None or source.folder is None:
        return "done"
    if _digest(folder) == _digest(source.folder):
        return "the same weights, byte for byte"
    return (
        f"other weights, in {folder}; `pkubench compare {source.folder} {folder}` compares scores"
    )


def _without_out(words: list[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if not skip and word != "--out" and not word.startswith("--out="):
            kept.append(word)
        skip = word == "--out"
    return kept


def _digest(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {folder / WEIGHTS}: {error.strerror or error}") from error
