"""``GameTree``: exact values, best responses and exploitability of a small two-player game."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from pkubench.envs.games.errors import PlanError
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.histories import TERMINAL, enumerate_histories
from pkubench.envs.games.linear_programs import (
    Equilibrium,
    HullValue,
    hull_value,
    solve_sequence_form,
)
from pkubench.envs.games.openspiel_games import load_openspiel
from pkubench.envs.games.sequence_form import chance_reach
from pkubench.envs.games.sums import dot
from pkubench.envs.games.tree_plans import PLAN_TOLERANCE, TreePlans
from pkubench.envs.games.zero_sum import checked_amount


class GameTree(TreePlans):
    """A two-player zero-sum game of perfect recall in sequence form.

    Strategies are *realization plans*: one number a sequence (entry 0 is the empty sequence), the
    product of the player's own action probabilities along it. Mixing whole strategies is a
    weighted average of their plans (:meth:`mix`); averaging action probabilities state by state
    is something else, and wrong. Payoffs are those of player 0; player 1 gets the negative.

    Conventions: ``nash_conv`` is the sum over both players of what a best response would gain;
    ``exploitability`` is half of it.

    Example:
        >>> tree = GameTree.from_openspiel("kuhn_poker")
        >>> x, y = tree.uniform_plan(0), tree.uniform_plan(1)
        >>> round(tree.nash_conv(x, y), 6)
        0.916667
        >>> round(tree.solve().value, 6)
        -0.055556

    Attributes:
        histories: The flattened game tree.
        form: The sequence form (forests and payoff matrix).
    """

    @classmethod
    def from_openspiel(cls, name: str, *, max_histories: int | None = None) -> GameTree:
        """Build the tree of an OpenSpiel game.

        Args:
            name: OpenSpiel's name, which may carry parameters: ``leduc_poker``,
                ``liars_dice(dice_sides=4)``. Simultaneous games are made turn-based.
            max_histories: Refuse games with more histories than this; if left,
                ``PKUBENCH_MAX_HISTORIES`` or two million.

        Raises:
            MissingExtra: OpenSpiel is not installed.
            UnknownName: OpenSpiel has no such game.
            GameError: The game is not two-player zero-sum with enumerable chance, has no perfect
                recall, or is too large.
        """
        return cls(enumerate_histories(load_openspiel(name), max_histories))

    # Values

    def expected_value(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return what player 0 wins on average when ``x`` meets ``y``."""
        return dot(self._one_plan(x, 0), self.form.payoff @ self._one_plan(y, 1))

    def payoffs(self, plans_0: ArrayLike, plans_1: ArrayLike) -> Floats:
        """Return the exact payoff matrix of two populations, float64 ``(|X|, |Y|)``."""
        rows = self.check_plan(np.atleast_2d(plans_0), 0)
        columns = self.check_plan(np.atleast_2d(plans_1), 1)
        return np.asarray(rows @ (self.form.payoff @ columns.T), np.float64)

    def gains(self, player: int, opponent_plan: ArrayLike) -> Floats:
        """Return what the opponent's play makes each own sequence worth, to ``player``.

        Args:
            player: Whose sequences.
            opponent_plan: The other player's plan.

        Returns:
            float64 ``(num_sequences[player],)``; a plan's expected payoff is its dot product.
        """
        opponent = self._one_plan(opponent_plan, 1 - self._player(player))
        if player == 0:
            return np.asarray(self.form.payoff @ opponent)
        return -np.asarray(self.form.payoff.T @ opponent)

    def terminal_weights(self, player: int, opponent_plan: ArrayLike) -> Floats:
        """Return what chance and the opponent put on a play ending with each own sequence.

        Args:
            player: Whose sequences.
            opponent_plan: The other player's plan.

        Returns:
            float64 ``(num_sequences[player],)``; times a plan they sum to one.
        """
        opponent = self._one_plan(opponent_plan, 1 - self._player(player))
        chance = self._chance if player == 0 else self._chance.T
        return np.asarray(chance @ opponent)

    @cached_property
    def _chance(self) -> sparse.csr_array:
        """Probability by chance of the plays that end with each pair of sequences."""
        ends = np.flatnonzero(self.histories.player == TERMINAL)
        entries = chance_reach(self.histories)[ends], tuple(self.form.sequence[:, ends])
        return sparse.coo_array(entries, self.num_sequences).tocsr()

    def smooth(self, player: int, plans: ArrayLike, amount: float) -> Floats:
        """Return plans after adding ``amount`` to every action's probability, rescaled.

        Args:
            player: Whose plans.
            plans: One plan, or one a row.
            amount: At least 0; where a plan never leads it counts as uniform.
        """
        forest = self._forest(player)
        played = forest.behaviour(self.check_plan(plans, player))
        return forest.plan(forest.behaviour(played + checked_amount(amount)))

    def best_plan(
        self,
        player: int,
        slopes: ArrayLike,
        rng: np.random.Generator | None = None,
        *,
        unit: float | None = None,
    ) -> tuple[float, Floats]:
        """Return the most that ``plan @ slopes`` can be, and a pure plan that attains it.

        Args:
            player: Whose plan.
            slopes: One number a sequence.
            rng: Draws among equally good actions (which all are where the opponent's play never
                leads). Without it the lowest action is chosen.
            unit: What slopes are measured in; the largest payoff if left.
        """
        forest = self._forest(player)
        gains = forest.best(self._slopes(player, slopes))
        choice = np.zeros(forest.size)
        unit = self.max_utility if unit is None else unit
        choice[forest.best_sequences(gains, rng, unit=unit)] = 1.0
        return float(gains[0]), forest.plan(choice)

    def mirror_step(self, player: int, plan: ArrayLike, slopes: ArrayLike, rate: float) -> Floats:
        """Return a plan after one step of mirror ascent at every information state.

        ``b(a) <- b(a) exp(rate q(a)) / sum``, with ``q`` what an action is worth by ``slopes`` if
        the plan continues after it.
        """
        forest = self._forest(player)
        behaviour = forest.behaviour(self._one_plan(plan, player))
        worth = forest.average(self._slopes(player, slopes), behaviour)
        # Only differences within a state count; the largest is taken out before the exponential.
        best = np.maximum.reduceat(worth[1:], forest.starts - 1)[forest.state_of[1:]]
        behaviour[1:] *= np.exp(rate * (worth[1:] - best))
        return forest.plan(forest.behaviour(behaviour))

    def _slopes(self, player: int, slopes: ArrayLike) -> Floats:
        """Return a copy of one number a sequence."""
        worth = np.array(slopes, np.float64)
        if worth.shape != (self._forest(player).size,):
            raise PlanError(
                f"player {player} has {self._forest(player).size} sequences, got slopes of "
                f"{worth.shape}"
            )
        return worth

    def nash_conv(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return the sum of both players' gains from a best response, 0 at an equilibrium.

        Raises:
            PlanError: An argument is not a realization plan.
        """
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if x.shape != self._shapes[0] or y.shape != self._shapes[1]:
            self._one_plan(x, 0)
            self._one_plan(y, 1)
        both = np.concatenate((x, y))
        product = self._matrix @ both
        misses = product[self._stacked.size :]
        if not (
            abs(x[0] - 1.0) <= PLAN_TOLERANCE
            and abs(y[0] - 1.0) <= PLAN_TOLERANCE
            and both.min() >= -PLAN_TOLERANCE
            and misses.dot(misses) <= PLAN_TOLERANCE**2
        ):
            self._one_plan(x, 0)
            self._one_plan(y, 1)
        gains = self._stacked.best(product[: self._stacked.size])
        # Both gains are differences that rounding can push below zero.
        return max(float(gains[0] + gains[1]), 0.0)

    def _guarantee(self, player: int, rows: Floats) -> HullValue:
        payoff = self._centred
        gains = (payoff.T @ rows.T).T if player == 0 else -(payoff @ rows.T).T
        return hull_value(np.ascontiguousarray(gains), self._forest(1 - player))

    def solve(self) -> Equilibrium:
        """Return an equilibrium and the value of the game, by linear programming."""
        x, y = solve_sequence_form(self.form.forests, self._centred)
        return Equilibrium(self.expected_value(x, y), x, y)
