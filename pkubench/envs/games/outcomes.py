"""What chance and the opponent make of a play between two own moves, as one table of draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkubench.envs.games.draws import pick, running_shares
from pkubench.envs.games.forest import Floats, Ints
from pkubench.envs.games.histories import TERMINAL
from pkubench.envs.games.opponents import Opponent
from pkubench.envs.games.sequence_form import chance_reach
from pkubench.envs.games.tree import GameTree


@dataclass(frozen=True)
class Outcomes:
    """Distributions over the next stop, one a (seat, opponent's policy, place after an own move).

    A *stop* is a history where the learner acts or the play is over. Given the own moves, the
    probability of a stop is proportional to (chance's moves x the opponent's realization plan)
    at it, so no simulation of the moves between is needed. All distributions lie one after the
    other in one increasing array: number ``g`` covers the values from ``g`` to ``g + 1``.
    """

    cumulative: Floats
    stop: Ints
    """The history behind each entry of ``cumulative``."""
    rank: Ints
    """For each history right after an own move: its place among those of its player."""
    first: Ints
    """Number of the first distribution of each seat."""
    count: Ints
    """Distributions of each seat for one policy of the opponent."""
    meta: tuple[Floats, Floats]
    """For each seat, cumulative weights of the opponent's policies."""

    @staticmethod
    def build(tree: GameTree, others: tuple[Opponent, Opponent]) -> Outcomes:
        """Lay the table of a game against ``others`` (what is played as player 0 and 1)."""
        histories = tree.histories
        reach = chance_reach(histories)
        rank = np.zeros(len(histories.player), np.int64)
        sums: list[Floats] = []
        stops: list[Ints] = []
        first: list[int] = [0]
        count: list[int] = []
        meta: list[Floats] = []
        for seat in (0, 1):
            other = others[1 - seat]
            after = _last_own_move(tree, seat)
            stop = np.flatnonzero((histories.player == seat) | (histories.player == TERMINAL))
            stop = stop[np.argsort(after[stop], kind="stable")]
            places, group = np.unique(after[stop], return_inverse=True)
            rank[places] = np.arange(len(places))
            sequence = tree.form.sequence[1 - seat, stop]
            for number, plan in enumerate(other.plans):
                start = first[seat] + number * len(places) + group
                sums.append(start + running_shares(reach[stop] * plan[sequence], group))
                stops.append(stop)
            first.append(first[seat] + len(places) * len(other.plans))
            count.append(len(places))
            shares = np.cumsum(other.weights)
            shares[np.flatnonzero(other.weights)[-1] :] = 1.0
            meta.append(shares)
        return Outcomes(
            np.concatenate(sums),
            np.concatenate(stops),
            rank,
            np.array(first[:2]),
            np.array(count),
            (meta[0], meta[1]),
        )

    def policy(self, seat: Ints, draws: Floats) -> Ints:
        """Draw which of its policies each environment's opponent plays; ``draws`` in [0, 1)."""
        drawn = [np.searchsorted(shares, draws, "right") for shares in self.meta]
        return np.where(seat == 0, drawn[0], drawn[1]).astype(np.int64)

    def next(self, seat: Ints, policy: Ints, place: Ints, draws: Floats) -> Ints:
        """Draw the next stop of each environment.

        Args:
            seat: The learner's seat.
            policy: The opponent's policy.
            place: The history right after the own move; 0 (the root) before the first one.
            draws: In [0, 1).
        """
        number = self.first[seat] + policy * self.count[seat] + self.rank[place]
        return self.stop[pick(self.cumulative, number, draws)]


def _last_own_move(tree: GameTree, seat: int) -> Ints:
    """Return, for each history, the one right after the seat's last move; the root before."""
    histories = tree.histories
    after = np.arange(len(histories.player), dtype=np.int64)
    for start, end in zip(histories.lengths[1:-1], histories.lengths[2:], strict=True):
        above = histories.parent[start:end]
        after[start:end] = np.where(histories.player[above] == seat, after[start:end], after[above])
    return after
