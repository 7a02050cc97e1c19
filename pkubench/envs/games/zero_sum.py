"""What game trees and matrix games have in common: write a learner for it once."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pkubench.envs.games.errors import GameError, PlanError
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.linear_programs import Equilibrium, HullValue
from pkubench.envs.games.policies import SUM_TOLERANCE, InformationState, Policy


class ZeroSumGame(ABC):
    """A two-player zero-sum game whose strategies are arrays in which mixing is averaging.

    Such an array is called a *plan*: a realization plan of a ``GameTree``, a distribution over
    actions of a ``MatrixGame``. Payoffs are those of player 0; player 1 gets the negative.

    Conventions: ``nash_conv`` is the sum over both players of what a best response would gain;
    ``exploitability`` is half of it; ``population_exploitability`` is on the scale of
    ``nash_conv``.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What the game is called, with its parameters."""

    @property
    @abstractmethod
    def max_utility(self) -> float:
        """The most that a player can win."""

    @property
    @abstractmethod
    def _centre(self) -> float:
        """What is taken off all payoffs before gains are compared; see ``payoff_units``."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over what the game is: equal for equal games."""

    @property
    @abstractmethod
    def num_actions(self) -> int:
        """Number of actions of either player, illegal ones included."""

    @abstractmethod
    def information_states(self, player: int) -> tuple[InformationState, ...]:
        """Return the player's information states, in the order of its plans."""

    @abstractmethod
    def legal_mask(self, player: int) -> NDArray[np.bool_]:
        """Return which actions are legal, bool ``(states, actions)``."""

    @abstractmethod
    def tensors(self, player: int) -> NDArray[np.float32]:
        """Return information-state tensors, float32 ``(states, size)``."""

    @abstractmethod
    def realization_plan(self, policy: Policy, player: int) -> Floats:
        """Turn a behavioural policy into a plan.

        Raises:
            PolicyError: Names the information state and what is wrong with it.
        """

    @abstractmethod
    def plan_from_table(self, table: ArrayLike, player: int) -> Floats:
        """Turn a table of action probabilities, ``(states, actions)``, into a plan."""

    @abstractmethod
    def check_plan(self, plan: ArrayLike, player: int) -> Floats:
        """Return a plan, or a stack of plans, as float64 after checking it.

        Raises:
            PlanError: It is none.
        """

    @abstractmethod
    def uniform_plan(self, player: int) -> Floats:
        """Return the plan that plays every action with equal probability."""

    @abstractmethod
    def random_plan(self, player: int, rng: np.random.Generator, *, pure: bool = False) -> Floats:
        """Return the plan of a random strategy, or of a random pure one."""

    @abstractmethod
    def mix(self, plans: ArrayLike, weights: ArrayLike) -> Floats:
        """Return the plan of "draw a strategy by ``weights``, then play it throughout".

        Args:
            plans: One plan a row.
            weights: A distribution, one weight a row.
        """

    @abstractmethod
    def expected_value(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return what player 0 wins on average when ``x`` meets ``y``."""

    @abstractmethod
    def payoffs(self, plans_0: ArrayLike, plans_1: ArrayLike) -> Floats:
        """Return the exact payoff matrix of two populations, float64 ``(|X|, |Y|)``."""

    @abstractmethod
    def gains(self, player: int, opponent_plan: ArrayLike) -> Floats:
        """Return what the opponent's play makes each entry of an own plan worth to ``player``.

        A plan's expected payoff is its dot product with it.
        """

    @abstractmethod
    def terminal_weights(self, player: int, opponent_plan: ArrayLike) -> Floats:
        """Return what chance and the opponent put on a play ending with each own sequence.

        The probability that it does is this times the own plan's entry.
        """

    @abstractmethod
    def smooth(self, player: int, plans: ArrayLike, amount: float) -> Floats:
        """Return plans after adding ``amount`` to every action's probability, rescaled.

        Divergences between pure policies are infinite; official code adds 0.001 first.
        """

    @abstractmethod
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
            slopes: A worth for each entry of a plan, such as :meth:`gains`.
            rng: Draws among equally good actions (which all are where the opponent's play never
                leads). Without it the lowest action is chosen.
            unit: What slopes are measured in, for values closer than a trillionth of it are equal;
                the size of the game's payoffs if left.
        """

    @abstractmethod
    def mirror_step(self, player: int, plan: ArrayLike, slopes: ArrayLike, rate: float) -> Floats:
        """Return a plan after one step of mirror ascent on an objective with these ``slopes``.

        At every decision, actions are weighted by ``exp(rate x what they lead to)``, the natural
        policy gradient; for a linear objective no step goes downhill.

        Args:
            player: Whose plan.
            plan: A plan; actions of probability 0 stay there.
            slopes: The gradient of the objective in the plan's entries.
            rate: Size of the step, in units of 1 over the objective.
        """

    def best_response(
        self, player: int, opponent_plan: ArrayLike, rng: np.random.Generator | None = None
    ) -> tuple[float, Floats]:
        """Return what a best response wins for ``player``, and a pure one as a plan.

        The value is the player's own, also for player 1: positive is good for it.

        Args:
            player: Who responds.
            opponent_plan: The other player's plan.
            rng: As for :meth:`best_plan`.
        """
        return self.best_plan(player, self.gains(player, opponent_plan), rng)

    @abstractmethod
    def nash_conv(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return the sum of both players' gains from a best response, 0 at an equilibrium."""

    @abstractmethod
    def solve(self) -> Equilibrium:
        """Return an equilibrium and the value of the game, by linear programming."""

    @abstractmethod
    def _guarantee(self, player: int, rows: Floats) -> HullValue:
        """Return what the best mixture of checked ``rows`` guarantees, without the centre."""

    def exploitability(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return half of :meth:`nash_conv`."""
        return 0.5 * self.nash_conv(x, y)

    def population_value(self, player: int, plans: ArrayLike) -> HullValue:
        """Return what the best mixture of a population guarantees ``player``, and the mixture."""
        found = self._guarantee(player, self._population(player, plans))
        centre = self._centre if player == 0 else -self._centre
        return found._replace(value=found.value + centre)

    def population_exploitability(self, plans_0: ArrayLike, plans_1: ArrayLike) -> float:
        """Return how much a pair of populations loses to opponents that are not confined to them.

        Minus the sum of what each population's best mixture guarantees (PSD-PSRO, population
        exploitability): 0 exactly when mixtures of the populations contain an equilibrium, and
        never larger after adding a policy. On the scale of ``nash_conv``: for one policy a player
        the two are equal.

        Args:
            plans_0: Player 0's policies, one plan a row.
            plans_1: Player 1's.
        """
        guaranteed = [
            self._guarantee(player, self._population(player, plans)).value
            for player, plans in enumerate((plans_0, plans_1))
        ]
        return max(-sum(guaranteed), 0.0)

    def _population(self, player: int, plans: ArrayLike) -> Floats:
        rows = self.check_plan(np.atleast_2d(plans), self._player(player))
        if not len(rows):
            raise PlanError(f"the population of player {player} is empty")
        return rows

    def _mixture(self, plans: ArrayLike, weights: ArrayLike) -> tuple[Floats, Floats]:
        """Return plans and weights as arrays after checking the weights."""
        rows, mass = np.asarray(plans, np.float64), np.asarray(weights, np.float64)
        if rows.ndim != 2 or mass.shape != rows.shape[:1]:
            raise PlanError(f"{rows.shape} plans do not go with {mass.shape} weights")
        if not (mass >= -1e-9).all() or not abs(mass.sum() - 1.0) <= SUM_TOLERANCE:
            raise PlanError(f"mixture weights must be a distribution; they sum to {mass.sum():g}")
        return rows, np.clip(mass, 0.0, None)

    def _one_plan(self, plan: ArrayLike, player: int) -> Floats:
        array = self.check_plan(plan, player)
        if array.ndim != 1:
            raise PlanError(
                f"expected one plan of player {player}, got a stack of shape {array.shape}; "
                "`mix` turns a population and its weights into one plan"
            )
        return array

    def _player(self, player: int) -> int:
        if player not in (0, 1):
            raise GameError(f"players are numbered 0 and 1, got {player!r}")
        return int(player)


def checked_amount(amount: float) -> float:
    """Return the amount of smoothing.

    Raises:
        PlanError: It is negative or not finite.
    """
    if not 0.0 <= amount < float("inf"):
        raise PlanError(f"the amount of smoothing must be at least 0, got {amount}")
    return amount
