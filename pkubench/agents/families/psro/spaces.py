"""Policies of a zero-sum game as rows of an array: payoffs, responses and exact scores.

The outer loop moves rows about and never looks into one. A row is a plan of a ``ZeroSumGame`` here,
a point of the plane in ``mixture_points``.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from pkubench.agents.families.psro.bonuses import (
    Bonus,
    Cardinality,
    HullDistance,
    JensenShannon,
    MemberDistance,
    PayoffDistance,
)
from pkubench.agents.families.psro.learner import Tensors
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.normal_form import MatrixGame, SymmetricMatrixGame
from pkubench.envs.games.simplex import wide_game
from pkubench.envs.games.zero_sum import ZeroSumGame

_ROUNDS = 20
"""Slopes that are answered in the search for a diverse response on a tree."""
_CLIMB = 4
"""A search of a convex bonus starts anew after so many."""


class Situation(NamedTuple):
    """What a policy in training sees.

    Attributes:
        side: Who responds, 0 or 1.
        row: The policy as it stands.
        own: Policies before it on its own side, ``(members, ...)``.
        own_weights: Their meta-strategy, ``(members,)``.
        opponents: Policies of the other side.
        weights: The distribution over them to be answered, ``(opponents,)``.
        payoffs: What each of ``own`` wins against each opponent, in units of the game.
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
        row: Where it has moved to.
        payoff: What it wins now against the distribution answered, in units of the game.
        gain: By how much the best response beats the meta-strategy; infinite for a response that
            was not after payoff alone.
    """

    row: Floats
    payoff: float
    gain: float


class PolicySpace(Protocol):
    """What the outer loop asks of a game."""

    sides: tuple[int, ...]
    """``(0,)`` if one population plays both sides, else ``(0, 1)``."""
    scale: float
    """The largest payoff."""
    pure: bool
    """Whether all policies are pure plans, of zeros and ones."""
    scorer: str = "nash"
    """The meta-solver whose equilibrium is scored; the same for all learners of a game."""
    is_pe_dear: bool = False
    """Whether population exploitability soon takes longer than an iteration."""
    episodes: int | None = None
    """Plays that responses were learnt from; None where none are played."""

    def fresh(self, side: int, rng: np.random.Generator) -> Floats:
        """Return a random policy."""
        ...

    def payoffs(self, rows: Floats, columns: Floats) -> Floats:
        """Return what each of the first side's policies wins against each of the second's."""
        ...

    def respond(self, situation: Situation, rng: np.random.Generator) -> Response:
        """Return where a policy moves to."""
        ...

    def gains(self, populations: tuple[Floats, Floats], meta: tuple[Floats, Floats]) -> Floats:
        """Return what each side's best response wins more than the meta-strategies, ``(2,)``."""
        ...

    def population_exploitability(self, populations: tuple[Floats, Floats]) -> float:
        """Return the exact population exploitability, on the scale of NashConv."""
        ...

    def plans(self, side: int, rows: Floats) -> Floats:
        """Return policies as plans of the game; without a word of its own, rows are that."""
        return rows

    def state(self) -> Tensors:
        """Return what ``restore`` needs beside the rows: nothing, of a space without memory."""
        return {}

    def restore(self, state: Tensors) -> None:
        """Go back to a saved state."""
        return None


class PlanSpace(PolicySpace):
    """The plans of a tree or matrix game."""

    def __init__(self, game: ZeroSumGame, config: PSROConfig) -> None:
        """Play ``game``; a symmetric one with one population."""
        self.game, self.config = game, config
        self.sides = (0,) if isinstance(game, SymmetricMatrixGame) else (0, 1)
        self.scale = game.max_utility or 1.0
        self.pure, self.is_pe_dear = config.pure, not isinstance(game, MatrixGame)
        if isinstance(game, MatrixGame):  # where an iteration takes less time than HiGHS
            self.scorer = "nash-simplex"
        self._binding: list[Ints | None] = [None, None]
        self._worth: list[dict[bytes, Floats]] = [{}, {}]

    def fresh(self, side: int, rng: np.random.Generator) -> Floats:
        """Return a random plan: pure if all are, else as official code draws it."""
        if isinstance(self.game, MatrixGame) and not self.config.pure:
            draws = rng.random(self.game.shape[side])
            return np.asarray(draws / draws.sum())
        return self.game.random_plan(side, rng, pure=self.config.pure)

    def payoffs(self, rows: Floats, columns: Floats) -> Floats:
        """Return the exact payoff table."""
        return self.game.payoffs(rows, columns)

    def gains(self, populations: tuple[Floats, Floats], meta: tuple[Floats, Floats]) -> Floats:
        """Return what each side's best response gains, by exact sweeps."""
        mixed = [self.game.mix(rows, w) for rows, w in zip(populations, meta, strict=True)]
        found = []
        for side in self.sides:
            worth = self.game.gains(side, mixed[1 - side])
            best, _ = self.game.best_plan(side, worth)
            found.append(best - float(mixed[side] @ worth))
        return np.array([found[0], found[-1]])

    def population_exploitability(self, populations: tuple[Floats, Floats]) -> float:
        """Return it exactly; in matrix games from the columns that counted the last time."""
        if not isinstance(self.game, MatrixGame):
            return self.game.population_exploitability(*populations)
        guaranteed = []
        for side in self.sides:
            known = {row.tobytes(): self._worth_of(side, row) for row in populations[side]}
            self._worth[side] = known  # policies that have moved on are forgotten
            worth = np.stack([known[row.tobytes()] for row in populations[side]])
            solution, self._binding[side] = wide_game(worth, self._binding[side])
            guaranteed.append(float((solution.x @ worth).min()))
        return max(-sum(guaranteed) * (2 // len(self.sides)), 0.0)

    def _worth_of(self, side: int, row: Floats) -> Floats:
        """Return what a policy wins against each action; most rows are those of last time."""
        assert isinstance(self.game, MatrixGame)
        name = row.tobytes()
        if name not in self._worth[side]:
            self._worth[side][name] = (
                row @ self.game.payoff if side == 0 else -(self.game.payoff @ row)
            )
        return self._worth[side][name]

    # Responses

    def respond(self, situation: Situation, rng: np.random.Generator) -> Response:
        """Return where a policy moves to: a plain response, or by chance a diverse one."""
        config, side = self.config, situation.side
        opponent = self.game.mix(situation.opponents, situation.weights)
        worth = self.game.gains(side, opponent)
        bonus, payoff_weight = None, 1.0 / self.scale
        if config.diversity != "none" and rng.random() < config.diversity_chance:
            bonus, seeks_payoff = self._bonus(situation, opponent, rng)
            payoff_weight *= seeks_payoff
        gain, step = np.inf, config.step if bonus is None else config.diversity_step
        lots = rng if config.ties == "random" else None
        if config.oracle == "mirror":
            plan = self._climbed(situation, payoff_weight * worth, bonus)
        elif bonus is None:
            best, plan = self.game.best_plan(side, worth, lots)
            own = self.game.mix(situation.own, situation.own_weights)
            gain = best - float(own @ worth)
        elif isinstance(self.game, MatrixGame):
            plan = self._listed(situation.row, payoff_weight * worth, bonus, step)
        else:
            plan = self._searched(side, payoff_weight * worth, worth, bonus, lots)
        row = plan if step == 1.0 else (1.0 - step) * situation.row + step * plan
        return Response(row, float(row @ worth), gain)

    def _bonus(
        self, situation: Situation, opponent: Floats, rng: np.random.Generator
    ) -> tuple[Bonus, float]:
        """Return the bonus of a diverse response, and the weight of payoff beside it."""
        config, game, side = self.config, self.game, situation.side
        if config.diversity in ("members", "hull"):
            kind = MemberDistance if config.diversity == "members" else HullDistance
            args = (game, side, situation.own, opponent, config.diversity_weight, config.smoothing)
            return kind(*args), 1.0
        if config.diversity == "bd-rd" and rng.random() < 0.5:
            played = game.mix(situation.own, situation.own_weights)
            weight = behaviour_weight(situation.iteration)
            return JensenShannon(game, side, played, opponent, weight), 1.0
        against = [game.gains(side, row) / self.scale for row in situation.opponents]
        old = situation.payoffs / self.scale
        if config.diversity == "bd-rd":
            return PayoffDistance(np.stack(against), old, config.payoff_inverse), 0.0
        return Cardinality(np.stack(against), old, self.sides == (0,)), 0.0

    def _listed(self, row: Floats, base: Floats, bonus: Bonus, step: float) -> Floats:
        """Return the best of all pure strategies of a matrix game."""
        actions = np.eye(len(base))
        # Distances in plays look at the response, those of payoffs at the policy it makes.
        is_of_payoffs = isinstance(bonus, Cardinality | PayoffDistance)
        tried = (1.0 - step) * row + step * actions if is_of_payoffs else actions
        return np.asarray(actions[bonus.argmax(tried, base)])

    def _searched(
        self,
        side: int,
        base: Floats,
        worth: Floats,
        bonus: Bonus,
        lots: np.random.Generator | None,
    ) -> Floats:
        """Return the best pure plan found by responding to slopes, from the plain response on.

        Exact at once for a bonus that is linear on pure plans. A convex one goes uphill from slope
        to slope, from several starts. A least distance is a game against who chooses the nearest
        member or mixture: responses to the mean of all slopes met so far are fictitious play in it.
        """
        _, plan = self.game.best_plan(side, worth, lots)
        best, highest = plan, float(base @ plan + bonus.values(plan[None])[0])
        draws = np.random.default_rng(0) if lots is None else lots
        slopes, met = np.zeros_like(base), 0
        for round_ in range(_ROUNDS):
            is_new_start = not bonus.is_least and round_ % _CLIMB == _CLIMB - 1
            if is_new_start:
                plan = self.game.random_plan(side, draws, pure=True)
            slope = bonus.pure_slopes(plan)
            slopes, met = (slopes + slope, met + 1) if bonus.is_least else (slope, 1)
            # ``base`` is in units of the largest payoff, as the bonus is.
            _, plan = self.game.best_plan(side, base + slopes / met, lots, unit=1.0)
            value = float(base @ plan + bonus.values(plan[None])[0])
            if value > highest:
                best, highest = plan, value
        return best

    def _climbed(self, situation: Situation, base: Floats, bonus: Bonus | None) -> Floats:
        """Return the plan after steps of mirror ascent from where the policy stands."""
        plan = situation.row
        for _ in range(self.config.mirror_steps):
            slopes = base if bonus is None else base + bonus.slopes(plan)
            plan = self.game.climb(situation.side, plan, slopes, self.config.mirror_rate)
        return plan


def behaviour_weight(iteration: int) -> float:
    """Return the weight of another behaviour in BD&RD-PSRO's code: 500, 100, 50."""
    if iteration <= 75:
        return 500.0
    return 100.0 if iteration <= 150 else 50.0
