"""What a reader may take along: standings and episodes as CSV and JSON, and BibTeX entries."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pkubench.leaderboard.board.entries import Entry, Submitter
from pkubench.leaderboard.board.ranking import Standing
from pkubench.tasks.task import Task

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How spreadsheets recognise a formula, which a name must not become."""
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def standings_csv(task: Task, standings: Sequence[Standing]) -> bytes:
    """Return a task's ranking, one row an entry; scores of secret episodes are rounded."""
    names = ("rank", "rank_low", "rank_high", "name", "submission", "submitted", "tier")
    scores = ("score", "low", "high", "normalised", "cost", "feasible", "seeds", "unranked")
    rows = []
    for standing in standings:
        found, entry = standing.to_json(), standing.entry
        low, high = standing.rank_range or (None, None)
        score = found["score"] or {}
        rows.append(
            [
                *(standing.rank, low, high, entry.submitter.name, entry.submitter.digest),
                *((entry.submitter.submitted_at or "")[:10], found["tier"]),
                *(score.get("estimate"), score.get("low"), score.get("high")),
                found["normalised"],
                (found["cost"] or {}).get("estimate"),
                *(standing.feasible, entry.seeds, standing.unranked),
            ]
        )
    return _csv([*names, *scores], rows)


def episodes_csv(task: Task, entry: Entry) -> bytes:
    """Return the public episodes of an entry, one row an episode."""
    metrics = [metric.name for metric in task.metrics]
    rows = [
        [
            *(run.name, run.seed, record.episode, record.seed, record.length),
            *(record.value(name) for name in metrics),
            record.failure,
        ]
        for run in entry.runs
        for record in run.records
    ]
    return _csv(["run", "training_seed", "episode", "seed", "length", *metrics, "failure"], rows)


def bibtex(submitter: Submitter) -> str:
    """Return a BibTeX entry that names an agent and the submission by its hash."""
    manifest = submitter.manifest
    word = re.sub(r"[^A-Za-z0-9]+", "", submitter.name)[:24].lower() or "agent"
    fields = {
        "title": f"{{{_tex(submitter.name)}}}",
        "author": " and ".join(f"{{{_tex(author)}}}" for author in manifest.authors),
        "year": (submitter.submitted_at or "")[:4],
        "howpublished": f"\\url{{{manifest.code_url}}}" if _is_plain(manifest.code_url) else "",
        "note": f"Submission {submitter.digest[:12]} to a pkubench leaderboard, "
        f"{len(manifest.tasks)} task{'' if len(manifest.tasks) == 1 else 's'}",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{word}-{submitter.digest[:8]},", *lines, "}", ""])


def _is_plain(url: str | None) -> bool:
    """Return whether an address needs no escapes, of which TeX's url knows none."""
    return url is not None and not set(url) & set("{}\\%#^~ ")


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
