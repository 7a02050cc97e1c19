"""Bundles, verification, the store and the site built from records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pkubench.leaderboard.board.local import board_of_results
    from pkubench.leaderboard.board.ranking import rank_suite, rank_task
    from pkubench.leaderboard.board.store import Board
    from pkubench.leaderboard.submissions.bundle import create_bundle, read_bundle
    from pkubench.leaderboard.submissions.verify import verify_bundle

_LAZY = {
    "Board": "pkubench.leaderboard.board.store",
    "board_of_results": "pkubench.leaderboard.board.local",
    "create_bundle": "pkubench.leaderboard.submissions.bundle",
    "rank_suite": "pkubench.leaderboard.board.ranking",
    "rank_task": "pkubench.leaderboard.board.ranking",
    "read_bundle": "pkubench.leaderboard.submissions.bundle",
    "verify_bundle": "pkubench.leaderboard.submissions.verify",
}

__all__ = [
    "Board",
    "board_of_results",
    "create_bundle",
    "rank_suite",
    "rank_task",
    "read_bundle",
    "verify_bundle",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: SQLAlchemy is an optional dependency."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
