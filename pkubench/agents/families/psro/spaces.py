"""Policies of a zero-sum game as rows of an array: payoffs, responses and exact scores.

The outer loop treats rows as opaque. A row is a plan of a ``ZeroSumGame`` here, a point of the
plane in ``mixture_points``.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from pkubench.agents.families.psro.learner import Tensors
from pkubench.agents.families.psro.oracles import Aim, PlanOracle
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.normal_form import MatrixGame, SymmetricMatrixGame
from pkubench.envs.games.simplex import wide_game
from pkubench.envs.games.zero_sum import ZeroSumGame


class Situation(NamedTuple):
    """What a response depends on.

    Attributes:
        side: The responding side, 0 or 1.
        row: The present policy.
        own: Policies before it on its own side, ``(members, ...)``.
        own_weights: Their meta-strategy, ``(members,)``.
        opponents: Policies of the other side.
        weights: The distribution over them to respond to, ``(opponents,)``.
        payoffs: Of each of ``own`` against each opponent, in units of the game.
        iteration: Iterations done before.
    """

    side: int
    row: Floats
    own: Floats
    own_weights: Floats
    opponents: Floats
    weights: Floats
    payoffs: Floats
    iteration: int


class Response(NamedTuple):
    """A policy after a response.

    Attributes:
        row: The new policy.
        payoff: Its payoff against the target distribution, in units of the game.
        gain: The best response's gain over the meta-strategy; infinite for a response that did not
            maximise payoff alone.
    """

    row: Floats
    payoff: float
    gain: float


class PolicySpace(Protocol):
    """The outer loop's interface to a game."""

    sides: tuple[int, ...]
    """``(0,)`` if one population plays both sides, else ``(0, 1)``."""
    scale: float
    """The largest payoff."""
    pure: bool
    """Whether all policies are pure plans, of zeros and ones."""
    scorer: str = "nash"
    """The meta-solver of the scored equilibrium; the same for all learners of a game."""
    is_pe_expensive: bool = False
    """Whether population exploitability soon takes longer than an iteration."""
    episodes: int | None = None
    """Plays that responses were learned from; None where none are played."""

    def fresh(self, side: int, rng: np.random.Generator) -> Floats:
        """Return a random policy."""
        ...

    def payoffs(self, rows: Floats, columns: Floats) -> Floats:
        """Return the payoffs of the first side's policies against the second's."""
        ...

    def respond(self, situation: Situation, rng: np.random.Generator) -> Response:
        """Return the response of a policy."""
        ...

    def gains(self, populations: tuple[Floats, Floats], meta: tuple[Floats, Floats]) -> Floats:
        """Return each side's best-response gain over the meta-strategies, ``(2,)``."""
        ...

    def population_exploitability(self, populations: tuple[Floats, Floats]) -> float:
        """Return the exact population exploitability, on the scale of NashConv."""
        ...

    def plans(self, side: int, rows: Floats) -> Floats:
        """Return policies as plans of the game; by default, rows are plans."""
        return rows

    def state(self) -> Tensors:
        """Return what ``restore`` needs besides the rows: nothing for a stateless space."""
        return {}

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        return None


class PlanSpace(PolicySpace):
    """The plans of a tree or matrix game."""

    def __init__(self, game: ZeroSumGame, config: PSROConfig) -> None:
        """Use ``game``; a symmetric one with one population."""
        assert isinstance(config.oracle, PlanOracle)
        self.game, self.config, self._oracle = game, config, config.oracle
        self.sides = (0,) if isinstance(game, SymmetricMatrixGame) else (0, 1)
        self.scale = game.max_utility or 1.0
        self.pure, self.is_pe_expensive = config.pure, not isinstance(game, MatrixGame)
        if isinstance(game, MatrixGame):  # where an iteration takes less time than HiGHS
            self.scorer = "nash-simplex"
        self._binding: list[Ints | None] = [None, None]
        self._worth: list[dict[bytes, Floats]] = [{}, {}]

    def fresh(self, side: int, rng: np.random.Generator) -> Floats:
        """Return a random plan: pure if all are, else drawn as in official code."""
        if isinstance(self.game, MatrixGame) and not self.config.pure:
            draws = rng.random(self.game.shape[side])
            return np.asarray(draws / draws.sum())
        return self.game.random_plan(side, rng, pure=self.config.pure)

    def payoffs(self, rows: Floats, columns: Floats) -> Floats:
        """Return the exact payoff table."""
        return self.game.payoffs(rows, columns)

    def gains(self, populations: tuple[Floats, Floats], meta: tuple[Floats, Floats]) -> Floats:
        """Return each side's best-response gain, by exact sweeps."""
        mixed = [self.game.mix(rows, w) for rows, w in zip(populations, meta, strict=True)]
        found = []
        for side in self.sides:
            worth = self.game.gains(side, mixed[1 - side])
            best, _ = self.game.best_plan(side, worth)
            found.append(best - float(mixed[side] @ worth))
        return np.array([found[0], found[-1]])

    def population_exploitability(self, populations: tuple[Floats, Floats]) -> float:
        """Return it exactly; in matrix games warm-started from the last active columns."""
        if not isinstance(self.game, MatrixGame):
            return self.game.population_exploitability(*populations)
        guaranteed = []
        for side in self.sides:
            known = {row.tobytes(): self._worth_of(side, row) for row in populations[side]}
            self._worth[side] = known  # drop policies that have changed
            worth = np.stack([known[row.tobytes()] for row in populations[side]])
            solution, self._binding[side] = wide_game(worth, self._binding[side])
            guaranteed.append(float((solution.x @ worth).min()))
        return max(-sum(guaranteed) * (2 // len(self.sides)), 0.0)

    def _worth_of(self, side: int, row: Floats) -> Floats:
        """Return a policy's payoff against each action; most rows are cached."""
        assert isinstance(self.game, MatrixGame)
        name = row.tobytes()
        if name not in self._worth[side]:
            self._worth[side][name] = (
                row @ self.game.payoff if side == 0 else -(self.game.payoff @ row)
            )
        return self._worth[side][name]

    # Responses

    def respond(self, situation: Situation, rng: np.random.Generator) -> Response:
        """Return a policy's response: a plain one, or by chance a diverse one."""
        game, side = self.game, situation.side
        oracle, diversity = self._oracle, self.config.diversity
        opponent = game.mix(situation.opponents, situation.weights)
        worth = game.gains(side, opponent)
        bonus, payoff_weight, step = None, 1.0 / self.scale, oracle.step_size
        if diversity.is_sought(rng):
            bonus, seeks_payoff = diversity.bonus(game, situation, opponent, rng)
            payoff_weight *= seeks_payoff
            step = diversity.step_size
        plan, gain = oracle.plan(
            game, situation, Aim(worth, payoff_weight * worth, bonus, step), rng
        )
        row = plan if step == 1.0 else (1.0 - step) * situation.row + step * plan
        return Response(row, float(row @ worth), gain)
