"""Validation: how good the agent is while it trains, on episodes used for nothing else.

At points spread evenly over the budget the agent is exported, loaded as an evaluation loads it, and
plays some episodes with its usual settings of acting (the mode of its policy), with the code that
evaluations use for a block of episodes. With sampled actions it plays them at every point if asked;
otherwise only the agent to be saved does, after the last point. Every point has its own episodes,
from the run's stream of ``validation_seeds``. No generator of the training is used, so that the
weights are bit-equal with and without validation.

The results decide which weights are saved (``keep``). The mean that selected the best ones is
biased upwards by that selection: scores come from a protocol's episodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from pkubench.agents.learner import Export
from pkubench.agents.registry import AgentFamily, import_function
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.generators import kept_generators, seed_generators
from pkubench.envs.core.seeding import agent_seeds, validation_seeds
from pkubench.errors import AgentError, ConfigError
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.records import returns_by_option
from pkubench.tasks.scoring import validation_plan
from pkubench.tasks.task import Task

LONG_HORIZON = 1000
"""Steps per episode from which on a point has half as many episodes by default."""
Keep = Literal["last", "best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Settings of validation."""

    points: int = 20
    """Spread evenly over the budget; at every update where there are fewer updates."""
    episodes: int = 8
    """Of each point."""
    window: int = 10
    """Points averaged to rate the weights of the last of them."""
    keep: Keep = "last"
    """Which weights are saved: the last ones, or those of the best window's last point."""
    sampled: bool = False
    """Also play every point with sampled actions, at twice the time; else the last point only."""

    def __post_init__(self) -> None:
        """Check the domains."""
        for name in ("points", "episodes", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of validation must be at least 1")
        if self.keep not in get_args(Keep):
            raise ConfigError(f"keep must be last or best, got {self.keep!r}")
        if self.window > self.points:
            raise ConfigError(
                f"a window of {self.window} needs as many points; validation has {self.points}"
            )


def is_exact(task: Task) -> bool:
    """Return whether a learner's own metrics are exact, so that no validation is needed."""
    return not task.scoring.is_played


def validation_for(
    task: Task,
    *,
    points: int | None = None,
    episodes: int | None = None,
    window: int | None = None,
    keep: str = "last",
    sampled: bool = False,
) -> Validation | None:
    """Return the settings for a task; None where nothing is validated.

    Args:
        task: What is trained on.
        points: None is 20, ten of them in the last half of the budget; 0 turns validation off.
        episodes: None is 8, or 4 where an episode lasts 1,000 steps or more.
        window: None is half the points.
        keep: ``last`` or ``best``.
        sampled: Whether every point is also played with sampled actions.

    Raises:
        ConfigError: a number is out of its domain; there are settings for a task whose scores are
            computed; or the best is to be kept without validation.
    """
    if is_exact(task) and any((points, episodes, window)):
        raise ConfigError(
            f"{task.id} is scored by {task.scoring.summary}, so nothing is validated: leave the "
            "settings of validation out"
        )
    if is_exact(task) or points == 0:
        if keep != "last":
            raise ConfigError(f"keep={keep} needs validation, and {task.id} is trained without")
        return None
    points = 20 if points is None else points
    if episodes is None:
        episodes = 4 if (task.protocol.horizon or 0) >= LONG_HORIZON else 8
    how: Any = keep
    return Validation(
        points=points,
        episodes=episodes,
        window=max(points // 2, 1) if window is None else window,
        keep=how,
        sampled=sampled,
    )


class Point(NamedTuple):
    """The result of one validation."""

    at: int
    """How much of the budget was done."""
    first: int
    """Number of its first episode in the run's stream."""
    figures: dict[str, float]
    """Means over its episodes: ``return``, ``length``, and ``cost`` and ``success`` where the task
    has them; and of the episodes with each value of an option, such as ``return:task=2``."""
    failure: str = ""
    """Why there are no means."""


class Best(NamedTuple):
    """The weights that ``keep="best"`` saves, so far."""

    at: int
    rank: tuple[int, float]
    """Whether the window is feasible, and its mean return; its mean cost, negated, if it is not."""
    export: Export


class Validator:
    """Validates one run as it proceeds, and keeps the results."""

    def __init__(
        self, how: Validation, family: AgentFamily, task: Task, env: BatchEnv, seed: int, total: int
    ) -> None:
        """Validate agents of a family; ``env`` has as many copies as a point has episodes."""
        self.how, self.family, self.task, self.env = how, family, task, env
        self.seed, self.total = seed, total
        self.points: list[Point] = []
        self.sampled: list[Point] = []
        self.best_sampled: Point | None = None
        """Of the agent to be saved, where it is not the last one."""
        self.best: Best | None = None

    def is_due(self, done: int, is_last: bool) -> bool:
        """Return whether to validate now that ``done`` of the budget is spent."""
        at = self.points[-1].at if self.points else 0
        return self._number(done) > self._number(at) or (is_last and done > at)

    def _number(self, done: int) -> int:
        return min(done * self.how.points // self.total, self.how.points)

    def validate(
        self, export: Export, identity: Mapping[str, Any], done: int, is_last: bool
    ) -> dict[str, float]:
        """Play the episodes of a point; return metrics for the curve.

        Args:
            export: The agent.
            identity: The entries that its ``config.json`` has besides the export's.
            done: How much of the budget is spent.
            is_last: Whether training is over: the agent to be saved then also samples its actions,
                which those of other points do only if the settings say so.
        """
        first = len(self.points) * self.how.episodes
        point = self._play(export, identity, first, done)
        self.points.append(point)
        figures = {f"validation_{name}": value for name, value in point.figures.items()}
        if self.how.keep == "best":
            self._consider(export, done)
        if "sampled" not in self.family.acting.get("mode", ()):
            return figures
        is_other = self.best is not None and self.best.at != done
        if self.how.sampled or (is_last and not is_other):
            point = self._play(export, identity, first, done, mode="sampled")
            self.sampled.append(point)
            figures |= {f"validation_sampled_{name}": v for name, v in point.figures.items()}
        if is_last and self.best is not None and is_other:
            kept, at = self.best.export, self.best.at
            self.best_sampled = self._play(kept, identity, first, at, mode="sampled")
        return figures

    def _play(
        self, export: Export, identity: Mapping[str, Any], first: int, done: int, **acting: str
    ) -> Point:
        config = {**identity, **export.config}
        saved = SavedAgent(config, dict(export.tensors), export.files)
        seeds = validation_seeds(self.seed, self.how.episodes, first)
        planned = validation_plan(self.task, first + self.how.episodes)[first:]
        episodes = [  # seeds of its own, and the options that are planned
            replace(episode, seed=seed, agent_seed=seed)
            for episode, seed in zip(planned, seeds.tolist(), strict=True)
        ]
        with kept_generators():
            seed_generators(int(agent_seeds(seeds[:1], "global")[0]))
            try:
                # Weights that have diverged cannot be loaded; that is a finding, not an error.
                load = import_function(str(self.family.load))
                entrant = load(saved, self.task, self.family.acting_with(acting))
                records = list(run_block(self.env, entrant, self.task, episodes))
            except AgentError as error:
                return Point(done, first, {}, f"{type(error).__name__}: {error}")
        failures = [record.failure for record in records if record.failure]
        if failures:
            return Point(done, first, {}, failures[0])
        columns: dict[str, list[float]] = {
            "return": [math.nan if r.return_ is None else r.return_ for r in records],
            "length": [float(r.length) for r in records],
        }
        for name in ("cost", "success"):
            found = [getattr(record, name) for record in records]
            if None not in found:
                columns[name] = [float(value) for value in found]
        for name in self.task.further_limits:
            columns[name] = [record.metrics[name] for record in records]
        means = {name: float(np.mean(values)) for name, values in columns.items()}
        return Point(done, first, means | returns_by_option(records))

    def _consider(self, export: Export, done: int) -> None:
        """Keep the newest weights as the best ones if their window is the best."""
        window = self.points[-self.how.window :]
        if len(window) < self.how.window or any(point.failure for point in window):
            return
        mean, limit = self._mean(window, "return"), self.task.cost_limit
        if not math.isfinite(mean):
            return
        cost = self._mean(window, "cost") if limit is not None else math.nan
        further = [
            self._mean(window, name) <= most for name, most in self.task.further_limits.items()
        ]
        is_kept = limit is None or (cost <= limit and all(further))
        rank = (1, mean) if is_kept else (0, -cost)
        if self.best is None or rank >= self.best.rank:
            self.best = Best(done, rank, export)

    @staticmethod
    def _mean(window: list[Point], name: str) -> float:
        return float(np.mean([point.figures[name] for point in window]))

    def facts(self, done: int) -> dict[str, Any]:
        """Return the entries of ``config.json``: the results, and how the weights were chosen."""
        how = self.how
        saved: dict[str, Any] = {"rule": "last", "at": done}
        if how.keep == "best" and self.best is not None:
            saved = {"rule": "best", "at": self.best.at}
        elif how.keep == "best":
            saved["because"] = f"no window of {how.window} points without a failure was full"
        found: dict[str, Any] = {
            "episodes": how.episodes,
            "window": how.window,
            "seed": self.seed,
            "points": [_written(point) for point in self.points],
        }
        if self.best_sampled is not None:
            found["sampled"] = _written(self.best_sampled)
        elif self.sampled and self.sampled[-1].at == saved["at"]:
            found["sampled"] = _written(self.sampled[-1])
        if how.sampled:
            found["sampled_points"] = [_written(point) for point in self.sampled]
        return {"validation": found, "saved": saved}

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        best = None
        if self.best is not None:
            export = self.best.export
            files = {name: np.frombuffer(data, np.uint8) for name, data in export.files.items()}
            best = {
                "at": self.best.at,
                "rank": [*self.best.rank],
                "config": dict(export.config),
                "tensors": dict(export.tensors),
                "files": files,
                "extra": {name: dict(tensors) for name, tensors in export.extra.items()},
            }
        return {
            "points": [point._asdict() for point in self.points],
            "sampled": [point._asdict() for point in self.sampled],
            "best_sampled": None if self.best_sampled is None else self.best_sampled._asdict(),
            "best": best,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.points = [Point(**point) for point in state["points"]]
        self.sampled = [Point(**point) for point in state["sampled"]]
        best, best_sampled = state["best"], state["best_sampled"]
        self.best_sampled = None if best_sampled is None else Point(**best_sampled)
        if best is not None:
            files = {name: data.tobytes() for name, data in best["files"].items()}
            extra = best.get("extra", {})  # absent in checkpoints of earlier releases
            export = Export(best["config"], best["tensors"], files, extra)
            self.best = Best(best["at"], (int(best["rank"][0]), float(best["rank"][1])), export)

    def close(self) -> None:
        """Release the environment."""
        self.env.close()


def _written(point: Point) -> dict[str, Any]:
    failed = {"failure": point.failure} if point.failure else {}
    return {"at": point.at, "first_episode": point.first, **point.figures, **failed}
