"""Games of OpenSpiel: which of them the engine takes, and how a policy observes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.games.errors import GameError
from pkubench.errors import MissingExtra, UnknownName

EXAMPLE = "such as openspiel:liars_dice(dice_sides=3)"
"""A game that the engine takes, for messages about those that it does not."""


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
            f"{EXAMPLE}"
        )
    if kind.utility != pyspiel.GameType.Utility.ZERO_SUM:
        raise GameError(
            f"game {name!r} is not zero-sum (OpenSpiel says {kind.utility.name.lower()}); "
            f"exploitability by linear programming needs a zero-sum game, {EXAMPLE}"
        )
    if kind.chance_mode == pyspiel.GameType.ChanceMode.SAMPLED_STOCHASTIC:
        raise GameError(
            f"game {name!r} only samples its chance moves; they must be enumerable, {EXAMPLE}"
        )
    if kind.dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        game = pyspiel.convert_to_turn_based(game)
        kind = game.get_type()
    if kind.dynamics != pyspiel.GameType.Dynamics.SEQUENTIAL:
        raise GameError(f"game {name!r} is neither turn-based nor simultaneous")
    if not kind.provides_information_state_string:
        raise GameError(
            f"game {name!r} gives no information-state strings (OpenSpiel has them of some games "
            f"only), so nobody can say what a policy is; choose one that does, {EXAMPLE}"
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
        f"for the others choose a game that has them, {EXAMPLE}"
    )
