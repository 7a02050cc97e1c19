"""``pkubench verify``: are results, or a bundle, what they say?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from pkubench.cli.interrupt import sigterm_as_interrupt
from pkubench.cli.names import command, short
from pkubench.cli.options import (
    Json,
    Quiet,
    Trust,
    Workers,
    count,
    verb_app,
)
from pkubench.cli.output import Column, Output
from pkubench.cli.results import find_folders
from pkubench.errors import (
    AgentError,
    ConfigError,
    MissingExtra,
    PkubenchError,
    RecordError,
    UnknownName,
    counted,
)
from pkubench.evaluation.report import read_settings, run_folders
from pkubench.evaluation.run.sources import AgentSource
from pkubench.tasks.registry import make_task, why_outdated
from pkubench.tasks.task import Task

app = verb_app()

_MARKS = {True: ("ok", "green"), False: ("wrong", "red"), None: ("not rerun", "yellow")}
"""``ok`` of a row -> its mark and style; None where lines agree but --rerun found no agent."""
_UNCHECKED = ("not checked", "yellow")
"""Mark and style of a row whose task is not registered."""


class _Entry(NamedTuple):
    """One ``OUT/AGENT/TASK`` whose task is known."""

    folder: Path
    agent: str
    label: str
    """Where the agent came from when it was evaluated, as ``run.json`` says."""
    runs: tuple[str, ...]
    task: Task


@app.command()
def verify(
    path: Annotated[
        Path,
        typer.Argument(metavar="RESULTS|FILE.zip", help="Results of `evaluate`, or a bundle."),
    ],
    rerun: Annotated[
        int,
        count("--rerun", 0, "Play N episodes of each run again (blocks of 16, at random)."),
    ] = 0,
    agent: Annotated[
        str | None,
        typer.Option("--agent", help="The agent to run again, if not the recorded one."),
    ] = None,
    workers: Workers = 1,
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check that reports follow from the episode lines, and the lines from seeds and agents.

    Exit code 1 if something does not agree. An entry whose agent is not found is checked by its
    lines only, and marked `not rerun`; exit code 2 if no agent is found, or if a task is not
    registered, whose entries cannot be checked at all.
    """
    if agent is not None and not rerun:
        raise ConfigError("--agent names the agent to run again: add --rerun N")
    with Output(json=json, quiet=quiet) as output, sigterm_as_interrupt():
        if path.suffix == ".zip":
            rows = _bundle_rows(path, rerun > 0, workers, output)
        else:
            rows = _result_rows(path, rerun, agent, workers, trust, output)
        ok = all(row["ok"] is not False for row in rows)
        is_complete = all("unchecked" not in row for row in rows)
        if json:
            output.document({"ok": ok and is_complete, "checked": rows})
        else:
            columns = (
                Column("task", style="bold"),
                Column("agent"),
                Column(""),
                Column("found", wraps=True),
            )
            table = []
            for row in rows:
                mark = Text(*(_UNCHECKED if "unchecked" in row else _MARKS[row["ok"]]))
                table.append((short(row["task"]), row["agent"], mark, "\n".join(row["found"])))
            output.show("", output.table("", columns, table), "")
            if ok and not rerun:
                output.next(command("verify", path, "--rerun", 16))
    if not (ok and is_complete):
        raise typer.Exit(2 if ok else 1)


def _bundle_rows(path: Path, rerun: bool, workers: int, output: Output) -> list[dict[str, Any]]:
    from pkubench.leaderboard import read_bundle, verify_bundle

    bundle = read_bundle(path)  # raises on anything that does not agree
    rows = []
    verification = None
    if rerun:
        verification = verify_bundle(bundle, workers=workers, progress=output.note)
    for task in bundle.tasks:
        episodes = sum(len(run.records) for run in task.runs)
        row = {
            "task": task.task.id,
            "agent": bundle.manifest.name,
            "ok": True,
            "found": [f"{counted(episodes, 'episode')}: report, records and weights agree"],
        }
        if verification is not None:
            verdict = verification.verdict(task.task.id)
            row["ok"] = not verdict.is_contradicted
            row["found"] = [f"{verdict.tier.value}: {verdict.reason}"]
        rows.append(row)
    return rows


def _result_rows(
    path: Path, rerun: int, agent: str | None, workers: int, trust: bool, output: Output
) -> list[dict[str, Any]]:
    folders = list(find_folders([path]))
    if not folders:
        raise RecordError(f"{path} holds no records; give what `pkubench evaluate --out` wrote")
    rows: list[dict[str, Any]] = []
    entries: dict[int, _Entry] = {}
    unknown: list[ConfigError | UnknownName] = []
    for number, folder in enumerate(folders):
        # Until it has been read, agent and task are known only from its path, OUT/AGENT/TASK.
        row = {"task": folder.name, "agent": folder.parent.name, "folder": str(folder), "ok": False}
        rows.append(row)
        try:
            entry = entries[number] = _entry(folder)
        except RecordError as error:
            row["found"] = [str(error)]
        except (ConfigError, UnknownName) as error:  # the module of its task is not imported
            row |= {"ok": None, "unchecked": True, "found": [f"cannot be checked: {error}"]}
            unknown.append(error)
        else:
            row |= {"task": entry.task.id, "agent": entry.agent}
    if len(unknown) == len(rows):
        raise ConfigError(f"cannot check {path}: {unknown[0]}")
    given = _given(agent, list(entries.values()), trust)
    lost: list[PkubenchError] = []
    for number, entry in entries.items():
        source = None
        if rerun:
            try:
                source = given.get(entry.folder) or _source(entry, trust)
                output.note(f"running {entry.agent} on {short(entry.task.id)} again")
                rows[number] |= _checked(entry, source, rerun, workers)
                continue
            except (AgentError, MissingExtra) as error:
                if entry.folder in given:
                    raise
                lost.append(error)
        rows[number] |= _checked(entry, None, 0, workers)
        if rerun and rows[number]["ok"]:
            rows[number] |= {
                "ok": None,
                "found": [*rows[number]["found"], f"not rerun: {lost[-1]}"],
            }
    if lost and all(row["ok"] is None for row in rows):
        raise lost[0]
    return rows


def _entry(folder: Path) -> _Entry:
    settings = [read_settings(run) for run in run_folders(folder)]
    first, runs = settings[0], tuple(run["run"] for run in settings)
    outdated = why_outdated(first["task"])
    if outdated is not None:
        raise RecordError(outdated)
    return _Entry(folder, first["agent"], first["label"], runs, make_task(first["task"]))


def _checked(entry: _Entry, source: AgentSource | None, rerun: int, workers: int) -> dict[str, Any]:
    """Return ``ok`` and ``found`` of an entry."""
    from pkubench.evaluation.run.verification import verify

    try:
        found = verify(entry.folder, task=entry.task, agent=source, episodes=rerun, workers=workers)
    except RecordError as error:
        return {"ok": False, "found": [str(error)]}
    episodes = found.report.episodes * len(found.report.runs)
    good = [f"{counted(episodes, 'episode')}: report and lines agree"]
    if found.replayed:
        good += [found.how, _escape(found.escape)]
    return {"ok": found.passed, "found": list(found.problems) or good}


def _escape(chance: float) -> str:
    """Say how likely an altered episode is missed by the blocks that were drawn."""
    if chance == 0.0:
        return "every episode was played again"
    return f"the probability that blocks drawn like this miss one altered episode is {chance:.0%}"


def _given(agent: str | None, entries: list[_Entry], trust: bool) -> dict[Path, AgentSource]:
    """Return the agent of ``--agent`` for each entry that it applies to.

    That is every entry, or among entries of several agents those of its name.

    Raises:
        ConfigError: it applies to none, or lacks a recorded run.
        PkubenchError: there is no such agent.
    """
    if agent is None or not entries:
        return {}
    from pkubench.agents.resolve.acting import split_acting, with_acting
    from pkubench.agents.resolve.loading import resolve_agent

    names = {entry.agent for entry in entries}
    found: dict[Path, AgentSource] = {}
    refusal: PkubenchError | None = None
    for entry in entries:
        try:
            acting = split_acting(entry.agent)[1]
            source = resolve_agent(with_acting(agent, acting), entry.task, trust=trust)
        except AgentError as error:  # it may not exist for another agent's task
            refusal = error
            continue
        if len(names) > 1 and source.name != entry.agent:
            continue
        if lacking := _lacking(source, entry):
            raise ConfigError(f"--agent {agent} is not what {entry.folder} records: {lacking}")
        found[entry.folder] = source
    if found:
        return found
    raise refusal or ConfigError(
        f"--agent {agent} has the name of none of these agents ({', '.join(sorted(names))}); give "
        f"the folder of the agent it replaces, such as {entries[0].folder.parent}"
    )


def _source(entry: _Entry, trust: bool) -> AgentSource:
    """Return an agent by its recorded name; a run folder is looked for in ``./runs``.

    Raises:
        AgentError: it is not there, or lacks a recorded run.
    """
    from pkubench.agents.resolve.acting import split_acting
    from pkubench.agents.resolve.loading import resolve_agent

    spelled = entry.agent
    if entry.label == "saved" and (Path("runs") / split_acting(spelled)[0]).is_dir():
        spelled = str(Path("runs") / spelled)
    try:
        source = resolve_agent(spelled, entry.task, trust=trust)
        lacking = _lacking(source, entry)
    except PkubenchError as error:
        lacking = str(error)
    if lacking:
        raise AgentError(f"to run {spelled} again, say where it is with --agent PATH ({lacking})")
    return source


def _lacking(source: AgentSource, entry: _Entry) -> str:
    """Return which recorded run an agent does not have, in words; empty if it has all."""
    own = [run.label for run in source.runs]
    lost = [label for label in entry.runs if label not in own]
    if not lost:
        return ""
    return f"agent {source.name!r} has no run {lost[0]!r}, only {', '.join(own)}"
