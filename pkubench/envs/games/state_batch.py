"""Many plays of a game whose tree is too large to build, on OpenSpiel's own states."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.core.seeding import RandomStreams
from pkubench.envs.games.errors import GameError
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.histories import TERMINAL
from pkubench.envs.games.openspiel_games import load_openspiel, observer
from pkubench.envs.games.policies import InformationState

MAX_BYTES = 4 << 30
"""Observations of more information states than fit here are refused."""


class StateBatch:
    """``num_games`` plays, stepped one after the other; the interface of ``GameBatch``.

    Information states are numbered in the order in which plays meet them.

    Attributes:
        tensors: float32 ``(capacity + 1, size)``; observations of the states met so far, by row.
        masks: int8 ``(capacity + 1, actions)``; legal actions. The last row is of finished plays.
        states: The states met so far.
        owners: For each, who acts there.
    """

    def __init__(self, name: str, num_games: int, capacity: int) -> None:
        """Load a game.

        Args:
            name: OpenSpiel's name with parameters.
            num_games: Plays at once.
            capacity: Information states that there is room for.

        Raises:
            UnknownName, GameError, MissingExtra: As ``load_openspiel``; or the game has no
                information-state tensors, or they do not fit.
        """
        self._game = load_openspiel(name)
        size, self._see = observer(self._game)
        actions = self._game.num_distinct_actions()
        if (capacity + 1) * (4 * size + actions) > MAX_BYTES:
            raise GameError(
                f"{capacity:,} information states of {size} numbers and {actions} actions do "
                "not fit; play fewer games"
            )
        self.tensors: NDArray[np.float32] = np.zeros((capacity + 1, size), np.float32)
        self.masks: NDArray[np.int8] = np.ones((capacity + 1, actions), np.int8)
        self.states: list[InformationState] = []
        self.owners: list[int] = []
        self._rows: dict[tuple[int, str], int] = {}
        self._plays: list[Any] = []
        self._random = RandomStreams(num_games)
        self._all = np.arange(num_games, dtype=np.int64)
        self.row: Ints = np.full(num_games, capacity, np.int64)
        self.player: NDArray[np.int8] = np.full(num_games, TERMINAL, np.int8)

    @property
    def name(self) -> str:
        """OpenSpiel's full name of the game."""
        return str(self._game)

    @property
    def max_utility(self) -> float:
        """The most that a player can win."""
        return float(max(abs(self._game.min_utility()), abs(self._game.max_utility())))

    @property
    def terminal_row(self) -> int:
        """The row of finished plays."""
        return len(self.masks) - 1

    @property
    def over(self) -> NDArray[np.bool_]:
        """Which plays are finished."""
        return np.asarray(self.player == TERMINAL)

    def play(self, index: int) -> Any:
        """Return a copy of OpenSpiel's state of one play."""
        return self._plays[index].clone()

    @property
    def returns(self) -> Floats:
        """What both players have won, float64 ``(games, 2)``; zero until the end."""
        won = [state.returns() if state.is_terminal() else [0.0, 0.0] for state in self._plays]
        return np.array(won)

    def reset(self, seeds: NDArray[np.int64]) -> None:
        """Start new plays, one seed each."""
        self._random.seed(self._all, np.asarray(seeds, np.int64))
        self._plays = [self._game.new_initial_state() for _ in self._all]
        for index in self._all.tolist():
            self._look(index)

    def step(self, actions: NDArray[np.integer]) -> None:
        """Play one legal action in every unfinished game."""
        for index in np.flatnonzero(~self.over).tolist():
            self._plays[index].apply_action(int(actions[index]))
            self._look(index)

    def _look(self, index: int) -> None:
        """Let chance move, and note who sees what."""
        state = self._plays[index]
        while state.is_chance_node():
            outcomes, shares = zip(*state.chance_outcomes(), strict=True)
            draw = self._random.uniform(self._all[index : index + 1], 1)[0, 0]
            running = np.cumsum(shares)
            place = int(np.searchsorted(running, draw * running[-1], "right"))
            state.apply_action(outcomes[min(place, len(outcomes) - 1)])
        if state.is_terminal():
            self.player[index], self.row[index] = TERMINAL, self.terminal_row
            return
        self.player[index] = state.current_player()
        self.row[index] = self.row_of(state)

    def row_of(self, state: Any) -> int:
        """Return the row of who is to move at one of OpenSpiel's states, a new one if need be."""
        who = state.current_player()
        key = who, state.information_state_string(who)
        if key not in self._rows:
            self._rows[key] = self._enter(state, who, key[1])
        return self._rows[key]

    def _enter(self, state: Any, who: int, text: str) -> int:
        row = len(self.states)
        if row == self.terminal_row:
            raise GameError(f"plays of {self.name} met more than {row:,} information states")
        legal = tuple(state.legal_actions())
        self.tensors[row] = self._see(state, who)
        self.masks[row] = 0
        self.masks[row, list(legal)] = 1
        self.states.append(InformationState(text, legal, self.tensors[row]))
        self.owners.append(who)
        return row
