"""``pkubench verify``: are results, or a bundle, what they say?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    PkubenchError,
    RecordError,
    UnknownName,
    counted,
)
from pkubench.evaluation.report import read_settings, run_folders
from pkubench.tasks.catalogue import make_task, why_outdated
from pkubench.tasks.task import Task

app = verb_app()


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
        typer.Option("--agent", help="Spelling of the agent to run again, if not as recorded."),
    ] = None,
    workers: Workers = 1,
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check that reports follow from the episode lines, and lines from seeds and agents.

    Exit code 1 if something does not agree.
    """
    if agent is not None and not rerun:
        raise ConfigError("--agent says whom to run again: add --rerun N")
    with Output(json=json, quiet=quiet) as output, sigterm_as_interrupt():
        if path.suffix == ".zip":
            rows = _bundle_rows(path, rerun > 0, workers, output)
        else:
            rows = _result_rows(path, rerun, agent, workers, trust, output)
        ok = all(row["ok"] for row in rows)
        if json:
            output.document({"ok": ok, "checked": rows})
        else:
            columns = (
                Column("task", style="bold"),
                Column("agent"),
                Column(""),
                Column("found", wraps=True),
            )
            table = []
            for row in rows:
                mark = Text("ok", style="green") if row["ok"] else Text("wrong", style="red")
                table.append((short(row["task"]), row["agent"], mark, "\n".join(row["found"])))
            output.show("", output.table("", columns, table), "")
            if ok and not rerun:
                output.next(command("verify", path, "--rerun", 16))
    if not ok:
        raise typer.Exit(1)


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
    from pkubench.evaluation.verification import verify

    folders = list(find_folders([path]))
    if not folders:
        raise RecordError(f"{path} holds no records; give what `pkubench evaluate --out` wrote")
    rows: list[dict[str, Any]] = []
    for folder in folders:
        try:
            settings = read_settings(run_folders(folder)[0])
            outdated = why_outdated(settings["task"])
            if outdated is not None:
                raise RecordError(outdated)
            task = make_task(settings["task"])
        except (RecordError, UnknownName) as error:
            # What it is of can only be read off its place, OUT/AGENT/TASK.
            row = {"task": folder.name, "agent": folder.parent.name, "folder": str(folder)}
            rows.append({**row, "ok": False, "found": [str(error)]})
            continue
        source = None
        if rerun:
            output.note(f"running {settings.get('agent')} on {short(task.id)} again")
            source = _source(settings, agent, task, trust)
        row = {"task": task.id, "agent": settings["agent"], "folder": str(folder)}
        try:
            found = verify(folder, task=task, agent=source, episodes=rerun, workers=workers)
        except RecordError as error:
            rows.append({**row, "ok": False, "found": [str(error)]})
            continue
        episodes = found.report.episodes * len(found.report.runs)
        good = [f"{counted(episodes, 'episode')}: report and lines agree"]
        if found.replayed:
            good += [found.how, _escape(found.escape)]
        rows.append({**row, "ok": found.passed, "found": list(found.problems) or good})
    return rows


def _escape(chance: float) -> str:
    """Say how likely a lie would have been found, of the blocks that were drawn."""
    if chance == 0.0:
        return "every episode was played again"
    return f"one altered episode escapes blocks drawn like this with a chance of {chance:.0%}"


def _source(settings: dict[str, Any], agent: str | None, task: Task, trust: bool) -> Any:
    from pkubench.agents.loading import resolve_agent

    if agent is not None:
        return resolve_agent(agent, task, trust=trust)
    recorded = str(settings.get("agent"))
    if settings.get("label") == "saved" and (Path("runs") / recorded).is_dir():
        recorded = str(Path("runs") / recorded)
    try:
        return resolve_agent(recorded, task, trust=trust)
    except PkubenchError as error:
        raise AgentError(
            f"to run {recorded} again, say where it is now with --agent ({error})"
        ) from error
