"""The pages that compare agents: every two of the best on a task, and of a suite over its tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from pkubench.leaderboard.board.comparing import (
    Overall,
    Pairing,
    compare_all,
    compare_entries,
    compare_overall,
)
from pkubench.leaderboard.board.entries import Entry, Submitter
from pkubench.leaderboard.board.tiers import Tier
from pkubench.leaderboard.site.drawing import number
from pkubench.leaderboard.site.pages import SuitePage, TaskPage, agent_page
from pkubench.leaderboard.site.templating import p_value, signed

COMPARED = 16
"""Entries of a task whose pairs have a row: all of them would be millions on a large board."""
COMPARED_IN_SUITE = 8
CHOICES = 200
"""Entries of a task that its page offers to choose from, any two of which are compared."""


class OverallRow(NamedTuple):
    """Two agents over the tasks of both."""

    first: Submitter
    second: Submitter
    found: Overall | None


def best_of(page: TaskPage, most: int) -> list[Entry]:
    """Return the best entries of a task: ranked, then others, without the flagged ones."""
    standings = [s for s in page.standings if s.entry.verdict.tier is not Tier.FLAGGED]
    return [s.entry for s in standings if s.score is not None][:most]


def task_pairs(page: TaskPage) -> list[Pairing]:
    """Return the comparisons of the page of a task, the p-values corrected together."""
    return compare_all(page.task, best_of(page, COMPARED))


def further_pairs(page: TaskPage) -> bytes:
    """Return the comparisons without a row of their own, as a script that the page loads.

    A page that is opened as a file may load scripts, and no JSON. Texts are as the rows have them.
    """
    entries = best_of(page, CHOICES)
    rows: list[list[Any]] = []
    for (i, first), (j, second) in combinations(enumerate(entries), 2):
        if j >= COMPARED:
            rows.append([i, j, *_cells(compare_entries(page.task, first, second))])
    agents = [(e.submitter.digest, e.submitter.name, agent_page(e.submitter)) for e in entries]
    text = json.dumps({"agents": agents, "rows": rows}, separators=(",", ":"))
    return f"window.furtherPairs = {text};\n".encode()


def _cells(pair: Pairing) -> list[str]:
    """Return the texts of a row after the agents; only the reason where there is no difference."""
    if pair.difference is None:
        return [pair.why_not]
    low, high = pair.difference.low, pair.difference.high
    bounds = "\N{EN DASH}" if low != low else f"{number(low)} to {number(high)}"
    chance = "" if pair.chance is None else f"{pair.chance:.2f}"
    runs = f"n = {pair.n[0]}, {pair.n[1]}"
    return [signed(pair.difference.estimate), bounds, p_value(pair.p_value), chance, runs]


def entries_of(pages: Sequence[TaskPage], digest: str) -> dict[str, Entry]:
    """Return a submission's entries by task."""
    return {
        page.task.id: entry
        for page in pages
        if (entry := page.entries_by_digest.get(digest)) is not None
    }


def suite_rows(suite: SuitePage) -> list[OverallRow]:
    """Return the comparisons of a suite's best agents that share at least two tasks."""
    tasks = {page.task.id: page.task for page in suite.pages}
    chosen = [row.standing.submitter for row in suite.rows][:COMPARED_IN_SUITE]
    own: Mapping[str, dict[str, Entry]] = {
        submitter.digest: entries_of(suite.pages, submitter.digest) for submitter in chosen
    }
    rows = [
        OverallRow(a, b, compare_overall(tasks, own[a.digest], own[b.digest]))
        for a, b in combinations(chosen, 2)
    ]
    return [row for row in rows if row.found is not None]
