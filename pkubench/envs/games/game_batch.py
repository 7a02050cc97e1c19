"""Many plays of one game at once, both seats in the caller's hands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.core.seeding import RandomStreams
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.game_tables import game_tables
from pkubench.envs.games.tree import GameTree
from pkubench.errors import ActionError, ConfigError


class GameBatch:
    """``num_games`` plays of a game, stepped together as look-ups in the game's tables.

    At each step every unfinished play gets the action of whoever is to move in it; ``player``
    says who. Chance moves by itself, each play from the stream of its own seed, so a play is the
    same in any batch. For learners that train both seats or sample opponents from a population;
    ``GameSeat`` environments hide the opponent instead.

    Example:
        >>> tree = GameTree.from_openspiel("leduc_poker")
        >>> games = GameBatch(tree, 4)
        >>> games.reset(np.arange(4))
        >>> while not games.over.all():
        ...     games.step(games.action_mask.argmax(axis=1))
        >>> games.returns.sum(axis=1).tolist()
        [0.0, 0.0, 0.0, 0.0]

    Attributes:
        tree: The game.
        history: int64 ``(games,)``; each play's place in ``tree.histories``.
    """

    def __init__(self, tree: GameTree, num_games: int) -> None:
        """Set up the tables; :meth:`reset` starts the plays.

        Raises:
            ConfigError: ``num_games`` is not positive.
            GameError: The game has no information-state tensors.
        """
        if num_games < 1:
            raise ConfigError(f"num_games must be at least 1, got {num_games}")
        self.tree = tree
        self.history: Ints = np.zeros(num_games, dtype=np.int64)
        self._tables = game_tables(tree)
        self._random = RandomStreams(num_games)
        self._all = np.arange(num_games, dtype=np.int64)

    def reset(self, seeds: NDArray[np.int64], ids: Ints | None = None) -> None:
        """Start new plays, of all games or of the games ``ids``; one seed each."""
        ids = self._all if ids is None else ids
        self._random.seed(ids, np.asarray(seeds, np.int64))
        self.history[ids] = 0
        self._let_chance_move(ids)

    def step(self, actions: NDArray[np.integer], active: NDArray[np.bool_] | None = None) -> None:
        """Play one action in every unfinished game (of those ``active``).

        Args:
            actions: ``(games,)``, numbered as in ``action_mask``; ignored in finished games.
            active: bool ``(games,)``; the others wait.

        Raises:
            ActionError: An action is illegal; the message names the game and what is legal.
        """
        moving = ~self.over if active is None else ~self.over & active
        ids = self._all if moving.all() else np.flatnonzero(moving)
        chosen = np.asarray(actions)[ids]
        if ((chosen < 0) | (chosen >= self.tree.num_actions)).any():
            raise ActionError(f"actions must lie in 0 .. {self.tree.num_actions - 1}")
        child = self._tables.child[self.history[ids], chosen]
        if (child < 0).any():
            game = int(ids[np.argmax(child < 0)])
            legal = np.flatnonzero(self.action_mask[game]).tolist()
            raise ActionError(f"action {actions[game]} is illegal in game {game}; legal: {legal}")
        self.history[ids] = child
        self._let_chance_move(ids)

    @property
    def over(self) -> NDArray[np.bool_]:
        """Which plays are finished, bool ``(games,)``."""
        return self._tables.is_end[self.history]

    @property
    def player(self) -> NDArray[np.int8]:
        """Who is to move, 0 or 1, negative in finished games; int8 ``(games,)``."""
        return self.tree.histories.player[self.history]

    @property
    def row(self) -> Ints:
        """Information state of who is to move, int64 ``(games,)``.

        Player 0's states in the order of ``tree.information_states(0)``, then player 1's, then
        one number for finished games: a row of a table of action probabilities over all states.
        """
        return self._tables.row[self.history]

    @property
    def observations(self) -> NDArray[np.float32]:
        """Information-state tensors of who is to move, ``(games, size)``; zero if finished."""
        return self._tables.tensors[self.row]

    @property
    def action_mask(self) -> NDArray[np.int8]:
        """Legal actions of who is to move, ``(games, actions)``; all ones if finished."""
        return self._tables.masks[self.row]

    @property
    def returns(self) -> Floats:
        """What both players have won, float64 ``(games, 2)``; zero until the end."""
        return self._tables.returns[self.history]

    def _let_chance_move(self, ids: Ints) -> None:
        ids = ids[self._tables.is_chance[self.history[ids]]]
        if len(ids):
            draws = self._random.uniform(ids, 1)[:, 0]
            self.history[ids] = self._tables.after_chance(self.history[ids], draws)
