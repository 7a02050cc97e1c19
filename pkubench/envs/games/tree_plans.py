"""What a game tree is, and its strategies: policies, realization plans and tables."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from pkubench.envs.games import policies
from pkubench.envs.games.errors import PlanError
from pkubench.envs.games.forest import Floats, Forest
from pkubench.envs.games.histories import TERMINAL, Histories
from pkubench.envs.games.linear_programs import constraints
from pkubench.envs.games.openspiel_games import unobserved
from pkubench.envs.games.payoff_units import centre, check_range, identifying
from pkubench.envs.games.policies import InformationState, Policy
from pkubench.envs.games.sequence_form import append_checks, payoff_matrix, sequence_form, stack
from pkubench.envs.games.sums import weighted_rows
from pkubench.envs.games.zero_sum import ZeroSumGame

PLAN_TOLERANCE = 1e-6
"""How far a plan may miss its constraints (Euclidean norm over all of them)."""


class TreePlans(ZeroSumGame):
    """A game in sequence form with its strategies; ``GameTree`` adds what they are worth."""

    def __init__(self, histories: Histories) -> None:
        """Build the sequence form of enumerated histories.

        Raises:
            GameError: A player lacks perfect recall, or payoffs are too large or too small to be
                added up.
        """
        check_range(histories.utility, histories.name)
        self.histories = histories
        self.form = sequence_form(histories)
        self._stacked, matrix = stack(self.form.forests, self._centred)
        left, right = self.form.forests
        self._shapes = ((left.size,), (right.size,))
        # Two products in one: what each sequence is worth against the opponent, and (below) by
        # how much each information state's sequences miss their parent.
        self._matrix, self._num_checks = append_checks(
            matrix, constraints(left), constraints(right)
        )
        order0, order1 = self.form.orders
        self._states = (
            _ordered(histories, 0, order0.tolist()),
            _ordered(histories, 1, order1.tolist()),
        )

    # What the game is

    @property
    def name(self) -> str:
        """OpenSpiel's full name of the game, with its parameters."""
        return self.histories.name

    @property
    def num_actions(self) -> int:
        """Number of distinct actions."""
        return self.histories.num_actions

    @property
    def num_sequences(self) -> tuple[int, int]:
        """Length of each player's plans (the empty sequence included)."""
        return self.form.forests[0].size, self.form.forests[1].size

    @property
    def num_information_states(self) -> tuple[int, int]:
        """Number of each player's information states."""
        return len(self._states[0]), len(self._states[1])

    @property
    def num_terminals(self) -> int:
        """Number of terminal histories."""
        return int((self.histories.player == TERMINAL).sum())

    @cached_property
    def max_utility(self) -> float:
        """The most that a player can win."""
        return float(np.abs(self.histories.utility).max())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over states, legal actions and payoffs: equal for equal games."""
        digest = hashlib.sha256()
        for player in (0, 1):
            for state in self._states[player]:
                digest.update(f"{state.text}\x00{state.legal_actions}\x01".encode())
        payoff = self.form.payoff
        for part in (payoff.indptr, payoff.indices):
            digest.update(np.asarray(part, "<i8").tobytes())
        digest.update(np.asarray(identifying(payoff.data, self.max_utility), "<f8").tobytes())
        return digest.hexdigest()

    def information_states(self, player: int) -> tuple[InformationState, ...]:
        """Return the player's information states, in the order of its sequences."""
        return self._states[self._player(player)]

    def tensors(self, player: int) -> NDArray[np.float32]:
        """Return information-state tensors, float32 ``(states, size)``; see ``observer``.

        Raises:
            GameError: OpenSpiel offers no tensors for this game.
        """
        tensors = self.histories.states[self._player(player)].tensors
        if tensors is None:
            raise unobserved(self.name)
        ordered: NDArray[np.float32] = tensors[self.form.orders[player]]
        return ordered

    def legal_mask(self, player: int) -> NDArray[np.bool_]:
        """Return which actions are legal, bool ``(states, actions)``."""
        return self._legal_masks[self._player(player)]

    @cached_property
    def _legal_masks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        masks = []
        for states in self._states:
            mask = np.zeros((len(states), self.num_actions), np.bool_)
            for row, state in enumerate(states):
                mask[row, list(state.legal_actions)] = True
            masks.append(mask)
        return masks[0], masks[1]

    # Policies and plans

    def realization_plan(self, policy: Policy, player: int) -> Floats:
        """Turn a behavioural policy into a realization plan.

        Args:
            policy: A mapping or callable from information-state string to a mapping
                ``{action: probability}``. Actions left out have probability zero.
            player: 0 or 1.

        Returns:
            float64 ``(num_sequences[player],)``.

        Raises:
            PolicyError: A state is missing, or its probabilities are negative, NaN, on illegal
                actions, or do not sum to one. The message names the state.
        """
        flat = policies.probabilities(policy, self.information_states(player), player)
        return self._forest(player).plan(np.concatenate([[1.0], flat]))

    def plan_from_table(self, table: ArrayLike, player: int) -> Floats:
        """Turn a table of action probabilities, ``(states, actions)``, into a plan.

        Rows are ordered as :meth:`information_states`.
        """
        flat = policies.table_probabilities(
            table, self.legal_mask(player), self.information_states(player), player
        )
        return self._forest(player).plan(np.concatenate([[1.0], flat]))

    def table(self, plan: ArrayLike, player: int) -> Floats:
        """Return the action probabilities of a plan, float64 ``(states, actions)``.

        States which the plan never reaches get the uniform distribution.
        """
        mask = self.legal_mask(player)
        table = np.zeros(mask.shape)
        table[mask] = self._forest(player).behaviour(self._one_plan(plan, player))[1:]
        return table

    def behaviour(self, plan: ArrayLike, player: int) -> dict[str, dict[int, float]]:
        """Return a plan as a behavioural policy, the inverse of :meth:`realization_plan`."""
        flat = self._forest(player).behaviour(self._one_plan(plan, player))[1:].tolist()
        policy, at = {}, 0
        for state in self._states[player]:
            count = len(state.legal_actions)
            policy[state.text] = dict(zip(state.legal_actions, flat[at : at + count], strict=True))
            at += count
        return policy

    def uniform_plan(self, player: int) -> Floats:
        """Return the plan that plays every legal action with equal probability."""
        forest = self._forest(player)
        return forest.plan(forest.behaviour(np.zeros(forest.size)))

    def random_plan(self, player: int, rng: np.random.Generator, *, pure: bool = False) -> Floats:
        """Return the plan of a random policy.

        Args:
            player: 0 or 1.
            rng: Source of randomness.
            pure: One uniformly chosen action a state; otherwise a uniform point of each simplex.
        """
        forest = self._forest(player)
        draws = rng.exponential(size=forest.size)
        if pure:
            chosen = forest.best_sequences(draws)
            draws = np.zeros(forest.size)
            draws[chosen] = 1.0
        return forest.plan(forest.behaviour(draws))

    def mix(self, plans: ArrayLike, weights: ArrayLike) -> Floats:
        """Return the plan of "draw a policy by ``weights``, then play it throughout".

        Args:
            plans: ``(policies, sequences)``.
            weights: ``(policies,)``, a distribution.
        """
        rows, mass = self._mixture(plans, weights)
        mixed = weighted_rows(mass, rows)
        return np.asarray(mixed / mixed[0], np.float64)

    def check_plan(self, plan: ArrayLike, player: int) -> Floats:
        """Return ``plan`` (or a stack of plans) as float64 after checking all constraints.

        Raises:
            PlanError: Wrong length, negative or NaN entries, or sequences that do not add up to
                their parent; names the information state.
        """
        forest = self._forest(player)
        array = np.asarray(plan, np.float64)
        if array.ndim < 1 or array.shape[-1] != forest.size:
            raise PlanError(
                f"a realization plan of player {player} in {self.name} has {forest.size} entries, "
                f"got shape {array.shape}; `realization_plan` makes one from a policy"
            )
        if not (array >= -PLAN_TOLERANCE).all():
            raise PlanError(f"a plan of player {player} has negative or NaN entries")
        gap = np.abs(forest.imbalance(array))
        if not (np.linalg.norm(gap, axis=-1) <= PLAN_TOLERANCE).all():
            worst = int(np.argmax(gap.reshape(-1, gap.shape[-1]).max(axis=0)))
            what = (
                "entry 0 (the empty sequence) must be 1"
                if worst == 0
                else "the sequences of information state "
                f"{self._states[player][worst - 1].text!r} do not add up to their parent"
            )
            raise PlanError(f"not a realization plan of player {player}: {what}")
        return array

    @cached_property
    def _centre(self) -> float:
        return centre(self.histories.utility[self.histories.player == TERMINAL])

    @cached_property
    def _centred(self) -> sparse.csr_array:
        """The payoff matrix without the centre, which best responses do not depend on."""
        if not self._centre:
            return self.form.payoff
        utility = self.histories.utility - self._centre
        return payoff_matrix(self.histories, self.form.forests, self.form.sequence, utility)

    def _forest(self, player: int) -> Forest:
        return self.form.forests[self._player(player)]


def _ordered(histories: Histories, player: int, order: list[int]) -> tuple[InformationState, ...]:
    states = histories.states[player]
    return tuple(
        InformationState(
            states.texts[i],
            states.legal_actions[i],
            None if states.tensors is None else states.tensors[i],
        )
        for i in order
    )
