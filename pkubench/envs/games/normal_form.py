"""Normal-form games: exact values, best responses and exploitability of a payoff matrix."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pkubench.envs.games import policies
from pkubench.envs.games.errors import GameError, PlanError
from pkubench.envs.games.forest import TIE, Floats
from pkubench.envs.games.histories import TERMINAL, Histories, InformationStates, allowed_histories
from pkubench.envs.games.linear_programs import Equilibrium, HullValue, matrix_game
from pkubench.envs.games.payoff_matrices import asymmetry, checked_payoff, is_antisymmetric
from pkubench.envs.games.payoff_units import centre, identifying, tie
from pkubench.envs.games.policies import SUM_TOLERANCE, InformationState, Policy
from pkubench.envs.games.sums import dot, rows_dot, weighted_rows
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.zero_sum import ZeroSumGame, checked_amount

_SEATS = ("row", "column")
"""The players' information states, one each."""


class MatrixGame(ZeroSumGame):
    """A two-player zero-sum game given by what the row player wins.

    Player 0 chooses a row and maximises, player 1 a column. A strategy (a *plan*) is a
    distribution over rows or columns; methods are named and mean as in
    :class:`pkubench.envs.games.GameTree`, so a learner runs on either.

    Example:
        >>> pennies = MatrixGame([[1, -1], [-1, 1]])
        >>> pennies.nash_conv([1, 0], [1, 0])
        2.0
        >>> pennies.solve().x.tolist()
        [0.5, 0.5]

    Attributes:
        payoff: float64 ``(rows, columns)``, read-only.
    """

    def __init__(self, payoff: ArrayLike, name: str = "matrix game") -> None:
        """Hold a copy of ``payoff``.

        Raises:
            GameError: The payoffs are no finite matrix of numbers, or too large or too small to
                be added up.
        """
        self.payoff = checked_payoff(payoff, name)
        self.payoff.flags.writeable = False
        self._name = name

    # What the game is

    @property
    def name(self) -> str:
        """What the game is called; a spelling that makes it again, if it was made by name."""
        return self._name

    def renamed(self, name: str) -> Self:
        """Return the same game under another name."""
        return type(self)(self.payoff, name)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns: the length of each player's plans."""
        return self.payoff.shape[0], self.payoff.shape[1]

    @cached_property
    def max_utility(self) -> float:
        """The most that a player can win."""
        return float(np.abs(self.payoff).max())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shape and payoffs (see ``identifying``): equal for equal games."""
        digest = hashlib.sha256(str(self.shape).encode())
        digest.update(np.asarray(identifying(self.payoff, self.max_utility), "<f8").tobytes())
        return digest.hexdigest()

    def normalised(self) -> Self:
        """Return the same game with payoffs divided by the largest one."""
        if self.max_utility == 0.0:
            raise GameError(f"{self.name}: all payoffs are zero, so they have no scale")
        return type(self)(self.payoff / self.max_utility, self.name)

    def tree(self) -> GameTree:
        """Return the game as a tree of two moves, for everything that takes trees.

        Player 1 moves second and does not see the row. Information states are called ``row`` and
        ``column``; their tensors say which seat is to move.

        Raises:
            GameError: More histories than a tree may have, see ``histories.allowed_histories``.
        """
        rows, columns = self.shape
        count = 1 + rows + rows * columns
        if count > allowed_histories():
            raise GameError(
                f"{self.name} has {rows} x {columns} outcomes, more than the "
                f"{allowed_histories():,} histories of a tree; use MatrixGame itself"
            )
        # In breadth-first order: the root, one history a row, one a cell.
        sizes, player = [1, rows, rows * columns], np.array([0, 1, TERMINAL], np.int8)
        moves = np.concatenate([[0], np.arange(rows), np.tile(np.arange(columns), rows)])
        above = np.concatenate([[-1], np.zeros(rows), np.repeat(1 + np.arange(rows), columns)])
        below = np.concatenate([[1], 1 + rows + columns * np.arange(rows)])
        seats = np.eye(2, dtype=np.float32)
        return GameTree(
            Histories(
                name=self.name,
                num_actions=max(self.shape),
                player=np.repeat(player, sizes),
                state=np.repeat(np.array([0, 0, -1], np.int32), sizes),
                parent=above.astype(np.int32),
                move=moves.astype(np.int32),
                action=np.concatenate([[-1], moves[1:]]).astype(np.int32),
                first_child=np.append(below, np.full(rows * columns, count)).astype(np.int32),
                num_children=np.repeat(np.array([rows, columns, 0], np.int32), sizes),
                chance=np.ones(count),
                utility=np.concatenate([np.zeros(1 + rows), self.payoff.ravel()]),
                lengths=np.cumsum([0, *sizes]),
                states=(
                    InformationStates(_SEATS[:1], (tuple(range(rows)),), seats[:1]),
                    InformationStates(_SEATS[1:], (tuple(range(columns)),), seats[1:]),
                ),
            )
        )

    # Policies, as the game's tree has them but without building it

    @property
    def num_actions(self) -> int:
        """The larger number of rows and columns."""
        return max(self.shape)

    def information_states(self, player: int) -> tuple[InformationState, ...]:
        """Return the one state ``row`` or ``column``."""
        actions = tuple(range(self.shape[self._player(player)]))
        return (InformationState(_SEATS[player], actions, self.tensors(player)[0]),)

    def legal_mask(self, player: int) -> NDArray[np.bool_]:
        """Return which actions are legal, bool ``(1, actions)``."""
        return np.arange(self.num_actions)[None] < self.shape[self._player(player)]

    def tensors(self, player: int) -> NDArray[np.float32]:
        """Return which seat it is, float32 ``(1, 2)``."""
        return np.eye(2, dtype=np.float32)[[self._player(player)]]

    def realization_plan(self, policy: Policy, player: int) -> Floats:
        """Turn a policy into the distribution that it plays; see ``GameTree``."""
        return policies.probabilities(policy, self.information_states(player), player)

    def plan_from_table(self, table: ArrayLike, player: int) -> Floats:
        """Turn a table of action probabilities, ``(1, actions)``, into a distribution."""
        return policies.table_probabilities(
            table, self.legal_mask(player), self.information_states(player), player
        )

    # Plans

    def check_plan(self, plan: ArrayLike, player: int) -> Floats:
        """Return a distribution (or a stack of them) as float64 after checking it.

        Raises:
            PlanError: Wrong length, negative or NaN entries, or a sum that is not one.
        """
        array = np.asarray(plan, np.float64)
        size = self.shape[self._player(player)]
        if array.ndim < 1 or array.shape[-1] != size:
            raise PlanError(
                f"a strategy of player {player} in {self.name} has {size} entries, got shape "
                f"{array.shape}"
            )
        if not (array >= 0.0).all():
            raise PlanError(f"a strategy of player {player} has negative or NaN entries")
        sums = array.sum(axis=-1)
        if not (np.abs(sums - 1.0) <= SUM_TOLERANCE).all():
            worst = float(np.ravel(sums)[np.abs(np.ravel(sums) - 1.0).argmax()])
            raise PlanError(f"a strategy of player {player} sums to {worst:g}, not to 1")
        return array

    def uniform_plan(self, player: int) -> Floats:
        """Return the uniform distribution."""
        size = self.shape[self._player(player)]
        return np.full(size, 1.0 / size)

    def random_plan(self, player: int, rng: np.random.Generator, *, pure: bool = False) -> Floats:
        """Return a uniformly drawn action (``pure``) or point of the simplex."""
        size = self.shape[self._player(player)]
        if pure:
            return _pure(int(rng.integers(size)), size)
        draws = rng.exponential(size=size)
        return np.asarray(draws / draws.sum())

    def mix(self, plans: ArrayLike, weights: ArrayLike) -> Floats:
        """Return the weighted average of strategies, one a row of ``plans``."""
        rows, mass = self._mixture(plans, weights)
        return weighted_rows(mass / mass.sum(), rows)

    # Values

    def expected_value(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return what player 0 wins on average when ``x`` meets ``y``."""
        row, column = self._one_plan(x, 0), self._one_plan(y, 1)
        return dot(row, rows_dot(self.payoff, column))

    def payoffs(self, plans_0: ArrayLike, plans_1: ArrayLike) -> Floats:
        """Return the exact payoff matrix of two populations, float64 ``(|X|, |Y|)``."""
        rows = self.check_plan(np.atleast_2d(plans_0), 0)
        columns = self.check_plan(np.atleast_2d(plans_1), 1)
        return np.asarray(rows @ self.payoff @ columns.T, np.float64)

    def gains(self, player: int, opponent_plan: ArrayLike) -> Floats:
        """Return what each own action wins for ``player`` against ``opponent_plan``."""
        opponent = self._one_plan(opponent_plan, 1 - self._player(player))
        return np.asarray(self.payoff @ opponent if player == 0 else -(opponent @ self.payoff))

    def terminal_weights(self, player: int, opponent_plan: ArrayLike) -> Floats:
        """Return ones: every play ends with the one action chosen, whatever the opponent does."""
        self._one_plan(opponent_plan, 1 - self._player(player))
        return np.ones(self.shape[player])

    def smooth(self, player: int, plans: ArrayLike, amount: float) -> Floats:
        """Return strategies after adding ``amount`` to every probability, rescaled."""
        raised = self.check_plan(plans, player) + checked_amount(amount)
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True))

    def best_plan(
        self,
        player: int,
        slopes: ArrayLike,
        rng: np.random.Generator | None = None,
        *,
        unit: float | None = None,
    ) -> tuple[float, Floats]:
        """Return the largest slope, and its action as a plan.

        Args:
            player: Whose action.
            slopes: One number an action.
            rng: Draws among equally good actions; without it the lowest index is chosen.
            unit: What slopes are measured in; those of a game's payoffs if left.
        """
        worth = self._slopes(player, slopes)
        slack = self._tie if unit is None else TIE * unit
        tied = np.flatnonzero(worth >= worth.max() - slack)
        chosen = tied[0] if rng is None else rng.choice(tied)
        return float(worth.max()), _pure(int(chosen), len(worth))

    def mirror_step(self, player: int, plan: ArrayLike, slopes: ArrayLike, rate: float) -> Floats:
        """Return a strategy after a step of multiplicative weights: ``plan * exp(rate slopes)``."""
        worth = self._slopes(player, slopes)
        moved = self._one_plan(plan, player) * np.exp(rate * (worth - worth.max()))
        return np.asarray(moved / moved.sum())

    def _slopes(self, player: int, slopes: ArrayLike) -> Floats:
        worth = np.asarray(slopes, np.float64)
        if worth.shape != (self.shape[self._player(player)],):
            raise PlanError(
                f"player {player} has {self.shape[player]} actions, got slopes of {worth.shape}"
            )
        return worth

    def nash_conv(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return the sum of both players' gains from a best response, 0 at an equilibrium."""
        best = [
            _gains(self._centred, player, self._one_plan(plan, 1 - player)).max()
            for player, plan in enumerate((y, x))
        ]
        # Rounding can push the difference below zero.
        return max(float(sum(best)), 0.0)

    @cached_property
    def _tie(self) -> float:
        return tie(self.payoff)

    @cached_property
    def _centre(self) -> float:
        return centre(self.payoff)

    @cached_property
    def _centred(self) -> Floats:
        return self.payoff - self._centre if self._centre else self.payoff

    def _guarantee(self, player: int, rows: Floats) -> HullValue:
        gains = np.stack([_gains(self._centred, 1 - player, row) for row in rows])
        solution = matrix_game(-gains)
        value = -float(weighted_rows(solution.x, gains).max())
        return HullValue(value, solution.x, solution.y)

    def solve(self) -> Equilibrium:
        """Return an equilibrium and the value of the game, by linear programming."""
        return matrix_game(self.payoff)


class SymmetricMatrixGame(MatrixGame):
    """A game in which both players choose among the same actions: ``payoff == -payoff.T``.

    One population plays both sides. The value is 0, so a single strategy ``p`` has
    ``exploitability(p, p) == max(payoff @ p)``.

    Example:
        >>> rps = SymmetricMatrixGame([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
        >>> rps.exploitability_of([0.5, 0.5, 0.0])
        0.5
    """

    def __init__(self, payoff: ArrayLike, name: str = "symmetric matrix game") -> None:
        """Hold a copy of ``payoff``, made exactly antisymmetric.

        Raises:
            GameError: It is not antisymmetric, to a millionth of the largest payoff.
        """
        array = checked_payoff(payoff, name)
        if not is_antisymmetric(array):
            where = asymmetry(array)
            raise GameError(f"{name} is not a symmetric game: {where}; MatrixGame takes any matrix")
        super().__init__((array - array.T) / 2.0, name)

    def exploitability_of(self, strategy: ArrayLike) -> float:
        """Return what the best response to one strategy wins: ``max(payoff @ p)``."""
        return self.exploitability(strategy, strategy)

    def population_exploitability_of(self, plans: ArrayLike) -> float:
        """Return what one population loses at best to an opponent that is not confined to it.

        ``-max over p in the hull of min over q of p @ payoff @ q``: half of
        ``population_exploitability(plans, plans)``, on the scale of :meth:`exploitability_of`.
        """
        return max(-self.population_value(0, plans).value, 0.0)

    def ratings(self) -> Floats:
        """Return the mean payoff of each action against all, its transitive strength.

        With it ``payoff = ratings[:, None] - ratings[None, :] + cyclic_part()``, the combinatorial
        Hodge decomposition (Balduzzi et al. 2018, "Re-evaluating Evaluation").
        """
        return np.asarray(self.payoff.mean(axis=1))

    def cyclic_part(self) -> Floats:
        """Return what ratings cannot explain: antisymmetric, and every row sums to zero."""
        ratings = self.ratings()
        return np.asarray(self.payoff - (ratings[:, None] - ratings[None, :]))


def _gains(payoff: Floats, player: int, opponent: Floats) -> Floats:
    """Return what each own action wins against a strategy of the opponent."""
    return rows_dot(payoff, opponent) if player == 0 else -weighted_rows(opponent, payoff)


def _pure(action: int, size: int) -> Floats:
    plan = np.zeros(size)
    plan[action] = 1.0
    return plan
