"""Extensive-form double oracle (XDO): the restricted game mixes actions, not whole policies.

McAleer, Lanier, Wang, Baldi and Fox (2021). At each information state the players may choose
among the actions that some member of their population plays there, so a population of ``k`` members
stands for up to ``k`` to the power of the information states. The restricted game is solved by
CFR+ until its exploitability is below ``epsilon``, and both sides add best responses of the full
game; ``epsilon`` is halved whenever the full game's exploitability is below it. With
``solver=linear-program`` the restricted game is solved exactly, the sequence-form double oracle of
Bosansky et al. (2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pkubench.agents.families.psro.learner import AverageLearner, Floats, Tensors
from pkubench.agents.settings import check_domains
from pkubench.envs.games.linear_programs import solve_sequence_form
from pkubench.envs.games.tree import GameTree
from pkubench.errors import ConfigError

Bools = NDArray[np.bool_]
_TIED = 1e3
"""Sequences within this times 1e-12 of the best are tied: linear programs leave small errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XDOConfig:
    """Settings of the preset ``xdo``."""

    iterations: int = 100
    """Expansions of a run without a given number of steps."""
    solver: Literal["cfr+", "linear-program"] = "cfr+"
    """How a restricted game is solved."""
    epsilon: float = 16.0
    """Exploitability to which the first restricted game is solved by CFR+, in units of payoff."""
    check_every: int = 50
    """Iterations of CFR+ between two looks at the restricted game's exploitability."""
    most_regret_steps: int = 2_000
    """Largest number of iterations of CFR+ in one restricted game."""
    tolerance: float = 1e-9
    """Stop when NashConv is at most this times the largest payoff."""
    response_episodes: int = 20_000
    """Episodes that one response counts for in the curve, as in the population learners."""

    def __post_init__(self) -> None:
        """Check the domains."""
        if self.solver not in ("cfr+", "linear-program"):
            raise ConfigError(f"solver must be 'cfr+' or 'linear-program', got {self.solver!r}")
        check_domains(
            self,
            at_least_one=("iterations", "check_every", "most_regret_steps"),
            not_negative=("response_episodes",),
            positive=("epsilon",),
        )
        if not 0.0 <= self.tolerance < 1.0:
            raise ConfigError(f"tolerance must lie in [0, 1), got {self.tolerance}; default 1e-9")


class XDO(AverageLearner):
    """The actions that are allowed at each information state, and a solution among them."""

    report_every = 1

    def __init__(self, tree: GameTree, config: XDOConfig, seed: int) -> None:
        """Allow the actions of one random pure policy for each side."""
        self.game = self.tree = tree
        self.config, self.seed, self.iteration = config, seed, 0
        self.regret_steps = 0
        self.epsilon = config.epsilon
        rng = np.random.default_rng(seed)
        self.allowed = [tree.random_plan(player, rng, pure=True) > 0.0 for player in (0, 1)]
        self._matrices = (tree.form.payoff, (-tree.form.payoff.T).tocsr())
        self._solve()

    @property
    def finished(self) -> bool:
        """Whether the restricted game's solution is an equilibrium of the full one."""
        return self._nash_conv <= self.config.tolerance * (self.tree.max_utility or 1.0)

    def advance(self) -> None:
        """Allow the actions of new best responses, and solve the larger game."""
        rng = np.random.default_rng([self.seed, self.iteration])
        unit = _TIED * (self.tree.max_utility or 1.0)
        new = []
        for player in (0, 1):
            worth = self.tree.gains(player, self._solution[1 - player])
            new.append(self.tree.best_plan(player, worth, rng, unit=unit)[1] > 0.0)
        for player in (0, 1):
            self.allowed[player] |= new[player]
        self.iteration += 1
        self._solve()

    def _solve(self) -> None:
        """Solve the restricted game, and score its solution in the full one."""
        forests, allowed = self.tree.form.forests, (self.allowed[0], self.allowed[1])
        if self.config.solver == "linear-program":
            self._solution = solve_sequence_form(forests, self.tree.form.payoff, allowed)
        else:
            self._solution = self._by_regrets()
        self._nash_conv = max(self.tree.nash_conv(*self._solution), 0.0)
        while 0.0 < self._nash_conv / 2.0 < self.epsilon:
            self.epsilon /= 2.0

    def _by_regrets(self) -> tuple[Floats, Floats]:
        """Return the average of CFR+ on the restricted game."""
        forests = self.tree.form.forests
        free = [_with_free_states(self.allowed[p], forests[p].state_of) for p in (0, 1)]
        regrets = [np.zeros(forest.size) for forest in forests]
        sums = [np.zeros(forest.size) for forest in forests]
        behaviours = [forests[p].behaviour(free[p].astype(float)) for p in (0, 1)]
        plans = [forests[p].plan(behaviours[p]) for p in (0, 1)]
        average = plans[0], plans[1]
        for step in range(1, self.config.most_regret_steps + 1):
            for player, forest in enumerate(forests):
                behaviour = behaviours[player]
                values = forest.average(self._matrices[player] @ plans[1 - player], behaviour)
                sums[player] += step * plans[player]
                baseline = np.add.reduceat(values[1:] * behaviour[1:], forest.starts - 1)
                regrets[player][1:] += values[1:] - baseline[forest.state_of[1:]]
                np.maximum(regrets[player], 0.0, out=regrets[player])
                regrets[player][~free[player]] = 0.0
                behaviours[player] = _matched(forest.state_of, regrets[player], free[player])
                plans[player] = forest.plan(behaviours[player])
            self.regret_steps += 1
            if step % self.config.check_every == 0:
                average = sums[0] / sums[0][0], sums[1] / sums[1][0]
                if self._restricted_exploitability(average) < self.epsilon:
                    break
        return average

    def _restricted_exploitability(self, plans: tuple[Floats, Floats]) -> float:
        """Return half of what best responses among allowed actions gain."""
        total = 0.0
        for player, forest in enumerate(self.tree.form.forests):
            gains = self._matrices[player] @ plans[1 - player]
            gains[~self.allowed[player]] = -1e12 * (self.tree.max_utility or 1.0)
            total += float(forest.best(gains)[0])
        return 0.5 * total

    def average(self) -> tuple[Floats, Floats]:
        """Return the solution of the restricted game, as plans."""
        return self._solution

    def measure(self, last: bool) -> dict[str, float]:
        """Return the metrics of the solution, and the equivalent number of episodes."""
        return {
            **super().measure(last),
            "allowed": float(sum(int(allowed.sum()) - 1 for allowed in self.allowed)),
            "regret_steps": float(self.regret_steps),
            "episodes": 2.0 * self.iteration * self.config.response_episodes,
        }

    def state(self) -> Tensors:
        """Return what :meth:`restore` needs to resume to the same result."""
        return {
            "counters": np.array([self.iteration, self.regret_steps], np.int64),
            "epsilon": np.array([self.epsilon]),
            **{f"allowed_{player}": self.allowed[player].copy() for player in (0, 1)},
            **{f"solution_{player}": self._solution[player].copy() for player in (0, 1)},
        }

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self.iteration, self.regret_steps = (int(count) for count in state["counters"])
        self.epsilon = float(state["epsilon"][0])
        self.allowed = [np.asarray(state[f"allowed_{p}"], np.bool_).copy() for p in (0, 1)]
        self._solution = state["solution_0"].copy(), state["solution_1"].copy()
        self._nash_conv = max(self.tree.nash_conv(*self._solution), 0.0)


def _with_free_states(allowed: Bools, state_of: NDArray[np.int64]) -> Bools:
    """Return allowed actions, with all of them where none is: no member leads there."""
    count = np.bincount(state_of[1:], allowed[1:])
    free = allowed.copy()
    free[1:] |= count[state_of[1:]] == 0
    return free


def _matched(state_of: NDArray[np.int64], regrets: Floats, free: Bools) -> Floats:
    """Return regret matching among allowed actions: uniform over them where no regret is left."""
    state = state_of[1:]
    mass = np.bincount(state, regrets[1:])[state]
    number = np.bincount(state, free[1:])[state]
    behaviour = np.ones_like(regrets)
    behaviour[1:] = np.where(mass > 0.0, regrets[1:] / np.where(mass > 0.0, mass, 1.0), 0.0)
    behaviour[1:] += np.where((mass <= 0.0) & free[1:], 1.0 / number, 0.0)
    return behaviour
