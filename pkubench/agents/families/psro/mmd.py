"""Magnetic mirror descent (MMD): regularised policies, whose last iterate converges.

Sokota et al. (2023). At every information state, both players simultaneously,

    b'(a) ~ [b(a) m(a)^(eta alpha) exp(eta q(a))]^(1 / (1 + eta alpha)),

with the magnet ``m`` and ``q(a)`` the value of an action, conditional on the state and with play
according to ``b`` after it (no entropy in it). With a uniform magnet that stays, a fixed ``alpha``
and a small ``eta`` this converges to the agent quantal response equilibrium, in which every state
plays ``b(a) ~ exp(q(a) / alpha)``. Two schedules go to a Nash equilibrium: ``alpha`` and ``eta``
that fall as ``1 / sqrt(t)``, and a magnet that follows the policy, ``m' ~ m^(1 - beta) b'^beta``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from pkubench.agents.families.psro.learner import AverageLearner, Floats, Tensors
from pkubench.agents.settings import check_domains
from pkubench.envs.games.forest import Forest
from pkubench.envs.games.tree import GameTree
from pkubench.errors import ConfigError

_FLOOR = 1e-10
"""Least probability of an action: conditional values divide by what opponents do."""
_SCHEDULES = ("fixed", "annealed", "magnet")


@dataclass(frozen=True, slots=True, kw_only=True)
class MMDConfig:
    """Settings of the presets ``mmd``, ``mmd-magnet`` and ``mmd-qre``."""

    is_random: ClassVar[bool] = False
    """Deterministic: all seeds give the same run."""
    schedule: Literal["fixed", "annealed", "magnet"] = "annealed"
    """``fixed`` (a quantal response equilibrium), ``annealed`` (``alpha`` and ``eta`` divided by
    the root of the iteration) or ``magnet`` (it follows the policy)."""
    alpha: float = 1.0
    """Weight of the distance from the magnet, in units of payoff."""
    eta: float = 1.0
    """Step size, in units of 1 over payoff."""
    beta: float = 0.05
    """Share of the new policy in the magnet, with ``schedule=magnet``."""
    iterations: int = 1000
    """Iterations of a run without a given number of steps."""
    tolerance: float = 0.0
    """Stop when NashConv is at most this times the largest payoff."""
    report_every: int = 10
    """Iterations between two lines of the training curve."""

    def __post_init__(self) -> None:
        """Check the domains."""
        if self.schedule not in _SCHEDULES:
            listed = ", ".join(map(repr, _SCHEDULES))
            raise ConfigError(f"schedule must be one of {listed}, got {self.schedule!r}")
        check_domains(
            self,
            at_least_one=("iterations", "report_every"),
            positive=("alpha", "eta"),
            shares=("beta",),
        )
        if not 0.0 <= self.tolerance < 1.0:
            raise ConfigError(f"tolerance must lie in [0, 1), got {self.tolerance}")


class MMD(AverageLearner):
    """Both players' policies and magnets. Deterministic: it starts from the uniform policy."""

    def __init__(self, tree: GameTree, config: MMDConfig, seed: int = 0) -> None:
        """Start from the uniform policy. ``seed`` has no effect."""
        self.game = self.tree = tree
        self.config, self.iteration = config, 0
        self.report_every = config.report_every
        self._forests = tree.form.forests
        self._uniform = [forest.behaviour(np.zeros(forest.size)) for forest in self._forests]
        self.behaviours = [start.copy() for start in self._uniform]
        self.magnets = [start.copy() for start in self._uniform]
        self._plans = [forest.plan(b) for forest, b in self._pairs()]

    def _pairs(self) -> list[tuple[Forest, Floats]]:
        return list(zip(self._forests, self.behaviours, strict=True))

    @property
    def finished(self) -> bool:
        """Whether the present policy is within the tolerance of an equilibrium."""
        if self.config.tolerance == 0.0:
            return False
        bar = self.config.tolerance * self.tree.max_utility
        return self.tree.nash_conv(*self.average()) <= bar

    def action_values(self, player: int) -> Floats:
        """Return the value of each action, conditional on its state, ``(sequences - 1,)``."""
        forest, opponent = self._forests[player], self._plans[1 - player]
        worth = forest.average(self.tree.gains(player, opponent), self.behaviours[player])
        # How probable the others make each state: what they put on its ends, under any own play.
        ends = np.array(self.tree.terminal_weights(player, opponent))
        reach = forest.average(ends, self._uniform[player])
        return np.asarray(worth[1:] / reach[1:])

    def advance(self) -> None:
        """Do one simultaneous update."""
        config = self.config
        self.iteration += 1
        fall = self.iteration**-0.5 if config.schedule == "annealed" else 1.0
        alpha, eta = config.alpha * fall, config.eta * fall
        values = [self.action_values(player) for player in (0, 1)]
        for player, forest in enumerate(self._forests):
            new = _moved(
                forest, self.behaviours[player], self.magnets[player], values[player], alpha, eta
            )
            if config.schedule == "magnet":
                logs = (1.0 - config.beta) * np.log(self.magnets[player])
                self.magnets[player] = _normalised(forest, logs + config.beta * np.log(new))
            self.behaviours[player] = new
        self._plans = [forest.plan(b) for forest, b in self._pairs()]

    def average(self) -> tuple[Floats, Floats]:
        """Return both present policies, as plans: the last iterate is the result."""
        return self._plans[0], self._plans[1]

    def state(self) -> Tensors:
        """Return what :meth:`restore` needs to resume bit for bit."""
        return {
            "iteration": np.array([self.iteration], np.int64),
            **{f"behaviour_{p}": self.behaviours[p].copy() for p in (0, 1)},
            **{f"magnet_{p}": self.magnets[p].copy() for p in (0, 1)},
        }

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self.iteration = int(state["iteration"][0])
        self.behaviours = [state[f"behaviour_{p}"].copy() for p in (0, 1)]
        self.magnets = [state[f"magnet_{p}"].copy() for p in (0, 1)]
        self._plans = [forest.plan(b) for forest, b in self._pairs()]


def _moved(
    forest: Forest, behaviour: Floats, magnet: Floats, values: Floats, alpha: float, eta: float
) -> Floats:
    """Return a behaviour after a step of mirror descent, float64 ``(sequences,)``."""
    logs = np.log(behaviour) + eta * alpha * np.log(magnet)
    logs[1:] += eta * values
    return _normalised(forest, logs / (1.0 + eta * alpha))


def _normalised(forest: Forest, logs: Floats) -> Floats:
    """Return the distributions at every state with these logarithms, up to a constant each."""
    state = forest.state_of[1:]
    top = np.maximum.reduceat(logs[1:], forest.starts - 1)[state]
    raised = np.exp(logs[1:] - top)
    shares = np.maximum(raised / np.add.reduceat(raised, forest.starts - 1)[state], _FLOOR)
    behaviour = np.ones(forest.size)
    behaviour[1:] = shares / np.add.reduceat(shares, forest.starts - 1)[state]
    return behaviour
