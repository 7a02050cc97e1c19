"""CFR+ and CFR on the sequence form: the reference solvers of small games.

CFR+ (Tammelin 2014; Bowling, Burch, Johanson and Tammelin 2015) has alternating updates, regrets
cut at zero, and averaging linear in the iteration. Iteration ``t`` of player ``i`` with behaviour
``b``, from ``u(s) =`` counterfactual value of sequence ``s`` (with play according to ``b`` after
it) and ``v(h) = sum_a b(a) u(ha)``:

    S  <- S + t x(b)                          x(b): the realization plan of b
    R(ha) <- max(R(ha) + u(ha) - v(h), 0)
    b(a) <- R(ha) / sum R(h.), uniform where that is 0/0

CFR (Zinkevich et al. 2007) does not cut regrets, plays by their positive parts, and averages
with equal weights. The average policy is the realization plan ``S / S(empty)``. Each update is one
sparse product and two sweeps over the player's forest, so an iteration on Leduc poker takes a
fraction of a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from pkubench.agents.families.psro.learner import AverageLearner, Floats, Tensors
from pkubench.envs.games.tree import GameTree
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CFRPlusConfig:
    """Settings of the presets ``cfr+`` and ``cfr``."""

    is_random: ClassVar[bool] = False
    """Deterministic: all seeds give the same run."""
    variant: Literal["cfr+", "cfr"] = "cfr+"
    """Whether regrets are cut at zero and the average is linear in the iteration."""
    iterations: int = 1000
    """Iterations of a run without a given number of steps."""
    delay: int = 0
    """Iterations left out of the average; iteration ``t`` weighs ``max(t - delay, 0)``, in CFR 1
    where that is positive."""
    tolerance: float = 0.0
    """Stop when NashConv is at most this times the largest payoff."""
    report_every: int = 10
    """Iterations between two lines of the training curve."""

    def __post_init__(self) -> None:
        """Check the domains."""
        if self.variant not in ("cfr+", "cfr"):
            raise ConfigError(f"variant must be 'cfr+' or 'cfr', got {self.variant!r}")
        if self.iterations < 1:
            raise ConfigError(f"iterations must be at least 1, got {self.iterations}")
        if self.delay < 0:
            raise ConfigError(f"delay must be at least 0, got {self.delay}")
        if not 0.0 <= self.tolerance < 1.0:
            raise ConfigError(f"tolerance must lie in [0, 1), got {self.tolerance}")
        if self.report_every < 1:
            raise ConfigError(f"report_every must be at least 1, got {self.report_every}")


class CFRPlus(AverageLearner):
    """Regret tables of both players. Deterministic: it starts from the uniform policy."""

    def __init__(self, tree: GameTree, config: CFRPlusConfig, seed: int = 0) -> None:
        """Start from zero regrets. ``seed`` has no effect: the algorithm is deterministic."""
        self.game = self.tree = tree
        self.config, self.iteration = config, 0
        self.report_every = config.report_every
        self.regrets = [np.zeros(size) for size in tree.num_sequences]
        self.sums = [np.zeros(size) for size in tree.num_sequences]
        self._matrices = (tree.form.payoff, (-tree.form.payoff.T).tocsr())
        self._refresh()

    def _refresh(self) -> None:
        self._behaviours, self._plans = [], []
        for forest, regrets in zip(self.tree.form.forests, self.regrets, strict=True):
            self._behaviours.append(forest.behaviour(regrets))
            self._plans.append(forest.plan(self._behaviours[-1]))

    @property
    def finished(self) -> bool:
        """Whether the average policy is within the tolerance of an equilibrium."""
        if self.config.tolerance == 0.0:
            return False
        bar = self.config.tolerance * self.tree.max_utility
        return self.tree.nash_conv(*self.average()) <= bar

    def advance(self) -> None:
        """Do one iteration: player 0 first, then player 1 against player 0's new policy."""
        self.iteration += 1
        is_plus = self.config.variant == "cfr+"
        weight = max(self.iteration - self.config.delay, 0)
        weight = weight if is_plus else min(weight, 1)
        for player, forest in enumerate(self.tree.form.forests):
            behaviour, regrets = self._behaviours[player], self.regrets[player]
            values = forest.average(self._matrices[player] @ self._plans[1 - player], behaviour)
            self.sums[player] += weight * self._plans[player]
            own = values[1:]
            baseline = np.add.reduceat(own * behaviour[1:], forest.starts - 1)
            regrets[1:] += own - baseline[forest.state_of[1:]]
            if is_plus:
                np.maximum(regrets, 0.0, out=regrets)
            self._behaviours[player] = forest.behaviour(regrets)
            self._plans[player] = forest.plan(self._behaviours[player])

    def average(self) -> tuple[Floats, Floats]:
        """Return both average policies, as plans."""
        rows = [
            total / total[0] if total[0] > 0.0 else plan
            for total, plan in zip(self.sums, self._plans, strict=True)
        ]
        return rows[0], rows[1]

    def state(self) -> Tensors:
        """Return what :meth:`restore` needs to resume bit for bit."""
        return {
            "iteration": np.array([self.iteration], np.int64),
            **{f"regrets_{p}": self.regrets[p].copy() for p in (0, 1)},
            **{f"sums_{p}": self.sums[p].copy() for p in (0, 1)},
        }

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self.iteration = int(state["iteration"][0])
        self.regrets = [state[f"regrets_{p}"].copy() for p in (0, 1)]
        self.sums = [state[f"sums_{p}"].copy() for p in (0, 1)]
        self._refresh()
