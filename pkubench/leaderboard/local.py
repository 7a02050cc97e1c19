"""A board of one's own results: what was evaluated on this machine, by this harness."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pkubench.evaluation.records import REPORT, read_json
from pkubench.leaderboard.bundle import create_bundle, task_folders
from pkubench.leaderboard.reading import Bundle
from pkubench.leaderboard.store import Board
from pkubench.leaderboard.tiers import Tier, Verdict, Verification
from pkubench.tasks.catalogue import make_task


def board_of_results(
    results: str | os.PathLike[str],
    where: str | os.PathLike[str] = ":memory:",
    *,
    weights: Sequence[str | os.PathLike[str]] = (),
) -> Board:
    """Return a board with every agent of a results folder.

    The records come from this machine's own harness, so nothing is run again: on a board in memory,
    agents whose weights are at hand are labelled as evaluated here and ranked. Agents that are code
    stay self-reported, as on any board; and so does everything on a board that is kept, because
    others submit to it too and nothing was run again for it.

    Args:
        results: what ``pkubench evaluate --out`` wrote, with one folder an agent.
        where: a board to add to; by default a new one in memory.
        weights: folders with weights of agents that pkubench does not ship; agents whose weights
            are in none of them are self-reported.

    Raises:
        BundleError: there are no records.
        RecordError: records are corrupt or incomplete.
        StorageError: the board cannot be written.
    """
    by_agent: dict[str, list[Path]] = {}
    for folder in task_folders([Path(results)]):
        report = read_json(folder / REPORT)
        make_task(str(report.get("task")))  # imports its module, where it is of another package
        by_agent.setdefault(str(report.get("agent")), []).append(folder)
    board = Board.open(where)
    is_own = os.fspath(where) == ":memory:"
    with tempfile.TemporaryDirectory(prefix="pkubench-board-") as temporary:
        for number, (agent, folders) in enumerate(sorted(by_agent.items())):
            path = Path(temporary) / f"{number}.zip"
            bundle = create_bundle(
                folders, path, name=agent[:80], weights=weights, missing_weights="leave-out"
            )
            board.submit(bundle, evaluated_here(bundle) if is_own else None)
    return board


def evaluated_here(bundle: Bundle) -> Verification:
    """Return the verdicts on records that this machine's own harness just made."""
    verdicts = {}
    for task in bundle.tasks:
        if bundle.manifest.kind == "external":
            verdict = Verdict(Tier.SELF_REPORTED, "the agent is code that ran outside a sandbox")
        elif bundle.manifest.kind != "named" and not all(run.entry.weights for run in task.runs):
            verdict = Verdict(Tier.SELF_REPORTED, "the weights are not at hand")
        else:
            from_what = "" if bundle.manifest.kind == "named" else " from these weights"
            verdict = Verdict(
                Tier.EVALUATED_HERE, f"evaluated by this board's own harness{from_what}"
            )
        verdicts[task.task.id] = verdict
    return Verification(verdicts)
