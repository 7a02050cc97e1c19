"""The pages that compare agents: every two of the best on a task, and of a suite over its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from pkubench.leaderboard.board.comparing import Overall, Pairing, compare_all, compare_overall
from pkubench.leaderboard.board.entries import Entry, Submitter
from pkubench.leaderboard.board.tiers import Tier
from pkubench.leaderboard.site.pages import SuitePage, TaskPage

COMPARED = 16
"""Entries of a task whose pairs have a row: all of them would be millions on a large board."""
COMPARED_IN_SUITE = 8
CHOICES = 200
"""Entries that a server's page offers to choose from."""


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
