"""One seed of a session: its folder, its curve, its checkpoints and the agent it saves."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkubench.agents.learner import Context, Counters, Learner
from pkubench.agents.saved.files import load_saved, save_agent
from pkubench.agents.saved.runs import CURVE, TRAINING, Ended, begin_training
from pkubench.envs.core.registry import resolve
from pkubench.errors import WeightsError
from pkubench.training.progress import Progress
from pkubench.training.request import Request
from pkubench.training.trackers import Run, Tracker, open_trackers
from pkubench.training.validation import Validator

POINTS = "points"
"""The folder in a run folder with the agents of validation points, by what was done."""
_DONE = {"environment_steps": "steps"}
"""Name of the number done in ``config.json``, where it is not the unit's."""


class SeedRun:
    """One training seed in one folder."""

    def __init__(self, request: Request, context: Context, learner: Learner, out: Path) -> None:
        """Set up the run of a learner that has not trained yet."""
        self.request, self.context, self.learner, self.out = request, context, learner, out
        self.unit = request.family.unit
        self.total = request.total
        self.seconds = 0.0
        """Of updates."""
        self.trackers: list[Tracker] = []
        self.validator: Validator | None = None
        if request.validation is not None:
            how, task = request.validation, request.task
            settings: dict[str, Any] = {}
            if task.protocol.horizon != resolve(task.id).horizon:
                settings["max_episode_steps"] = task.protocol.horizon
            env = context.make_env(how.episodes, **settings)
            self.validator = Validator(how, request.family, task, env, context.seed, request.total)

    @property
    def counters(self) -> Counters:
        """What has been done so far."""
        return self.learner.counters

    @property
    def done(self) -> int:
        """How much of the budget is spent."""
        return int(getattr(self.learner.counters, self.unit))

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to train."""
        return self.done >= self.total or bool(self.learner.ended)

    # Beginning, checkpoints

    def begin(self, resume: bool) -> None:
        """Record what is trained, or check that the folder holds this run.

        Raises:
            ConfigError: it is another.
            StorageError: the folder cannot be written.
        """
        identity = self.request.identity(self.context.seed)
        budget = {"total_steps": self.total}
        if not self.learner.is_anytime:  # what is learned depends on the budget
            identity, budget = {**identity, **budget}, {}
        begin_training(self.out, identity, self.request.command(), resume=resume, more=budget)

    def facts(self) -> dict[str, Any]:
        """Return the facts that identify a checkpoint."""
        facts = {**self.request.identity(self.context.seed), "seconds": self.seconds}
        return {**facts, **self.counters._asdict()}

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint of this run holds."""
        validator = None if self.validator is None else self.validator.state()
        return {"learner": self.learner.state(), "validator": validator}

    def load(self, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Restore a checkpoint.

        Raises:
            WeightsError: it is damaged, or of a learner of another shape.
        """
        try:
            self.learner.load_state(state["learner"])
            if self.validator is not None:
                self.validator.load_state(state["validator"])
            self.seconds = float(facts["seconds"])
        except WeightsError as error:
            raise WeightsError(
                f"the checkpoint in {self.out} cannot be resumed ({error}); delete the run and "
                "train from scratch"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"the checkpoint in {self.out} is damaged ({error}); delete the run and train "
                "from scratch"
            ) from error
        # a budget smaller than what is done does not undo training
        self.total = max(self.total, self.done)

    def open_trackers(self, is_resumed: bool) -> None:
        """Open the curve and the other trackers of this run."""
        short = self.request.task.id.rpartition("/")[2]
        group = f"{self.request.agent}-{short}"
        run = Run(
            folder=self.out,
            name=f"{group}-seed{self.context.seed}",
            group=group,
            config={**self.request.identity(self.context.seed), "total_steps": self.total},
            resumed_at=self.done if is_resumed else None,
        )
        self.trackers = open_trackers(run, self.request.track)

    # Updates

    def report(self, figures: Mapping[str, float], elapsed: float, before: int) -> Progress | None:
        """Validate where it is due and log the figures of an update; None if there are none.

        Args:
            figures: What the learner returned.
            elapsed: Seconds that the update took.
            before: How much of the budget was spent before it.
        """
        self.seconds += elapsed
        done, ended = self.done, self.learner.ended
        is_last = done >= self.total or bool(ended)
        found: dict[str, float] = {}
        if self.validator is not None and self.validator.is_due(done, is_last):
            export = self.learner.export()
            found = self.validator.validate(export, self._identity(), done, is_last)
            if self.request.save_points:
                config = {**self._identity(), self._done_name: done, **export.config}
                folder = self.out / POINTS / str(done)
                save_agent(folder, config, dict(export.tensors), export.files)
        if not figures and not found:
            return None
        metrics = {**figures, **self._gradient_steps}
        if self.unit == "environment_steps":
            metrics["steps_per_second"] = round((done - before) / elapsed, 6)
        metrics.setdefault("seconds", round(self.seconds, 6))
        metrics |= {name: round(value, 6) for name, value in found.items()}
        known = {name: value for name, value in metrics.items() if value == value}  # no NaN
        for tracker in self.trackers:
            tracker.log(done, known)
        return Progress(done, self.total, known, ended)

    # The agent

    @property
    def is_saved(self) -> bool:
        """Whether the folder holds the agent of all that is done."""
        try:
            config = load_saved(self.out).config
        except WeightsError:  # there is none, or a kill struck between its files
            return False
        return config.get("ended") != Ended.STOPPED and config.get(self._done_name) == self.done

    @property
    def _done_name(self) -> str:
        return _DONE.get(self.unit, self.unit)

    @property
    def _gradient_steps(self) -> dict[str, int]:
        """The number of gradient steps so far, for the curve and ``config.json``, if counted."""
        count = self.counters.gradient_steps
        return {"gradient_steps": count} if count else {}

    def save(self) -> None:
        """Save the current agent, or the best one with ``keep="best"``."""
        newest = self.learner.export()
        kept = newest
        if self.validator is not None and self.validator.best is not None:
            kept = self.validator.best.export
        # what the learner reports of the training is of all of it, whichever weights are kept
        config = {**self._identity(), **self._about(), **newest.about, **kept.config}
        save_agent(self.out, config, dict(kept.tensors), kept.files, kept.extra)

    def _identity(self) -> dict[str, Any]:
        identity = self.request.identity(self.context.seed)
        return {"kind": self.request.family.kind, **identity}

    def _about(self) -> dict[str, Any]:
        """Return the entries of ``config.json`` on the training so far."""
        about: dict[str, Any] = {"total_steps": self.total, self._done_name: self.done}
        about |= self._gradient_steps
        if self.learner.is_anytime:
            stopped = Ended.COMPLETE if self.done >= self.total else Ended.STOPPED
            about["ended"] = Ended.SOLVED if self.learner.ended else stopped
        else:
            about["seconds"] = round(self.seconds, 1)
        if self.request.device != "cpu":  # kernels there add up in no fixed order
            about["resumes"] = "approximate"
        if self.validator is not None:
            about |= self.validator.facts(self.done)
        return {**about, "command": self.request.command(self.total)}

    def discard(self) -> None:
        """Remove what a run without an iteration has written."""
        for tracker in self.trackers:
            tracker.close()
        self.trackers = []
        for name in (TRAINING, CURVE):
            (self.out / name).unlink(missing_ok=True)
        shutil.rmtree(self.out / "tensorboard", ignore_errors=True)
        (self.out / "wandb.id").unlink(missing_ok=True)

    def close(self) -> None:
        """Close trackers and environments."""
        for tracker in self.trackers:
            tracker.close()
        if self.validator is not None:
            self.validator.close()
        self.learner.close()
