"""Plays of one seat against opponents drawn from a mixture, in a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pkubench.agents.families.psro.dqn import Decisions
from pkubench.envs.games.forest import Floats, Ints

Act = Callable[[Ints, np.random.Generator], tuple[Ints, Floats]]
"""From rows to actions and the distributions that they count as samples of."""


class Games(Protocol):
    """A batch of games, as ``GameBatch`` and ``StateBatch`` implement it."""

    @property
    def over(self) -> NDArray[np.bool_]:
        """Which plays are finished."""
        ...

    @property
    def player(self) -> NDArray[np.int8]:
        """The player to move."""
        ...

    @property
    def row(self) -> Ints:
        """Information state of the player to move."""
        ...

    @property
    def returns(self) -> Floats:
        """Returns of both players, ``(games, 2)``."""
        ...

    def reset(self, seeds: NDArray[np.int64]) -> None:
        """Start new plays."""
        ...

    def step(self, actions: NDArray[np.integer]) -> None:
        """Play one action in every unfinished game."""
        ...


class Mixture(Protocol):
    """Policies of the other seat, one drawn for each play and kept to its end."""

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """Return the opponent drawn for each play."""
        ...

    def act(self, drawn: Ints, rows: Ints, rng: np.random.Generator) -> Ints:
        """Return the actions of drawn policies."""
        ...


class Played(NamedTuple):
    """One seat's decisions, play by play, each in the order of the play.

    Attributes:
        plays: int64; index of the play.
        is_last: bool; the seat's last decision in it.
        decisions: Actions and rewards.
        distributions: float64 ``(decisions, actions)``; what actions count as samples of.
    """

    plays: Ints
    is_last: NDArray[np.bool_]
    decisions: Decisions
    distributions: Floats


def play(
    games: Games,
    count: int,
    side: int,
    opponents: Mixture,
    act: Act,
    end_row: int,
    rng: np.random.Generator,
) -> Played | None:
    """Play ``count`` games to the end, as ``side``; None if it never had to decide.

    Args:
        games: The batch.
        count: Number of games in it.
        side: The seat that ``act`` plays.
        opponents: The mixture it plays against.
        act: Its policy.
        end_row: The row that means the end of a play.
        rng: Source of the seeds of plays, of the opponents and of their actions.
    """
    games.reset(rng.integers(0, 2**31, count))
    drawn = opponents.draw(count, rng)
    indices, rows, actions, distributions = [], [], [], []
    while not games.over.all():
        row, player = games.row, games.player
        chosen = np.zeros(count, np.int64)
        own, other = np.flatnonzero(player == side), np.flatnonzero(player == 1 - side)
        chosen[other] = opponents.act(drawn[other], row[other], rng)
        if len(own):
            chosen[own], probabilities = act(row[own], rng)
            indices.append(own)
            rows.append(row[own])
            actions.append(chosen[own])
            distributions.append(probabilities)
        games.step(chosen)
    if not indices:
        return None
    index = np.concatenate(indices)
    order, is_last, decisions = in_order(
        index, np.concatenate(rows), np.concatenate(actions), games.returns[:, side], end_row
    )
    return Played(index[order], is_last, decisions, np.concatenate(distributions)[order])


def in_order(
    index: Ints, rows: Ints, actions: Ints, returns: Floats, end_row: int
) -> tuple[Ints, NDArray[np.bool_], Decisions]:
    """Put one seat's decisions play by play, and follow each to the seat's next.

    Args:
        index: int64 ``(decisions,)``; the play of each, those of one play in its order.
        rows: int64, likewise; where the seat acted.
        actions: int64, likewise.
        returns: float64 ``(plays,)``; what the seat won.
        end_row: The row that means the end of a play.

    Returns:
        The new order, which decisions are the last of their play, and the decisions.
    """
    order = np.argsort(index, kind="stable")
    index, row = index[order], rows[order]
    is_last = np.append(index[1:] != index[:-1], True)
    rewards = np.where(is_last, returns[index], 0.0)
    after = np.where(is_last, end_row, np.append(row[1:], 0))
    return order, is_last, Decisions(row, actions[order], rewards, after)
