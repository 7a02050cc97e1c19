"""Every history of a small OpenSpiel game, flattened into arrays.

Histories are numbered breadth first, so the children of one history are consecutive and all
histories of one length form a slice. This file and ``openspiel_games.py`` are the only ones of the
engine that use OpenSpiel; what they return is plain NumPy and pickles without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.games.errors import GameError, GameTooLarge
from pkubench.envs.games.openspiel_games import EXAMPLE, observer
from pkubench.errors import ConfigError

CHANCE = -1
"""``Histories.player`` where chance moves."""

TERMINAL = -4
"""``Histories.player`` at the end of a play."""

MAX_HISTORIES = 2_000_000
"""Default limit of the enumeration; Liar's dice with six sides has 294,883 histories."""

LIMIT_VARIABLE = "PKUBENCH_MAX_HISTORIES"
"""Environment variable with another limit; worker processes inherit it."""

_PROBES, _SURELY = 256, 20.0
"""Random plays that estimate a tree's size before it is built, and by what factor their mean must
pass the limit. The estimate is unbiased and never negative, so by Markov's inequality a tree within
the limit is refused with probability 1/20 at the very worst; of games whose plays are alike, never.
"""


@dataclass(frozen=True, slots=True)
class InformationStates:
    """The information states of one player, in the order in which breadth-first search meets them.

    Attributes:
        texts: OpenSpiel's information-state strings, one a state.
        legal_actions: Legal actions of each state, ascending.
        tensors: float32 ``(states, size)``, see :func:`observer`; None if the game offers none.
    """

    texts: tuple[str, ...]
    legal_actions: tuple[tuple[int, ...], ...]
    tensors: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Histories:
    """All histories of a game, one entry an array row.

    Attributes:
        name: The game's full name with its parameters, as OpenSpiel prints it.
        num_actions: Number of distinct actions of the players.
        player: int8; 0 or 1 to act, ``CHANCE`` or ``TERMINAL``.
        state: int32; index of the information state of the player to act, -1 elsewhere.
        parent: int32; the history one move shorter, -1 for the root.
        move: int32; position of the last move among the parent's legal moves.
        action: int32; the last move as OpenSpiel numbers it, -1 for the root.
        first_child: int32; the first of the consecutive children.
        num_children: int32; zero at the end of a play.
        chance: float64; probability of the last move if chance made it, otherwise 1.
        utility: float64; what player 0 wins at the end of a play, otherwise 0.
        lengths: int64; histories of length ``d`` are ``lengths[d]:lengths[d + 1]``.
        states: Information states of both players.
    """

    name: str
    num_actions: int
    player: NDArray[np.int8]
    state: NDArray[np.int32]
    parent: NDArray[np.int32]
    move: NDArray[np.int32]
    action: NDArray[np.int32]
    first_child: NDArray[np.int32]
    num_children: NDArray[np.int32]
    chance: NDArray[np.float64]
    utility: NDArray[np.float64]
    lengths: NDArray[np.int64]
    states: tuple[InformationStates, InformationStates]


def allowed_histories() -> int:
    """Return how many histories a tree may have: ``PKUBENCH_MAX_HISTORIES``, else two million.

    Raises:
        ConfigError: The variable is not a positive whole number.
    """
    given = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not given:
        return MAX_HISTORIES
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(
            f"{LIMIT_VARIABLE} must be a whole number of at least 1, got {given!r}; unset it for "
            f"{MAX_HISTORIES:,}"
        )
    return int(given)


def allow_histories(count: int) -> None:
    """Let trees have up to ``count`` histories, in this process and in workers started later.

    A million take about 0.6 GB of memory and 7 seconds to build. How many are allowed never changes
    a score. Trees built before are kept.

    Raises:
        ConfigError: Not a positive whole number.
    """
    before = os.environ.get(LIMIT_VARIABLE)
    os.environ[LIMIT_VARIABLE] = str(count)
    try:
        allowed_histories()
    except ConfigError:
        os.environ.pop(LIMIT_VARIABLE)
        if before is not None:
            os.environ[LIMIT_VARIABLE] = before
        raise


def check_size(game: Any, max_histories: int | None = None) -> None:
    """Refuse a game that is much too large, in moments instead of the minutes of an enumeration.

    Knuth's estimator (1975): of a play that chooses evenly at every node, the product of the
    numbers of children down to a depth is in expectation the number of nodes there.

    Args:
        game: What :func:`load_openspiel` returned.
        max_histories: How many histories may be; :func:`allowed_histories` if left.

    Raises:
        GameTooLarge: By the mean over ``_PROBES`` plays there are more than ``_SURELY`` times as
            many. A game that passes may still be too large, which the enumeration finds out.
    """
    max_histories = allowed_histories() if max_histories is None else max_histories
    rng = np.random.default_rng(0)
    found, enough = 0.0, _PROBES * _SURELY * max_histories
    for _ in range(_PROBES):
        node, width = game.new_initial_state(), 1.0
        while not node.is_terminal():
            actions = (
                [action for action, p in node.chance_outcomes() if p > 0.0]
                if node.is_chance_node()
                else node.legal_actions()
            )
            width *= len(actions)
            found += width
            if found > enough:
                raise _too_large(game, max_histories)
            node.apply_action(actions[int(rng.integers(len(actions)))])


def _too_large(game: Any, max_histories: int) -> GameTooLarge:
    return GameTooLarge(
        f"game {game} has more than {max_histories:,} histories; the engine holds the whole tree "
        f"in memory (0.6 GB a million), so choose a smaller variant, {EXAMPLE}, or allow more with "
        f"--max-histories N or {LIMIT_VARIABLE}=N; `pkubench evaluate AGENT GAME --responses "
        "20000` gives a lower bound without a tree"
    )


def enumerate_histories(game: Any, max_histories: int | None = None) -> Histories:
    """Walk a game breadth first and record every history of positive chance probability.

    Args:
        game: What :func:`load_openspiel` returned.
        max_histories: Give up (before memory runs out) beyond this many histories;
            :func:`allowed_histories` if left.

    Raises:
        GameTooLarge: Too many histories.
        GameError: Returns that do not sum to zero, or one information state with two different sets
            of legal actions.
    """
    max_histories = allowed_histories() if max_histories is None else max_histories
    check_size(game, max_histories)
    try:
        see = observer(game).see
    except GameError:  # raised by ``GameTree.tensors`` where observations are asked for
        see = None
    walk = _Walk(game, (_StateTable(0, see), _StateTable(1, see)))
    level = [game.new_initial_state()]
    while level:
        walk.lengths.append(walk.lengths[-1] + len(level))
        if walk.lengths[-1] > max_histories:
            raise _too_large(game, max_histories)
        level = [child for node in level for child in walk.visit(node)]
    return walk.histories()


@dataclass(slots=True)
class _StateTable:
    """The information states of one player met so far."""

    player: int
    see: Callable[[Any, int], NDArray[np.float32]] | None
    index: dict[str, int] = field(default_factory=dict)
    legal: list[tuple[int, ...]] = field(default_factory=list)
    tensors: list[NDArray[np.float32]] = field(default_factory=list)

    def number(self, game: Any, node: Any, actions: list[int]) -> int:
        """Return the number of the state at a history, a new one if it is met for the first time.

        Raises:
            GameError: The state had other legal actions before.
        """
        text = node.information_state_string()
        which = self.index.get(text, -1)
        if which < 0:
            which = self.index[text] = len(self.index)
            self.legal.append(tuple(actions))
            if self.see is not None:
                self.tensors.append(self.see(node, self.player))
        elif list(self.legal[which]) != actions:
            raise GameError(
                f"game {game}: information state {text!r} of player {self.player} has legal "
                f"actions {list(self.legal[which])} at one history and {actions} at another, so it "
                "is not one state"
            )
        return which

    def states(self) -> InformationStates:
        """Return what was met."""
        stacked = None
        if self.see is not None:
            stacked = np.stack(self.tensors) if self.tensors else np.zeros((0, 0), np.float32)
        return InformationStates(tuple(self.index), tuple(self.legal), stacked)


@dataclass(slots=True)
class _Walk:
    """The columns of ``Histories`` while the game is walked."""

    game: Any
    tables: tuple[_StateTable, _StateTable]
    player: list[int] = field(default_factory=list)
    state: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=lambda: [-1])
    move: list[int] = field(default_factory=lambda: [0])
    action: list[int] = field(default_factory=lambda: [-1])
    first_child: list[int] = field(default_factory=list)
    num_children: list[int] = field(default_factory=list)
    chance: list[float] = field(default_factory=lambda: [1.0])
    utility: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=lambda: [0])

    def visit(self, node: Any) -> list[Any]:
        """Record a history and return its children.

        Raises:
            GameError: Its returns do not sum to zero, or its information state is not one state.
        """
        here, who = len(self.player), node.current_player()
        self.player.append(who)
        self.first_child.append(len(self.parent))
        actions, chance, which, utility = [], [], -1, 0.0
        if who == TERMINAL:
            utility = self._utility(node)
        elif who == CHANCE:
            outcomes = [(a, p) for a, p in node.chance_outcomes() if p > 0.0]
            actions, chance = [a for a, _ in outcomes], [p for _, p in outcomes]
        else:
            actions = node.legal_actions()
            which = self.tables[who].number(self.game, node, actions)
            chance = [1.0] * len(actions)
        self.utility.append(utility)
        self.state.append(which)
        self.num_children.append(len(actions))
        self.chance.extend(chance)
        self.parent.extend([here] * len(actions))
        self.move.extend(range(len(actions)))
        self.action.extend(actions)
        return [node.child(a) for a in actions]

    def _utility(self, node: Any) -> float:
        """Return what player 0 wins at the end of a play."""
        ours, theirs = node.returns()
        if abs(ours + theirs) > 1e-9:
            raise GameError(
                f"game {self.game} pays {ours:g} and {theirs:g} after {node.history_str()!r}; the "
                "two must sum to zero"
            )
        return float(ours)

    def histories(self) -> Histories:
        """Return the columns as arrays."""
        return Histories(
            name=str(self.game),
            num_actions=int(self.game.num_distinct_actions()),
            player=np.array(self.player, np.int8),
            state=np.array(self.state, np.int32),
            parent=np.array(self.parent, np.int32),
            move=np.array(self.move, np.int32),
            action=np.array(self.action, np.int32),
            first_child=np.array(self.first_child, np.int32),
            num_children=np.array(self.num_children, np.int32),
            chance=np.array(self.chance, np.float64),
            utility=np.array(self.utility, np.float64),
            lengths=np.array(self.lengths, np.int64),
            states=(self.tables[0].states(), self.tables[1].states()),
        )
