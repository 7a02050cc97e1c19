"""Verification: run the weights of a bundle again on the same seeds and compare the episodes.

Nothing that was submitted is executed. Saved weights are data for an architecture that pkubench
registers, ONNX graphs go to ONNX Runtime, and named agents are pkubench's own. An agent that is
code (``package.module:factory``, ``sb3:``) is not run; its entries stay self-reported.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pkubench.agents.loading import POPULATION_SUFFIXES, AgentSource, resolve_agent
from pkubench.errors import AgentError, RefusedError, UnknownName
from pkubench.evaluation.harness import evaluate, versions_for
from pkubench.evaluation.records import EPISODES, EpisodeRecord, read_records
from pkubench.evaluation.report import run_folders
from pkubench.leaderboard.reading import Bundle, BundleRun, BundleTask
from pkubench.leaderboard.tiers import Tier, Verdict, Verification

RELATIVE_TOLERANCE = 1e-6
"""Largest relative difference of an episode's numbers that still counts as the same episode."""

_NAMED = re.compile(r"random|scripted:[A-Za-z0-9_-]+")
"""Spellings that name an agent of pkubench and nothing else: no path, no module."""


def verify_bundle(
    bundle: Bundle,
    *,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Run every agent of a bundle again and compare it with the bundle's records.

    Args:
        bundle: what :func:`~pkubench.leaderboard.bundle.read_bundle` returned.
        workers: processes of each evaluation; see :func:`pkubench.evaluate`.
        progress: called with a sentence before each run.

    Returns:
        A verdict for each task: ``verified-weights`` if every episode of every run is the same
        (``evaluated-here`` for an agent of pkubench's own without weights); otherwise
        ``self-reported`` with the reason, marked as contradicted where the agent did something
        else than the records say.

    Raises:
        StorageError: there is no room for temporary files.
        MissingExtra: the task's world or the weights need something that is not installed.
    """
    return Verification(
        {task.task.id: _verify_task(bundle, task, workers, progress) for task in bundle.tasks}
    )


def _verify_task(
    bundle: Bundle, task: BundleTask, workers: int, progress: Callable[[str], None] | None
) -> Verdict:
    if bundle.manifest.kind == "external":
        return Verdict(Tier.SELF_REPORTED, "the agent is code, which this board does not run")
    worst = 0.0
    for run in task.runs:
        if bundle.manifest.kind != "named" and not run.entry.weights:
            return Verdict(Tier.SELF_REPORTED, "the bundle has no weights to run again")
        if progress is not None:
            progress(f"running {bundle.manifest.name} {run.name} on {task.task.id} again")
        with tempfile.TemporaryDirectory(prefix="pkubench-verify-") as folder:
            try:
                lines, records = _run_again(bundle, task, run, Path(folder), workers)
            except (AgentError, UnknownName, RefusedError) as error:
                return Verdict(Tier.SELF_REPORTED, f"the agent cannot be run again: {error}")
        if lines == run.lines:
            continue
        difference = _compare(run.records, records, is_game=task.task.kind == "population")
        if isinstance(difference, str):
            return Verdict(
                Tier.SELF_REPORTED,
                f"run again, the agent did something else: {run.name}, {difference}",
                is_contradicted=True,
            )
        worst = max(worst, difference)
    is_named = bundle.manifest.kind == "named"  # and so has no weights that could be verified
    tier = Tier.EVALUATED_HERE if is_named else Tier.VERIFIED_WEIGHTS
    if worst == 0.0:
        return Verdict(tier, f"run again, {_count(task)} gave the same bytes")
    return Verdict(
        tier,
        f"run again, {_count(task)} agree within {worst:.1e} (relative; {RELATIVE_TOLERANCE:g} is "
        f"accepted, because {_why_not_equal(task)})",
    )


def _run_again(
    bundle: Bundle, task: BundleTask, run: BundleRun, folder: Path, workers: int
) -> tuple[bytes, list[EpisodeRecord]]:
    out = folder / "out"
    report = evaluate(
        _source(bundle, task, run, folder / run.name),
        task.task,
        episodes=len(run.records),
        seed=run.info["seed"],
        workers=workers,
        out=out,
    )
    (again,) = run_folders(next(out.glob(f"*/{task.task.id.rpartition('/')[2]}")))
    return (again / EPISODES).read_bytes(), read_records(again / EPISODES, report.episodes)


def _source(bundle: Bundle, task: BundleTask, run: BundleRun, folder: Path) -> AgentSource:
    """Return the agent of a run. Never takes a spelling from the bundle that could run code.

    Raises:
        RefusedError: the bundle spells its agent in another way than its kind allows.
    """
    if bundle.manifest.kind == "named":
        if not _NAMED.fullmatch(bundle.manifest.agent):
            raise RefusedError(f"{bundle.manifest.agent[:80]!r} is no agent of pkubench")
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
    return resolve_agent(f"onnx:{graphs[0] if alone else folder}", task.task)


def _compare(
    submitted: tuple[EpisodeRecord, ...], again: list[EpisodeRecord], *, is_game: bool
) -> float | str:
    """Return the largest relative difference, or in words the first episode that is another."""
    worst = 0.0
    for old, new in zip(submitted, again, strict=True):
        where = "the exact score" if is_game else f"episode {old.episode}"
        for name, a, b in _numbers(old, new):
            if a is None or b is None or isinstance(a, str) or isinstance(b, str):
                if a != b:
                    return f"{where}: {name} is {a!s:.80} in the bundle, {b!s:.80} now"
                continue
            difference = abs(a - b) / max(abs(a), abs(b), 1.0)
            if not difference <= RELATIVE_TOLERANCE:
                return f"{where}: {name} is {a:.6g} in the bundle, {b:.6g} now"
            worst = max(worst, difference)
    return worst


def _numbers(
    old: EpisodeRecord, new: EpisodeRecord
) -> list[tuple[str, float | str | None, float | str | None]]:
    pairs: list[tuple[str, Any, Any]] = [
        ("failure", old.failure, new.failure),
        ("length", float(old.length), float(new.length)),
        ("return", old.return_, new.return_),
        ("cost", old.cost, new.cost),
        ("success", old.value("success"), new.value("success")),
    ]
    pairs += _by_key("return of", old.returns, new.returns)
    pairs += _by_key("metric", old.metrics, new.metrics)
    return pairs


def _by_key(
    what: str, old: Mapping[str, float], new: Mapping[str, float]
) -> list[tuple[str, float | None, float | None]]:
    keys = sorted(old.keys() | new.keys())
    return [(f"{what} {key}", old.get(key), new.get(key)) for key in keys]


def _count(task: BundleTask) -> str:
    runs, episodes = len(task.runs), sum(len(run.records) for run in task.runs)
    if task.task.kind == "population":  # computed, and not played
        return f"the exact score{'s' * (runs != 1)} of {runs} run{'s' * (runs != 1)}"
    return f"{episodes} episode{'s' * (episodes != 1)} of {runs} run{'s' * (runs != 1)}"


def _why_not_equal(task: BundleTask) -> str:
    """Say what may have moved the last bits: other versions, or another processor."""
    there, here = dict(task.report.get("versions") or {}), versions_for(task.task)
    changed = [
        f"{name} {there.get(name, 'none')} there and {version} here"
        for name, version in here.items()
        if there.get(name) != version
    ]
    if changed:
        return f"versions differ: {', '.join(changed)}"
    return "processors and their libraries differ in the last bits"
