"""Local best response (LBR) in poker: what is found without learning, by one step of look-ahead.

Lisy and Bowling (2017). The response knows the policy it meets. At each decision it has a belief
over what it does not see (the other's cards, and which policy of a mixture it meets), by Bayes'
rule from the policies' own probabilities, and values each of its actions as if both checked and
called from then on; after a raise the other may fold, with its own probability. It takes the best
action. It is a policy like any other, so what it wins is a lower bound of what a best response
wins; that it wins nothing proves nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from pkubench.envs.games.errors import GameError
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.state_batch import StateBatch

_NO_ACTION = -1


class Moves(NamedTuple):
    """What a player's actions mean at a state; ``_NO_ACTION`` where there is none.

    Attributes:
        fold: Give up.
        call: Check or call.
    """

    fold: int
    call: int


class Queried(Protocol):
    """The policies of the other seat."""

    weights: Floats

    def shares(self, number: int, row: int) -> Floats:
        """Return a policy's probabilities of all actions at a row."""
        ...


def _kuhn(state: Any) -> Moves:
    is_asked = state.history()[-1] == 1 and len(state.history()) > state.num_players()
    return Moves(0, 1) if is_asked else Moves(_NO_ACTION, 0)


def _leduc(state: Any) -> Moves:
    return Moves(0 if 0 in state.legal_actions() else _NO_ACTION, 1)


_MEANINGS = {"kuhn_poker": _kuhn, "leduc_poker": _leduc}


class LocalResponse:
    """One seat's local best response to an entrant, one action an information state."""

    def __init__(self, games: StateBatch, met: Queried, side: int) -> None:
        """Respond in the seat ``side``.

        Raises:
            GameError: The game is not one of poker.
        """
        name = games.name.partition("(")[0]
        if name not in _MEANINGS:
            raise GameError(
                f"local best responses know what actions mean in {' and '.join(_MEANINGS)} only, "
                f"not in {name}; choose the responder dqn"
            )
        self._moves, self._games, self._met, self._side = _MEANINGS[name], games, met, side
        self._chosen: dict[int, int] = {}

    def act(self, rows: Ints, rng: np.random.Generator) -> tuple[Ints, Floats]:
        """Return the actions at some rows, and that they are certain; see ``plays.Act``."""
        actions = np.array([self._at(row) for row in rows.tolist()], np.int64)
        return actions, np.eye(self._games.masks.shape[1])[actions]

    def _at(self, row: int) -> int:
        if row not in self._chosen:
            values = self.values(self._play_at(row))
            self._chosen[row] = max(values, key=lambda action: values[action])
        return self._chosen[row]

    def _play_at(self, row: int) -> Any:
        (index,) = np.flatnonzero(self._games.row == row)[:1]
        return self._games.play(int(index))

    def values(self, state: Any) -> dict[int, float]:
        """Return the local value of each action at an own decision, up to a positive factor."""
        worlds = self.belief(state)
        return {
            action: sum(self._value(world, weights, action) for world, weights in worlds)
            for action in state.legal_actions()
        }

    def belief(self, state: Any) -> list[tuple[Any, Floats]]:
        """Return the states that look alike, each with its probability with each policy met.

        Probabilities are joint, float64 ``(policies,)``, own actions left out and up to a factor.
        """
        walked = state.get_game().new_initial_state()
        worlds = [(walked.clone(), self._met.weights.copy())]
        for action in state.history():
            following = []
            for world, weights in worlds:
                if world.is_chance_node():
                    for outcome, share in world.chance_outcomes():
                        following.append((world.child(outcome), weights * share))
                    continue
                if world.current_player() != self._side:
                    weights = weights * self._shares(world)[:, action]
                following.append((world.child(action), weights))
            walked.apply_action(action)
            worlds = [pair for pair in following if self._alike(pair[0], walked)]
        return worlds

    def _alike(self, world: Any, walked: Any) -> bool:
        if walked.is_chance_node() or world.is_chance_node():
            return bool(walked.is_chance_node() == world.is_chance_node())
        seen = [state.information_state_string(self._side) for state in (world, walked)]
        return bool(seen[0] == seen[1])

    def _shares(self, world: Any) -> Floats:
        row = self._games.row_of(world)
        return np.stack([self._met.shares(k, row) for k in range(len(self._met.weights))])

    def _value(self, world: Any, weights: Floats, action: int) -> float:
        after, total = world.child(action), float(weights.sum())
        is_raise = action not in self._moves(world)
        if not is_raise or after.is_terminal() or after.is_chance_node():
            return total * self._checked_down(after)
        moves = self._moves(after)
        folds = float(weights @ self._shares(after)[:, moves.fold])
        given_up = float(after.child(moves.fold).returns()[self._side])
        return folds * given_up + (total - folds) * self._checked_down(after.child(moves.call))

    def _checked_down(self, state: Any) -> float:
        """Return the expected payoff if both check and call to the end."""
        if state.is_terminal():
            return float(state.returns()[self._side])
        if state.is_chance_node():
            outcomes = state.chance_outcomes()
            return float(sum(p * self._checked_down(state.child(a)) for a, p in outcomes))
        return self._checked_down(state.child(self._moves(state).call))
