"""Double oracle (PSRO with exact responses): grow each player's population by best responses.

McMahan, Gordon and Blum (2003) and, as PSRO with an exact oracle and an exact Nash metasolver,
Lanctot et al. (2017). An iteration solves the restricted game by linear programming, answers each
player's mixture with an exact pure best response on the game tree, and adds the answers that gain
something. It ends, after finitely many iterations, at an equilibrium of the full game. This is the
reference curve that PSD-PSRO and its baselines are measured against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pkubench.agents.psro.learner import Floats, Tensors
from pkubench.envs.games.linear_programs import matrix_game
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class PSROConfig:
    """Settings of the preset ``psro``."""

    iterations: int = 300
    """Iterations unless the run is given a number of steps; Leduc poker is then within 0.1 of
    NashConv 0, Kuhn poker stops by itself after about six."""
    tolerance: float = 1e-9
    """A response that gains at most this (times the largest payoff) is not added."""
    ties: Literal["lowest", "random"] = "random"
    """Which of equally good actions a response takes. Where the opponent never leads, all are
    equal: a fixed choice there makes weak policies, a random one keeps populations diverse."""
    pe_every: int = 1
    """Population exploitability is computed at every so many iterations (and at the last)."""

    def __post_init__(self) -> None:
        """Check the domains."""
        if self.iterations < 1:
            raise ConfigError(f"iterations must be at least 1, got {self.iterations}")
        if self.ties not in ("lowest", "random"):
            raise ConfigError(f"ties must be 'lowest' or 'random', got {self.ties!r}")
        if not 0.0 <= self.tolerance < 1.0:
            raise ConfigError(f"tolerance must lie in [0, 1), got {self.tolerance}; default 1e-9")
        if self.pe_every < 1:
            raise ConfigError(f"pe_every must be at least 1, got {self.pe_every}")


class DoubleOracle:
    """Two growing populations of pure policies, one a player, starting from a random one each."""

    pure = True
    report_every = 1

    def __init__(self, tree: ZeroSumGame, config: PSROConfig, seed: int) -> None:
        """Draw the first policy of each player: one uniformly chosen action at every state."""
        self.tree, self.config, self.seed, self.iteration = tree, config, seed, 0
        rng = np.random.default_rng(seed)
        self._plans = [[tree.random_plan(player, rng, pure=True)] for player in (0, 1)]
        self._refresh()

    def _refresh(self) -> None:
        """Solve the restricted game and find both exact responses."""
        tree = self.tree
        self._meta_payoff = tree.payoffs(*self.plans())
        self.restricted = matrix_game(self._meta_payoff)
        self._answer()

    def _answer(self) -> None:
        rows, columns = self.plans()
        x = self.tree.mix(rows, self.restricted.x)
        y = self.tree.mix(columns, self.restricted.y)
        value = self.tree.expected_value(x, y)
        # A stream of its own for each iteration: a resumed run draws the same lots.
        rng = (
            np.random.default_rng([self.seed, self.iteration])
            if self.config.ties == "random"
            else None
        )
        best_0 = self.tree.best_response(0, y, rng)
        best_1 = self.tree.best_response(1, x, rng)
        self._gains = (best_0[0] - value, best_1[0] + value)
        self._responses = (best_0[1], best_1[1])

    @property
    def finished(self) -> bool:
        """Whether neither player's response gains anything: an equilibrium is reached."""
        return max(self._gains) <= self.config.tolerance * self.tree.max_utility

    def advance(self) -> None:
        """Add both responses and solve the larger restricted game."""
        new: list[list[Floats]] = [[], []]
        for player, gain in enumerate(self._gains):
            if gain > self.config.tolerance * self.tree.max_utility:
                new[player] = [self._responses[player]]
                self._plans[player] += new[player]
        old, tree = self._meta_payoff, self.tree
        payoff = np.zeros((len(self._plans[0]), len(self._plans[1])))
        payoff[: old.shape[0], : old.shape[1]] = old
        if new[0]:
            payoff[-1] = tree.payoffs(new[0], self._plans[1])[0]
        if new[1]:
            payoff[:, -1] = tree.payoffs(self._plans[0], new[1])[:, 0]
        self._meta_payoff = payoff
        self.restricted = matrix_game(payoff)
        self.iteration += 1
        self._answer()

    def measure(self, last: bool) -> dict[str, float]:
        """Return the figures of the present populations (payoff units of the game)."""
        nash_conv = max(sum(self._gains), 0.0)
        metrics = {
            "nash_conv": nash_conv,
            "exploitability": 0.5 * nash_conv,
            "restricted_value": self.restricted.value,
            "policies": float(len(self._plans[0]) + len(self._plans[1])),
        }
        if last or self.finished or self.iteration % self.config.pe_every == 0:
            metrics["population_exploitability"] = self.tree.population_exploitability(
                *self.plans()
            )
        return metrics

    def plans(self) -> tuple[Floats, Floats]:
        """Return both populations, one realization plan a row."""
        return np.stack(self._plans[0]), np.stack(self._plans[1])

    def meta_strategy(self) -> tuple[Floats, Floats]:
        """Return both players' equilibrium mixtures of the restricted game."""
        return self.restricted.x, self.restricted.y

    def state(self) -> Tensors:
        """Return what :meth:`restore` needs to go on to the same populations."""
        rows, columns = self.plans()
        return {
            "iteration": np.array([self.iteration], np.int64),
            # Pure plans hold zeros and ones.
            "plans_0": rows.astype(np.int8),
            "plans_1": columns.astype(np.int8),
        }

    def restore(self, state: Tensors) -> None:
        """Go back to a saved state."""
        self.iteration = int(state["iteration"][0])
        self._plans = [list(state[f"plans_{p}"].astype(np.float64)) for p in (0, 1)]
        self._refresh()
