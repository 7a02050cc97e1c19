"""Weights that are on a board already, submitted again under another name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sql

from pkubench.leaderboard.board.reading import Bundle
from pkubench.leaderboard.board.tables import ENTRIES, SUBMISSIONS
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.submissions.copies import known_weights


def without_copies(
    connection: sql.Connection,
    bundle: Bundle,
    verification: Verification,
    compared: set[tuple[str, str]],
) -> Verification:
    """Return verdicts in which weights that another submission is ranked with are flagged.

    Args:
        connection: gives the other submissions.
        bundle: the weights.
        verification: the verdicts so far.
        compared: task and digest of the submissions to leave out; those compared are added.
    """
    verdicts = dict(verification.verdicts)
    for task in bundle.tasks:
        if verification.verdict(task.task.id).tier is not Tier.VERIFIED_WEIGHTS:
            continue  # on a board of the user's own results, copies are allowed
        query = (
            sql.select(SUBMISSIONS.c.digest)
            .join_from(ENTRIES, SUBMISSIONS)
            .where(
                ENTRIES.c.task == task.task.id,
                ENTRIES.c.tier == Tier.VERIFIED_WEIGHTS.value,
                SUBMISSIONS.c.digest != bundle.digest,
            )
        )
        left = {(task.task.id, digest) for digest in connection.scalars(query)} - compared
        compared |= left
        found = known_weights(bundle, task, _bundles(connection, sorted(left)))
        if found:
            verdicts[task.task.id] = Verdict(Tier.FLAGGED, found)
    return Verification(verdicts)


def _bundles(
    connection: sql.Connection, which: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and file of submissions one by one: together they may not fit into memory."""
    for _, digest in which:
        query = sql.select(SUBMISSIONS.c.name, SUBMISSIONS.c.bundle)
        for name, data in connection.execute(query.where(SUBMISSIONS.c.digest == digest)):
            yield str(name), bytes(data)
