"""Extensive-form fictitious play (XFP): average best responses to the opponent's average policy.

Heinrich, Lanctot and Silver (2015). Whole policies are averaged, so it is an average of plans; in a
matrix game this is Brown's (1951) fictitious play.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pkubench.agents.families.psro.learner import AverageLearner, Floats, Tensors
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class XFPConfig:
    """Settings of the preset ``xfp``."""

    iterations: int = 1000
    """Iterations of a run without a given number of steps."""
    ties: Literal["lowest", "random"] = "lowest"
    """How a response breaks ties between equally good actions."""
    report_every: int = 10
    """Iterations between two lines of the training curve."""
    response_episodes: int = 20_000
    """Episodes that one response counts for in the curve, as in the population learners."""

    def __post_init__(self) -> None:
        """Check the domains."""
        if self.ties not in ("lowest", "random"):
            raise ConfigError(f"ties must be 'lowest' or 'random', got {self.ties!r}")
        for name in ("iterations", "report_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.response_episodes < 0:
            raise ConfigError(f"response_episodes must be at least 0, got {self.response_episodes}")


class FictitiousPlay(AverageLearner):
    """The average policies of both players, which start uniform."""

    def __init__(self, game: ZeroSumGame, config: XFPConfig, seed: int) -> None:
        """Start from uniform play, which counts as one response."""
        self.game, self.config, self.seed, self.iteration = game, config, seed, 0
        self.report_every = config.report_every
        self._averages = [game.uniform_plan(player) for player in (0, 1)]

    @property
    def finished(self) -> bool:
        """False: an average only converges to an equilibrium."""
        return False

    def advance(self) -> None:
        """Respond to both averages simultaneously and average the responses in."""
        rng = None
        if self.config.ties == "random":
            rng = np.random.default_rng([self.seed, self.iteration])
        answers = [
            self.game.best_response(player, self._averages[1 - player], rng)[1] for player in (0, 1)
        ]
        self.iteration += 1
        for average, answer in zip(self._averages, answers, strict=True):
            average += (answer - average) / (self.iteration + 1)

    def average(self) -> tuple[Floats, Floats]:
        """Return both average policies, as plans."""
        return self._averages[0], self._averages[1]

    def measure(self, last: bool) -> dict[str, float]:
        """Return the metrics of the average policies, and the equivalent number of episodes."""
        episodes = 2.0 * self.iteration * self.config.response_episodes
        return {**super().measure(last), "episodes": episodes}

    def state(self) -> Tensors:
        """Return what :meth:`restore` needs to resume bit for bit."""
        return {
            "iteration": np.array([self.iteration], np.int64),
            **{f"average_{p}": self._averages[p].copy() for p in (0, 1)},
        }

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self.iteration = int(state["iteration"][0])
        self._averages = [state[f"average_{p}"].copy() for p in (0, 1)]
