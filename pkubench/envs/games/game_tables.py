"""What every history of a game shows, allows and leads to, as look-up tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.games.draws import pick, running_shares
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.histories import CHANCE, TERMINAL
from pkubench.envs.games.sequence_form import chance_reach
from pkubench.envs.games.tree import GameTree


@dataclass(frozen=True)
class GameTables:
    """Tables indexed by history, and by row: player 0's states, player 1's, terminal.

    Attributes:
        row: int64 ``(histories,)``; the row of who is to act, the last one elsewhere.
        tensors: float32 ``(rows, size)``; information-state tensors, zero in the last row.
        masks: int8 ``(rows, actions)``; legal actions, all ones in the last row.
        child: int64 ``(histories, actions)``; where an action leads, -1 if it is illegal.
        is_end: bool ``(histories,)``.
        is_chance: bool ``(histories,)``.
        returns: float64 ``(histories, 2)``; what both win at the end of a play, otherwise 0.
    """

    row: Ints
    tensors: NDArray[np.float32]
    masks: NDArray[np.int8]
    child: Ints
    is_end: NDArray[np.bool_]
    is_chance: NDArray[np.bool_]
    returns: Floats
    _number: Ints
    _cumulative: Floats
    _after: Ints

    def after_chance(self, history: Ints, draws: Floats) -> Ints:
        """Draw the next history where a player acts or the play is over.

        Args:
            history: Where chance moves.
            draws: In [0, 1), one each, however many moves chance makes in a row.
        """
        return self._after[pick(self._cumulative, self._number[history], draws)]


@lru_cache(maxsize=16)
def game_tables(tree: GameTree) -> GameTables:
    """Return the tables of a tree, laid on first use. Treat them as read-only.

    Raises:
        GameError: The game has no information-state tensors.
    """
    histories = tree.histories
    count, sizes = len(histories.player), tree.num_information_states
    row = np.full(count, sum(sizes), dtype=np.int64)
    for player, offset in ((0, 0), (1, sizes[0])):
        own = np.flatnonzero(histories.player == player)
        position = np.empty(sizes[player], dtype=np.int64)
        position[tree.form.orders[player]] = np.arange(sizes[player])
        row[own] = offset + position[histories.state[own]]
    tensors = [tree.tensors(0), tree.tensors(1)]
    masks = [tree.legal_mask(0), tree.legal_mask(1), np.ones((1, tree.num_actions), np.bool_)]
    child = np.full((count, tree.num_actions), -1, dtype=np.int64)
    moved = np.flatnonzero(histories.parent >= 0)
    moved = moved[histories.player[histories.parent[moved]] >= 0]
    child[histories.parent[moved], histories.action[moved]] = moved

    is_chance = histories.player == CHANCE
    # Where chance moves several times in a row, all of them are one draw from the first place.
    entry = np.arange(count)
    for start, end in zip(histories.lengths[1:-1], histories.lengths[2:], strict=True):
        above = histories.parent[start:end]
        entry[start:end] = np.where(is_chance[above], entry[above], entry[start:end])
    after = np.flatnonzero(~is_chance & (entry != np.arange(count)))
    after = after[np.argsort(entry[after], kind="stable")]
    entries, group = np.unique(entry[after], return_inverse=True)
    number = np.full(count, -1, dtype=np.int64)
    number[entries] = np.arange(len(entries))
    cumulative = np.zeros(0)
    if len(after):
        cumulative = group + running_shares(chance_reach(histories)[after], group)
    return GameTables(
        row=row,
        tensors=np.concatenate([*tensors, np.zeros_like(tensors[0][:1])]),
        masks=np.concatenate(masks).astype(np.int8),
        child=child,
        is_end=histories.player == TERMINAL,
        is_chance=is_chance,
        returns=np.stack([histories.utility, 0.0 - histories.utility], axis=1),
        _number=number,
        _cumulative=cumulative,
        _after=after,
    )
