"""A board of the user's own results, evaluated on this machine by this harness."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from pkubench.agents.resolve.acting import split_acting
from pkubench.errors import PkubenchWarning
from pkubench.leaderboard.board.reading import Bundle
from pkubench.leaderboard.board.store import Board
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.submissions.bundle import create_bundle, task_folders
from pkubench.leaderboard.submissions.verify import verify_bundle
from pkubench.tasks.records import REPORT, read_json
from pkubench.tasks.registry import make_task, why_outdated


def board_of_results(
    results: str | os.PathLike[str],
    where: str | os.PathLike[str] = ":memory:",
    *,
    weights: Sequence[str | os.PathLike[str]] = (),
    rerun: bool = False,
    workers: int = 1,
) -> Board:
    """Return a board with every agent of a results folder.

    The owner of the folder may rank what is in it: on a board in memory, agents with available
    weights are ranked, and labelled as records that were not played again. With ``rerun`` every
    episode is played again, as for a submission, and labelled accordingly. Agents that are code
    stay self-reported, as on any board; so does everything on a board on disk unless it was played
    again, because others submit to it too.

    Args:
        results: what ``pkubench evaluate --out`` wrote, with one folder per agent.
        where: a board to add them to; by default a new one in memory.
        weights: folders with weights of agents that pkubench does not ship; agents whose weights
            are in none of them are self-reported.
        rerun: play every episode again.
        workers: processes for that.

    Warns:
        PkubenchWarning: records of an earlier version of a task, or of an agent with settings of
            acting, are left out.

    Raises:
        BundleError: there are no records, two runs have the same weights, or, with ``rerun``, an
            agent plays other episodes than its records say.
        RecordError: records are corrupt or incomplete.
        StorageError: the board cannot be written.
    """
    by_agent: dict[str, list[Path]] = {}
    for folder in task_folders([Path(results)]):
        report = read_json(folder / REPORT)
        outdated = why_outdated(str(report.get("task")))
        if outdated is not None:
            warnings.warn(f"{folder} is left out: its {outdated}", PkubenchWarning, stacklevel=2)
            continue
        make_task(str(report.get("task")))  # imports its module, where it is of another package
        if acting := split_acting(str(report.get("agent")))[1]:
            settings = ", ".join(f"{name}={value}" for name, value in acting.items())
            warnings.warn(
                f"{folder} is left out: it was evaluated with {settings}, and boards take agents "
                "as they act by default",
                PkubenchWarning,
                stacklevel=2,
            )
            continue
        by_agent.setdefault(str(report.get("agent")), []).append(folder)
    board = Board.open(where)
    is_own = os.fspath(where) == ":memory:"
    with tempfile.TemporaryDirectory(prefix="pkubench-board-") as temporary:
        for number, (agent, folders) in enumerate(sorted(by_agent.items())):
            path = Path(temporary) / f"{number}.zip"
            bundle = create_bundle(
                folders, path, name=agent[:80], weights=weights, missing_weights="leave-out"
            )
            if rerun:
                board.submit(bundle, verify_bundle(bundle, workers=workers))
            else:
                board.submit(bundle, own_records(bundle) if is_own else None)
    return board


def own_records(bundle: Bundle) -> Verification:
    """Return the verdicts on records in their owner's folder that were not played again."""
    verdicts = {}
    for task in bundle.tasks:
        if bundle.manifest.kind == "external":
            verdict = Verdict(Tier.SELF_REPORTED, "the agent is code that ran outside a sandbox")
        elif bundle.manifest.kind != "named" and not all(run.entry.weights for run in task.runs):
            verdict = Verdict(Tier.SELF_REPORTED, "the weights are not available")
        else:
            verdict = Verdict(Tier.OWN_RECORDS, "from a results folder; nothing was run again")
        verdicts[task.task.id] = verdict
    return Verification(verdicts)
