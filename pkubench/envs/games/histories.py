"""Every history of a small OpenSpiel game, flattened into arrays.

Histories are numbered breadth first, so the children of one history are consecutive and all
histories of one length form a slice. This is the only file of the engine that talks to OpenSpiel;
what it returns is plain NumPy and pickles without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.games.errors import GameError, GameTooLarge
from pkubench.errors import MissingExtra, UnknownName

CHANCE = -1
"""``Histories.player`` where chance moves."""

TERMINAL = -4
"""``Histories.player`` at the end of a play."""

MAX_HISTORIES = 2_000_000
"""Default limit of the enumeration; Liar's dice with six sides has 294,883 histories."""

_PROBES, _SURELY = 256, 20.0
"""Random plays that estimate a tree's size before it is built, and by what factor their mean must
pass the limit. The estimate is unbiased and never negative, so by Markov's inequality a tree within
the limit is refused with probability 1/20 at the very worst; of games whose plays are alike, never.
"""

_WORKS = "such as openspiel:liars_dice(dice_sides=3)"
"""A game that the engine takes, for messages about those that it does not."""


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


def openspiel(game: str) -> Any:
    """Return the module of OpenSpiel.

    Raises:
        MissingExtra: It is not installed; ``game`` says what for.
    """
    try:
        import pyspiel
    except ImportError as missing:
        raise MissingExtra("games", f"the game {game!r}") from missing
    return pyspiel


def load_openspiel(name: str) -> Any:
    """Load a two-player zero-sum OpenSpiel game, simultaneous ones as turn-based.

    Args:
        name: OpenSpiel's spelling with parameters, e.g. ``liars_dice(dice_sides=4)``.

    Raises:
        MissingExtra: OpenSpiel is not installed.
        UnknownName: OpenSpiel has no such game.
        GameError: The parameters are wrong, or the game is not two-player, zero-sum, with
            enumerable chance and information-state strings.
    """
    pyspiel = openspiel(name)
    short = name.split("(", 1)[0].strip()
    known = [game.short_name for game in pyspiel.registered_games()]
    if short not in known:
        raise UnknownName("OpenSpiel game", short, known, "See pyspiel.registered_names().")
    try:
        # The C++ loader prints its complaint as well as raising it; nothing here can mute that.
        game = pyspiel.load_game(name)
    except (pyspiel.SpielError, RuntimeError) as refused:
        reason = str(refused).strip().splitlines()[0] if str(refused).strip() else "no reason given"
        raise GameError(f"OpenSpiel refuses the game {name!r}: {reason}") from refused
    kind = game.get_type()
    if game.num_players() != 2:
        raise GameError(
            f"game {name!r} has {game.num_players()} player(s); the engine needs exactly two, "
            f"{_WORKS}"
        )
    if kind.utility != pyspiel.GameType.Utility.ZERO_SUM:
        raise GameError(
            f"game {name!r} is not zero-sum (OpenSpiel says {kind.utility.name.lower()}); "
            f"exploitability by linear programming needs a zero-sum game, {_WORKS}"
        )
    if kind.chance_mode == pyspiel.GameType.ChanceMode.SAMPLED_STOCHASTIC:
        raise GameError(
            f"game {name!r} only samples its chance moves; they must be enumerable, {_WORKS}"
        )
    if kind.dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        game = pyspiel.convert_to_turn_based(game)
        kind = game.get_type()
    if kind.dynamics != pyspiel.GameType.Dynamics.SEQUENTIAL:
        raise GameError(f"game {name!r} is neither turn-based nor simultaneous")
    if not kind.provides_information_state_string:
        raise GameError(
            f"game {name!r} gives no information-state strings (OpenSpiel has them of some games "
            f"only), so nobody can say what a policy is; choose one that does, {_WORKS}"
        )
    return game


class Observer(NamedTuple):
    """What a player sees where it is to move, as numbers.

    Attributes:
        size: How many.
        see: From OpenSpiel's state and a player to float32 ``(size,)``.
    """

    size: int
    see: Callable[[Any, int], NDArray[np.float32]]


def _information_state(state: Any, player: int) -> NDArray[np.float32]:
    return np.array(state.information_state_tensor(player), np.float32)


def _position(state: Any, player: int) -> NDArray[np.float32]:
    return np.array(state.observation_tensor(player), np.float32)


def observer(game: Any) -> Observer:
    """Return how a game is seen by a policy that acts on numbers.

    They are OpenSpiel's information-state tensor. Most games of perfect information have none;
    there the observation tensor, which is the whole position, says as much as anybody needs. (It
    leaves out the way to the position, which their information states tell apart.)

    Args:
        game: What :func:`load_openspiel` returned.

    Raises:
        GameError: The game offers neither.
    """
    kind = game.get_type()
    if kind.provides_information_state_tensor:
        return Observer(
            int(np.prod(game.information_state_tensor_shape())),
            _information_state,
        )
    if (
        kind.information == kind.Information.PERFECT_INFORMATION
        and kind.provides_observation_tensor
    ):
        return Observer(
            int(np.prod(game.observation_tensor_shape())),
            _position,
        )
    raise unobserved(str(game))


def unobserved(name: str) -> GameError:
    """Return the error about a game without :func:`observer`."""
    return GameError(
        f"game {name} has no information-state tensors, so what acts on observations (random, "
        "networks) cannot play it; population files and what learns on the tree (psro, cfr+) can; "
        f"for the others choose a game that has them, {_WORKS}"
    )


def check_size(game: Any, max_histories: int = MAX_HISTORIES) -> None:
    """Refuse a game that is much too large, in moments instead of the minutes of an enumeration.

    Knuth's estimator (1975): of a play that chooses evenly at every node, the product of the
    numbers of children down to a depth is in expectation the number of nodes there.

    Args:
        game: What :func:`load_openspiel` returned.
        max_histories: How many histories may be.

    Raises:
        GameTooLarge: By the mean over ``_PROBES`` plays there are more than ``_SURELY`` times as
            many. A game that passes may still be too large, which the enumeration finds out.
    """
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
        f"game {game} has more than {max_histories:,} histories; the engine holds the "
        f"whole tree in memory, so choose a smaller variant, {_WORKS}, or raise max_histories; "
        "`pkubench evaluate AGENT GAME --responses 20000` gives a lower bound without a tree"
    )


def enumerate_histories(game: Any, max_histories: int = MAX_HISTORIES) -> Histories:
    """Walk a game breadth first and write down every history of positive chance probability.

    Args:
        game: What :func:`load_openspiel` returned.
        max_histories: Give up (before memory runs out) beyond this many histories.

    Raises:
        GameTooLarge: Too many histories.
        GameError: Returns that do not sum to zero, or one information state with two different sets
            of legal actions.
    """
    check_size(game, max_histories)
    try:
        see = observer(game).see
    except GameError:  # told by ``GameTree.tensors`` to who asks
        see = None
    player: list[int] = []
    state: list[int] = []
    parent: list[int] = [-1]
    move: list[int] = [0]
    action: list[int] = [-1]
    first_child: list[int] = []
    num_children: list[int] = []
    chance: list[float] = [1.0]
    utility: list[float] = []
    lengths: list[int] = [0]
    index: tuple[dict[str, int], dict[str, int]] = ({}, {})
    legal_of: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = ([], [])
    tensors: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])

    level = [game.new_initial_state()]
    while level:
        lengths.append(lengths[-1] + len(level))
        if lengths[-1] > max_histories:
            raise _too_large(game, max_histories)
        longer: list[Any] = []
        for node in level:
            here = len(player)
            who = node.current_player()
            player.append(who)
            first_child.append(len(parent))
            which = -1
            if who == TERMINAL:
                ours, theirs = node.returns()
                if abs(ours + theirs) > 1e-9:
                    raise GameError(
                        f"game {game} pays {ours:g} and {theirs:g} after {node.history_str()!r}; "
                        "the two must sum to zero"
                    )
                state.append(-1)
                utility.append(ours)
                num_children.append(0)
                continue
            utility.append(0.0)
            if who == CHANCE:
                outcomes = [(a, p) for a, p in node.chance_outcomes() if p > 0.0]
                actions = [a for a, _ in outcomes]
                chance.extend(p for _, p in outcomes)
            else:
                actions = node.legal_actions()
                text = node.information_state_string()
                known = index[who]
                which = known.get(text, -1)
                if which < 0:
                    which = known[text] = len(known)
                    legal_of[who].append(tuple(actions))
                    if see is not None:
                        tensors[who].append(see(node, who))
                elif list(legal_of[who][which]) != actions:
                    raise GameError(
                        f"game {game}: information state {text!r} of player {who} has legal "
                        f"actions {list(legal_of[who][which])} at one history and {actions} at "
                        "another, so it is not one state"
                    )
                chance.extend([1.0] * len(actions))
            state.append(which)
            num_children.append(len(actions))
            parent.extend([here] * len(actions))
            move.extend(range(len(actions)))
            action.extend(actions)
            longer.extend([node.child(a) for a in actions])
        level = longer

    return Histories(
        name=str(game),
        num_actions=int(game.num_distinct_actions()),
        player=np.array(player, np.int8),
        state=np.array(state, np.int32),
        parent=np.array(parent, np.int32),
        move=np.array(move, np.int32),
        action=np.array(action, np.int32),
        first_child=np.array(first_child, np.int32),
        num_children=np.array(num_children, np.int32),
        chance=np.array(chance, np.float64),
        utility=np.array(utility, np.float64),
        lengths=np.array(lengths, np.int64),
        states=(
            _states(index[0], legal_of[0], tensors[0] if see else None),
            _states(index[1], legal_of[1], tensors[1] if see else None),
        ),
    )


def _states(
    index: dict[str, int],
    legal: list[tuple[int, ...]],
    tensors: list[NDArray[np.float32]] | None,
) -> InformationStates:
    stacked = None
    if tensors is not None:
        stacked = np.stack(tensors) if tensors else np.zeros((0, 0), np.float32)
    return InformationStates(tuple(index), tuple(legal), stacked)
