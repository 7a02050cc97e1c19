"""Plays of one seat against opponents drawn from a mixture, many at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pkubench.agents.families.psro.dqn import Decisions
from pkubench.envs.games.forest import Floats, Ints

Act = Callable[[Ints, np.random.Generator], tuple[Ints, Floats]]
"""From rows to actions, and the distributions they count as drawn from."""


class Games(Protocol):
    """What is asked of a batch of games; ``GameBatch`` has it, and ``StateBatch``."""

    @property
    def over(self) -> NDArray[np.bool_]:
        """Which plays are finished."""
        ...

    @property
    def player(self) -> NDArray[np.int8]:
        """Who is to move."""
        ...

    @property
    def row(self) -> Ints:
        """Information state of who is to move."""
        ...

    @property
    def returns(self) -> Floats:
        """What both players have won, ``(games, 2)``."""
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
        """Return whom each play meets."""
        ...

    def act(self, drawn: Ints, rows: Ints, rng: np.random.Generator) -> Ints:
        """Return the actions of drawn policies."""
        ...


class Played(NamedTuple):
    """One seat's decisions, play by play, each in the order of the play.

    Attributes:
        lanes: int64; which play.
        is_last: bool; the seat's last decision in it.
        decisions: What was done and won.
        distributions: float64 ``(decisions, actions)``; what actions count as drawn from.
    """

    lanes: Ints
    is_last: NDArray[np.bool_]
    decisions: Decisions
    distributions: Floats


def play(
    games: Games,
    count: int,
    side: int,
    opponents: Mixture,
    act: Act,
    nobody: int,
    rng: np.random.Generator,
) -> Played | None:
    """Play ``count`` games to the end, as ``side``; None if it never had to decide.

    Args:
        games: A batch of so many.
        count: Their number.
        side: The seat that ``act`` plays.
        opponents: Whom it meets.
        act: How it plays.
        nobody: The row that stands for the end of a play.
        rng: Gives plays their seeds and draws the opponents and their actions.
    """
    games.reset(rng.integers(0, 2**31, count))
    drawn = opponents.draw(count, rng)
    lanes, rows, actions, distributions = [], [], [], []
    while not games.over.all():
        row, player = games.row, games.player
        chosen = np.zeros(count, np.int64)
        own, other = np.flatnonzero(player == side), np.flatnonzero(player == 1 - side)
        chosen[other] = opponents.act(drawn[other], row[other], rng)
        if len(own):
            chosen[own], probabilities = act(row[own], rng)
            lanes.append(own)
            rows.append(row[own])
            actions.append(chosen[own])
            distributions.append(probabilities)
        games.step(chosen)
    if not lanes:
        return None
    lane = np.concatenate(lanes)
    order = np.argsort(lane, kind="stable")
    lane, row = lane[order], np.concatenate(rows)[order]
    is_last = np.append(lane[1:] != lane[:-1], True)
    rewards = np.where(is_last, games.returns[lane, side], 0.0)
    after = np.where(is_last, nobody, np.append(row[1:], 0))
    decisions = Decisions(row, np.concatenate(actions)[order], rewards, after)
    return Played(lane, is_last, decisions, np.concatenate(distributions)[order])
