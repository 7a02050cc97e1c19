"""The files of one agent: its page, its bundle, and its records as lines, tables and JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pkubench.leaderboard.board.columns import agent_columns
from pkubench.leaderboard.board.entries import RunResult, Submitter
from pkubench.leaderboard.site.downloads import bibtex, episodes_csv
from pkubench.leaderboard.site.pages import UNSAFE, TaskPage, agent_page
from pkubench.tasks.scoring import Episodes
from pkubench.tasks.task import Task

if TYPE_CHECKING:
    from pkubench.leaderboard.site.builder import Site

Maker = Callable[[], bytes]
"""Returns the content of a file."""


def agent_files(site: Site, submitter: Submitter) -> Iterator[tuple[str, Maker]]:
    """Yield name and maker of each file of an agent."""
    stem = agent_page(submitter).removeprefix("agents/").removesuffix(".html")
    bundle = f"downloads/{stem}/{stem}.zip"
    yield bundle, partial(site.board.bundle, submitter.digest)
    cited = f"downloads/{stem}/{stem}.bib"
    yield cited, lambda: bibtex(submitter).encode()
    parts = []
    for page in site.pages_of.get(submitter.digest, ()):
        entry = page.entries_by_digest[submitter.digest]
        folder = f"downloads/{stem}/{page.slug}"
        runs = []
        for run in entry.runs:
            name = f"{folder}/{UNSAFE.sub('-', run.name)}.episodes.jsonl"
            yield name, partial(bytes, run.lines)
            runs.append({"result": run, "href": name})
        table, document = f"{folder}/episodes.csv", f"{folder}/entry.json"
        yield table, partial(episodes_csv, page.task, entry)
        yield document, partial(as_json, entry.to_json())
        film = ""
        if (submitter.digest, page.task.id) in site.filmed:
            film = f"films/{stem}/{page.slug}.mp4"
            yield film, partial(site.films.film, submitter.digest, page.task.id)
        files = {"csv": table, "json": document}
        parts.append({"page": page, "runs": runs, "files": files, "film": film})
    places = {"bundle": bundle, "bibtex": cited}
    yield agent_page(submitter), partial(_page, site, submitter, places, parts)


def _page(
    site: Site, submitter: Submitter, places: Mapping[str, str], parts: Sequence[Mapping[str, Any]]
) -> bytes:
    filled, stem = [], agent_page(submitter).removeprefix("agents/").removesuffix(".html")
    for part in parts:
        page: TaskPage = part["page"]
        row = page.rows_by_digest[submitter.digest]
        entry = row.standing.entry
        filled.append(
            {
                **part,
                "row": row,
                "metrics": [metric.name for metric in page.task.metrics],
                "figures": list(site.figures(page.task, [entry])),
                "command": _command(entry.runs),
                "watching": _watching(submitter, stem, page.task),
                "config": _config(entry.runs),
            }
        )
    return site.page(
        agent_page(submitter),
        "agent.html",
        submitter=submitter,
        columns=agent_columns(),
        parts=filled,
        places=places,
        size=_size(site.board.bundle_size(submitter.digest)),
        citation=bibtex(submitter),
    )


def as_json(value: Mapping[str, Any]) -> bytes:
    """Write a document, the same bytes for the same values."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _command(runs: Sequence[RunResult]) -> str | None:
    commands = [run.command for run in runs if run.command is not None]
    return "\n".join(commands) if commands else None


def _watching(submitter: Submitter, stem: str, task: Task) -> str | None:
    """Return the commands that film it; None where code of a stranger would run, or none plays."""
    manifest = submitter.manifest
    if task.scoring.name != Episodes.name:
        return None
    short = task.id.rpartition("/")[2]
    if manifest.kind == "named":
        return shlex.join(["pkubench", "watch", manifest.agent, short])
    if manifest.kind != "saved" or not all(e.weights for t in manifest.tasks for e in t.runs):
        return None
    place = f"{stem}/weights/{short}"
    return f"unzip {stem}.zip -d {stem}\n{shlex.join(['pkubench', 'watch', place, short])}"


def _config(runs: Sequence[RunResult]) -> str | None:
    """Return the configuration of the first run; the others differ in their seeds."""
    configs = [run.config for run in runs if run.config]
    return json.dumps(configs[0], indent=2, sort_keys=True) if configs else None


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"
