"""The session: one loop for every learner, for one seed or several in parallel.

``iterate -> validate -> log -> checkpoint``, in folders that record what is trained before the
first step. Stopped early (Ctrl-C) or killed at any moment, a run is resumed to exactly the weights
it would have had: a checkpoint holds the learner's state, the results of validation, and the global
generators; what was logged after it is cut from the curve.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pkubench.agents.learner import BatchLearner, Learner
from pkubench.agents.registry import import_function
from pkubench.agents.saved.runs import check_resumable
from pkubench.envs.core.generators import generator_states, seed_generators, set_generators
from pkubench.envs.core.seeding import agent_seeds
from pkubench.errors import ConfigError
from pkubench.tasks.task import Task
from pkubench.training import checkpoints
from pkubench.training.progress import Progress
from pkubench.training.request import Request, request
from pkubench.training.run import SeedRun


def train(
    agent: str,
    task: Task,
    *,
    seed: int,
    out: Path,
    steps: int | None = None,
    settings: Mapping[str, str] | None = None,
    resume: bool = False,
    **options: Any,
) -> Generator[Progress, None, None]:
    """Train one seed of an agent; yield a report per update (or as often as its family reports).

    Args:
        agent: Name of a preset.
        task: What to train on.
        seed: Everything random derives from it.
        out: Run folder: ``training.json`` before the first step, ``training.jsonl`` and
            ``checkpoint/`` meanwhile, ``config.json`` and ``weights.safetensors`` at the end.
        steps: Budget in the family's unit; None is the task's own, or the learner's.
        settings: Changes, ``name -> text``, of the preset's settings.
        resume: Resume the run in ``out``: from its checkpoint, or from the start if it was killed
            before its first one.
        options: As :func:`pkubench.training.request.request`: ``device``, ``validation`` (none if
            left), ``track``, ``inputs``, ``env_kwargs``, ``save_points``.

    Raises:
        ConfigError: Settings out of domain, or ``out`` holds another run.
        PkubenchError: As :func:`request`.
    """
    asked = request(agent, task, settings or {}, steps=steps, seeds=[seed], **options)
    for reports in run_request(asked, [out], resume=resume):
        yield reports[0]


def train_batch(
    agent: str,
    task: Task,
    *,
    seeds: Sequence[int],
    outs: Sequence[Path],
    steps: int | None = None,
    settings: Mapping[str, str] | None = None,
    resume: bool = False,
    **options: Any,
) -> Generator[list[Progress], None, None]:
    """Train several seeds in parallel in one process, each into its folder; see :func:`train`."""
    asked = request(agent, task, settings or {}, steps=steps, seeds=seeds, **options)
    yield from run_request(asked, outs, resume=resume)


def run_request(
    asked: Request, outs: Sequence[Path], *, resume: bool = False
) -> Generator[list[Progress], None, None]:
    """Run a requested training; yield the report of each seed.

    Closing the generator early leaves checkpoints, from which ``resume=True`` continues.

    Raises:
        ConfigError: A folder holds another run, or nothing where it is to be resumed.
        WeightsError: A checkpoint is damaged.
        StorageError: A folder cannot be written.
    """
    if asked.family.plan is not None:
        from pkubench.training.pipelines import run_pipeline

        for progress in run_pipeline(asked, outs[0], resume=resume):
            yield [progress]
        return
    before = generator_states()
    try:
        session = _seeded_session(asked, outs)
        try:
            yield from session.run(resume)
        finally:
            session.close()
    finally:
        set_generators(before)


def _seeded_session(asked: Request, outs: Sequence[Path]) -> Session:
    """Make a session with seeded global generators, before the learners draw from them."""
    seed = int(agent_seeds(np.array(asked.seeds[:1]), "training")[0])
    seed_generators(seed)
    is_seeded = "torch" in sys.modules
    session = Session(asked, outs)
    if "torch" in sys.modules and not is_seeded:
        # The learners imported it, and may have drawn from its generator before it was seeded.
        session.close()
        seed_generators(seed)
        session = Session(asked, outs)
    return session


class Session:
    """The runs of a request and their learners."""

    def __init__(self, asked: Request, outs: Sequence[Path]) -> None:
        """Make the learners.

        Raises:
            PkubenchError: a setting does not fit the task, or a library is missing.
        """
        contexts = [asked.context(seed) for seed in asked.seeds]
        if len(contexts) == 1:
            learner: Learner = import_function(str(asked.family.learner))(contexts[0])
            members: Sequence[Learner] = [learner]
            self._iterate: Callable[[], Sequence[Mapping[str, float]]] = lambda: [learner.iterate()]
        else:
            batch: BatchLearner = import_function(str(asked.family.batch))(contexts)
            members, self._iterate = batch.members, batch.iterate
        self.is_anytime = members[0].is_anytime
        self.runs = [
            SeedRun(asked, context, member, Path(out))
            for context, member, out in zip(contexts, members, outs, strict=True)
        ]
        self._spacing = checkpoints.Spacing()
        self._is_begun = False
        """Whether there is an iteration to resume from."""

    @property
    def _is_over(self) -> bool:
        return all(run.is_over for run in self.runs)

    def run(self, resume: bool) -> Generator[list[Progress], None, None]:
        """Train to the end, from the start or from the checkpoints."""
        for run in self.runs:
            run.begin(resume)
        is_resumed = False
        if resume:
            left = [check_resumable(run.out) for run in self.runs]
            if not any(left):
                return
            if not all(left):
                raise ConfigError("some of the runs are finished: resume the others one by one")
            is_resumed = self._load()
            if is_resumed and self._is_over:
                self._finish()
                return
        generators = generator_states()
        self._is_begun = resume
        try:
            for run in self.runs:
                run.open_trackers(is_resumed)
            set_generators(generators)  # trackers may have drawn from them
            yield from self._loop()
        except Exception:
            if not self._is_begun:  # what failed at once must not block the corrected command
                for run in self.runs:
                    run.discard()
            raise

    def _loop(self) -> Generator[list[Progress], None, None]:
        # An interrupt may come in the middle of an update, where networks and environments are not
        # in the state of any step of the run; checkpoints are taken between updates.
        whole = self._snapshot()
        is_between, is_saved = True, True
        try:
            while not self._is_over:
                is_between = False
                before = [run.done for run in self.runs]
                started = time.perf_counter()
                figures = self._iterate()
                elapsed = time.perf_counter() - started
                found = [
                    run.report(of, elapsed, at)
                    for run, of, at in zip(self.runs, figures, before, strict=True)
                ]
                is_between, is_saved, self._is_begun = True, False, True
                whole = self._snapshot()
                if self._spacing.is_due and not self._is_over:
                    self._checkpoint()
                    is_saved = True
                reports = [report for report in found if report is not None]
                if len(reports) == len(found):
                    yield reports
            self._finish()
            is_saved = True
        finally:
            if not is_between and whole is not None:
                self._restore(whole)
                is_between = True
            if not is_saved and is_between:
                self._checkpoint()

    def _snapshot(self) -> Any:
        """Return the state between updates of learners that can be restored to it at any time."""
        if not self.is_anytime:  # their state is large, and a checkpoint can restore it
            return None
        return [run.learner.state() for run in self.runs]

    def _restore(self, whole: Any) -> None:
        for run, state in zip(self.runs, whole, strict=True):
            run.learner.load_state(state)

    def _checkpoint(self) -> None:
        started = time.monotonic()
        generators = generator_states()
        states = [{**run.state(), "generators": generators} for run in self.runs]
        checkpoints.write([run.out for run in self.runs], states, [r.facts() for r in self.runs])
        if self.is_anytime:
            for run in self.runs:
                run.save()
        self._spacing.wrote(time.monotonic() - started)

    def _load(self) -> bool:
        """Restore the checkpoints; return whether there were any."""
        folders = [run.out for run in self.runs]
        found = checkpoints.common(folders)
        if found is None:  # killed before the first one
            return False
        for run, generation in zip(self.runs, found, strict=True):
            state = checkpoints.read(run.out, generation)
            run.load(state, generation.facts)
        set_generators(state["generators"])
        return True

    def _finish(self) -> None:
        """Save the agents and remove what only a resumed run would need."""
        if self.is_anytime:
            if not all(run.is_saved for run in self.runs):
                self._checkpoint()
            return
        for run in self.runs:
            run.save()
        for run in self.runs:
            checkpoints.discard(run.out)

    def close(self) -> None:
        """Close every run."""
        for run in self.runs:
            run.close()
