"""Verification: run the weights of a bundle again on the same seeds and compare the episodes.

Nothing that was submitted is executed. Saved weights are data for an architecture that pkubench
registers, ONNX graphs go to ONNX Runtime, and named agents are pkubench's own. An agent that is
code (``package.module:factory``, ``sb3:``) is not run; its entries stay self-reported.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pkubench.agents.registry import prefixes
from pkubench.agents.resolve.loading import is_installed_code, resolve_agent
from pkubench.agents.resolve.sources import AgentSource
from pkubench.agents.saved.population_content import POPULATION_SUFFIXES
from pkubench.errors import AgentError, RefusedError, UnknownName, counted
from pkubench.evaluation.run.execution import Limits
from pkubench.evaluation.run.replay import Replay, replay, time_left
from pkubench.leaderboard.board.reading import Bundle, BundleRun, BundleTask, run_records
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.submissions.copies import suspicions

TOTAL_S = 4 * 3600.0
"""Default limit of the time for playing all episodes of a bundle, in seconds."""


def verify_bundle(
    bundle: Bundle,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Play every episode of a bundle again and compare (``pkubench.evaluation.run.replay``).

    Args:
        bundle: what :func:`~pkubench.leaderboard.submissions.bundle.read_bundle` returned.
        workers: processes of each evaluation; see :func:`pkubench.evaluate`.
        limits: how long the agent may take, one call and all episodes of the bundle together.
        progress: called with a sentence before each task.

    Returns:
        A verdict for each task: ``verified-weights`` if every episode of every run is the same
        (``evaluated-here`` for an agent of pkubench's own without weights), or if they were made on
        a machine that this one cannot imitate, and no mean differs; ``flagged`` if runs look like
        copies of one training; otherwise ``self-reported`` with the reason, marked as contradicted
        where the agent plays other episodes than the records say.

    Raises:
        StorageError: there is no space for temporary files.
        MissingExtra: the task's environment or the weights need something that is not installed.
    """
    limits, started = limits or Limits(total=TOTAL_S), time.monotonic()
    return Verification(
        {
            task.task.id: _verify_task(bundle, task, workers, time_left(limits, started), progress)
            for task in bundle.tasks
        }
    )


def _verify_task(
    bundle: Bundle,
    task: BundleTask,
    workers: int,
    limits: Limits,
    progress: Callable[[str], None] | None,
) -> Verdict:
    kind = bundle.manifest.kind
    if kind == "external":
        return Verdict(Tier.SELF_REPORTED, "the agent is code, which this board does not run")
    if kind != "named" and not all(run.entry.weights for run in task.runs):
        return Verdict(Tier.SELF_REPORTED, "the bundle has no weights to run again")
    if progress is not None:
        what = f"{_count(task)} of {bundle.manifest.name} on {task.task.id}"
        progress(f"{what}, {task.task.scoring.done} again")
    with tempfile.TemporaryDirectory(prefix="pkubench-verify-") as folder:
        try:
            found = _play_again(bundle, task, Path(folder), workers, limits)
            copies = [] if kind == "named" or found.problem else suspicions(task, Path(folder))
        except (AgentError, UnknownName, RefusedError) as error:
            return Verdict(Tier.SELF_REPORTED, f"the agent cannot be run again: {error}")
    if found.is_late:
        return Verdict(Tier.SELF_REPORTED, f"the agent cannot be run again: {found.problem}")
    if found.replayed != sum(len(run.records) for run in task.runs):
        raise RuntimeError(f"only {found.replayed} episodes were played again, not all of them")
    if found.problem:
        reason = f"played again, the agent produced different episodes: {found.problem}"
        return Verdict(Tier.SELF_REPORTED, reason, is_contradicted=True)
    if copies:
        return Verdict(Tier.FLAGGED, f"looks like one training counted twice: {copies[0]}")
    # A named agent has no weights that could be verified.
    tier = Tier.EVALUATED_HERE if kind == "named" else Tier.VERIFIED_WEIGHTS
    if found.reproduced == found.replayed:
        return Verdict(tier, found.how)
    return Verdict(
        tier, f"{found.how}; the episodes shown are those played here", played=_lines(task, found)
    )


def _play_again(
    bundle: Bundle, task: BundleTask, folder: Path, workers: int, limits: Limits
) -> Replay:
    sources = [_source(bundle, task, run, folder / run.name) for run in task.runs]
    runs = tuple(
        replace(source.runs[0], label=run.name)
        for source, run in zip(sources, task.runs, strict=True)
    )
    records = [run_records(run) for run in task.runs]
    blocks = {run.label: range(0, len(run.records), int(run.settings["block"])) for run in records}
    source = replace(sources[0], name=bundle.manifest.name, runs=runs)
    return replay(records, source, task.task, blocks, workers=workers, limits=limits)


def _lines(task: BundleTask, found: Replay) -> dict[str, bytes]:
    return {
        label: "".join(f"{record.line(task.task)}\n" for record in records).encode()
        for label, records in found.records.items()
    }


def _source(bundle: Bundle, task: BundleTask, run: BundleRun, folder: Path) -> AgentSource:
    """Return the agent of a run. Never takes a spelling from the bundle that could run code.

    Raises:
        RefusedError: the bundle spells its agent in another way than its kind allows.
    """
    if bundle.manifest.kind == "named":
        if not is_installed_code(bundle.manifest.agent):
            raise RefusedError(f"{bundle.manifest.agent[:80]!r} is not an agent of pkubench")
        return resolve_agent(bundle.manifest.agent, task.task)
    bundle.extract_weights(run, folder)
    if bundle.manifest.kind == "saved":
        return resolve_agent(str(folder.resolve()), task.task)
    if bundle.manifest.kind == "population":
        files = [path for path in sorted(folder.iterdir()) if path.suffix in POPULATION_SUFFIXES]
        if len(files) != 1:
            raise RefusedError(f"the run {run.name!r} has {len(files)} population files, not one")
        return resolve_agent(str(files[0].resolve()), task.task)
    graphs = sorted(folder.glob("*.onnx"))
    alone = len(graphs) == 1 and not (folder / "team.json").exists()
    (prefix,) = (name for name, of in prefixes().items() if of.bundle == bundle.manifest.kind)
    return resolve_agent(f"{prefix}:{graphs[0] if alone else folder}", task.task)


def _count(task: BundleTask) -> str:
    runs, episodes = len(task.runs), sum(len(run.records) for run in task.runs)
    return f"{counted(episodes, task.task.scoring.unit)} of {counted(runs, 'run')}"
