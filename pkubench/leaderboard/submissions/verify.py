"""Verification: run the weights of a bundle again on the same seeds and compare the episodes.

Nothing that was submitted is executed but in a sandbox. Saved weights are data for an architecture
that pkubench registers, ONNX graphs go to ONNX Runtime, and named agents are pkubench's own. An
agent whose code is in the bundle runs in a sandbox; one that is code elsewhere (``sb3:``) is not
run, and its entries stay self-reported.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pkubench.agents.registry import prefixes
from pkubench.agents.resolve.loading import is_installed_code, resolve_agent
from pkubench.agents.resolve.sources import AgentSource
from pkubench.agents.saved.population_content import POPULATION_SUFFIXES
from pkubench.errors import AgentError, RefusedError, UnknownName, counted
from pkubench.evaluation.run.episodes import ran_late
from pkubench.evaluation.run.execution import Limits
from pkubench.evaluation.run.failures import printable
from pkubench.evaluation.run.planned import play_planned
from pkubench.evaluation.run.replay import Replay, replay, time_left
from pkubench.evaluation.run.workers import check_undisturbed
from pkubench.leaderboard.board.reading import Bundle, BundleRun, BundleTask, run_records
from pkubench.leaderboard.board.secret import SecretSeeds
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.sandbox.agents import SandboxRun, SandboxSource
from pkubench.leaderboard.sandbox.bubblewrap import (
    AGENT,
    NoSandbox,
    SandboxLimits,
    check_bubblewrap,
)
from pkubench.leaderboard.submissions.copies import suspicions
from pkubench.leaderboard.submissions.plausible import curves_of, implausible
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.task import Task

Played = Mapping[str, Sequence[EpisodeRecord]]
"""Label of a run -> its records."""

_TIERS = {"named": Tier.EVALUATED_HERE, "code": Tier.VERIFIED_CODE}
"""Kinds without weights that could be verified or compared."""
_GRAPHS = ("onnx",)

TOTAL_S = 4 * 3600.0
"""Default limit of the time for playing all episodes of a bundle, in seconds."""


def verify_bundle(
    bundle: Bundle,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    progress: Callable[[str], None] | None = None,
    on_block: Callable[[str], None] | None = None,
    secret: SecretSeeds | None = None,
    sandbox_graphs: bool = False,
) -> Verification:
    """Play every episode of a bundle again and compare (``pkubench.evaluation.run.replay``).

    Args:
        bundle: what :func:`~pkubench.leaderboard.submissions.bundle.read_bundle` returned.
        workers: processes of each evaluation; see :func:`pkubench.evaluate`.
        limits: how long the agent may take, one call and all episodes of the bundle together.
        progress: called with a sentence before each task.
        on_block: called with a sentence after each block of episodes.
        secret: a board's secret episodes, which are played by what was found to be verified.
        sandbox_graphs: whether ONNX graphs run in a sandbox too, as code always does; then it is
            an error where there is no sandbox, not a verdict.

    Returns:
        A verdict for each task: ``verified-weights`` if every episode of every run is the same
        (``evaluated-here`` for an agent of pkubench's own without weights), or if they were made on
        a machine that this one cannot imitate, and no mean differs; ``flagged`` if runs look like
        copies of one training; otherwise ``self-reported`` with the reason, marked as contradicted
        where the agent plays other episodes than the records say.

    Raises:
        StorageError: there is no space for temporary files.
        NoSandbox: there is no sandbox here, and ``sandbox_graphs`` is set.
        WorkerError: an agent's process was ended from outside.
        MissingExtra: the task's environment or the weights need something that is not installed.
    """
    limits, started = limits or Limits(total=TOTAL_S), time.monotonic()
    verdicts = {}
    for task in bundle.tasks:
        if progress is not None:
            what = f"{_count(task)} of {bundle.manifest.name} on {task.task.id}"
            progress(f"{what}, {task.task.scoring.done} again")
        left = time_left(limits, started)
        player = _Player(workers, left, sandbox_graphs, on_block or (lambda _: None))
        verdicts[task.task.id] = _verify_task(bundle, task, player, secret)
    return Verification(verdicts)


@dataclass(frozen=True)
class _Player:
    """Plays episodes of one task; both sets share the time that is left."""

    workers: int
    limits: Limits
    sandbox_graphs: bool
    on_block: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)

    def again(self, source: AgentSource | SandboxSource, task: BundleTask) -> Replay:
        """Play the recorded episodes again."""
        records = [run_records(run) for run in task.runs]
        blocks = {r.label: range(0, len(r.records), int(r.settings["block"])) for r in records}
        return replay(
            records,
            source,
            task.task,
            blocks,
            workers=self.workers,
            limits=self.limits,
            progress=self._reporter(task.task, f"{task.task.scoring.unit}s again"),
        )

    def secret(
        self, source: AgentSource | SandboxSource, task: Task, secret: SecretSeeds
    ) -> Played:
        """Play a board's secret episodes; nothing where a task has none."""
        planned, unit = secret.plan(task), task.scoring.unit
        if not planned:
            return {}
        return play_planned(
            source,
            task,
            planned,
            workers=self.workers,
            limits=time_left(self.limits, self.started),
            # Without numbers: whoever watches could read from their times what an agent saw.
            progress=lambda _, total: self.on_block(f"{task.id}: {total} secret {unit}s"),
        )

    def _reporter(self, task: Task, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self.on_block(f"{task.id}: {done} of {total} {what}")


def _verify_task(
    bundle: Bundle, task: BundleTask, player: _Player, secret: SecretSeeds | None
) -> Verdict:
    kind = bundle.manifest.kind
    if kind == "external":
        return Verdict(Tier.SELF_REPORTED, "the agent is code, which this board does not run")
    if kind not in ("named", "code") and not all(run.entry.weights for run in task.runs):
        return Verdict(Tier.SELF_REPORTED, "the bundle has no weights to run again")
    with tempfile.TemporaryDirectory(prefix="pkubench-verify-") as folder:
        try:
            source = _agent(bundle, task, Path(folder), player)
            found = player.again(source, task)
            copies = [] if kind in _TIERS or found.problem else suspicions(task, Path(folder))
            unknown: Played = {}
            if secret is not None and not (found.problem or copies):
                unknown = player.secret(source, task.task, secret)
        except NoSandbox as error:
            if player.sandbox_graphs:
                raise
            return Verdict(
                Tier.SELF_REPORTED, f"the agent cannot be run again: {printable(str(error))}"
            )
        except (AgentError, UnknownName, RefusedError) as error:
            check_undisturbed([str(error)])
            return Verdict(
                Tier.SELF_REPORTED, f"the agent cannot be run again: {printable(str(error))}"
            )
    check_undisturbed(record.failure for records in unknown.values() for record in records)
    if found.is_late:
        return Verdict(Tier.SELF_REPORTED, f"the agent cannot be run again: {found.problem}")
    if found.replayed != sum(len(run.records) for run in task.runs):
        raise RuntimeError(f"only {found.replayed} episodes were played again, not all of them")
    if found.problem:
        reason = f"played again, the agent produced different episodes: {found.problem}"
        return Verdict(Tier.SELF_REPORTED, reason, is_contradicted=True)
    if copies:
        return Verdict(Tier.FLAGGED, f"looks like one training counted twice: {copies[0]}")
    tier = _TIERS.get(kind, Tier.VERIFIED_WEIGHTS)
    if any(ran_late(record) for records in unknown.values() for record in records):
        return Verdict(Tier.SELF_REPORTED, "its secret episodes did not end within the time limits")
    lines = _lines(task.task, {run: _without_texts(records) for run, records in unknown.items()})
    doubt = _doubt(task, found, unknown) if tier is Tier.VERIFIED_WEIGHTS else ""
    if found.reproduced == found.replayed:
        if doubt:
            return Verdict(Tier.FLAGGED, doubt, secret=lines)
        return Verdict(tier, found.how, secret=lines)
    how = f"{found.how}; the episodes shown are those played here"
    if doubt:
        tier, how = Tier.FLAGGED, doubt
    return Verdict(tier, how, played=_lines(task.task, found.records), secret=lines)


def _doubt(task: BundleTask, found: Replay, unknown: Played) -> str:
    """Return why an entry is implausible by the episodes that rank it; "" if it is not."""
    own = {run.name: found.records.get(run.name, run.records) for run in task.runs}
    curves = curves_of(run.curve for run in task.runs)
    doubt = implausible(task.task, unknown or own, curves)
    return f"implausible: {doubt}" if doubt else ""


def _agent(
    bundle: Bundle, task: BundleTask, folder: Path, player: _Player
) -> AgentSource | SandboxSource:
    """Return the agent of a bundle, with the runs of a task."""
    if bundle.manifest.kind == "code":
        return _sandboxed(bundle, task, bundle.extract_code(folder / "code"), player.limits)
    if bundle.manifest.kind in _GRAPHS and player.sandbox_graphs:
        return _sandboxed(bundle, task, folder, player.limits)
    sources = [_source(bundle, task, run, folder / run.name) for run in task.runs]
    runs = tuple(
        replace(source.runs[0], label=run.name)
        for source, run in zip(sources, task.runs, strict=True)
    )
    return replace(sources[0], name=bundle.manifest.name, runs=runs)


def _sandboxed(bundle: Bundle, task: BundleTask, folder: Path, limits: Limits) -> SandboxSource:
    """Return an agent that runs in a sandbox, within the harness's limits of time.

    Raises:
        RefusedError: there is no sandbox here.
    """
    check_bubblewrap()
    within = SandboxLimits(
        # Longer than the harness's own limit, which decides and is known to be one of time.
        reply_s=(limits.act or SandboxLimits().reply_s) + 5.0,
        load_s=limits.load or SandboxLimits().load_s,
    )
    runs = []
    for run in task.runs:
        place, agent = folder, bundle.manifest.agent
        if bundle.manifest.kind != "code":
            place = bundle.extract_weights(run, folder / run.name)
            agent = _graph_spelling(bundle, place, Path(AGENT))
        is_code = bundle.manifest.kind == "code"
        runs.append(SandboxRun(run.name, place, agent, task.task.id, within, is_code=is_code))
    (runtimes, *_) = [of.runtimes for of in prefixes().values() if of.bundle in _GRAPHS]
    is_graph = bundle.manifest.kind in _GRAPHS
    return SandboxSource(
        bundle.manifest.name, tuple(runs), runtimes=tuple(runtimes) if is_graph else ()
    )


def _graph_spelling(bundle: Bundle, folder: Path, seen_as: Path) -> str:
    """Return how an agent of ONNX graphs in a folder is spelled where that is ``seen_as``."""
    graphs = sorted(folder.glob("*.onnx"))
    alone = len(graphs) == 1 and not (folder / "team.json").exists()
    (prefix,) = (name for name, of in prefixes().items() if of.bundle == bundle.manifest.kind)
    return f"{prefix}:{seen_as / graphs[0].name if alone else seen_as}"


def _without_texts(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """Return records whose failures say only of what kind they are.

    The text of an error is the agent's: it could hold what it observed in a secret episode.
    """
    return [
        record
        if record.failure is None
        else replace(record, failure=record.failure.partition(":")[0])
        for record in records
    ]


def _lines(task: Task, played: Played) -> dict[str, bytes]:
    return {
        label: "".join(f"{record.line(task)}\n" for record in records).encode()
        for label, records in played.items()
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
    return resolve_agent(_graph_spelling(bundle, folder, folder), task.task)


def _count(task: BundleTask) -> str:
    runs, episodes = len(task.runs), sum(len(run.records) for run in task.runs)
    return f"{counted(episodes, task.task.scoring.unit)} of {counted(runs, 'run')}"
