"""Trees that are built once a process: worlds, trainers and scorers ask for the same few games."""

from __future__ import annotations

from functools import lru_cache

from pkubench.envs.games.matrix_catalogue import make_matrix_game
from pkubench.envs.games.normal_form import MatrixGame
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.envs.registry import resolve, world_class
from pkubench.errors import ConfigError

_MATRIX = ("matrix:", "payoff:")


@lru_cache(maxsize=16)
def matrix_game(game: str) -> MatrixGame:
    """Return a matrix game by its spelling, made on first use. Treat it as read-only.

    Raises:
        UnknownName, ConfigError, GameError: As
            :func:`pkubench.envs.games.matrix_catalogue.make_matrix_game`.
    """
    return make_matrix_game(game)


@lru_cache(maxsize=16)
def game_tree(game: str) -> GameTree:
    """Return the tree of a game, built on first use. Treat it as read-only.

    Args:
        game: OpenSpiel's name with parameters, with or without ``openspiel:`` before it; or a
            matrix game, ``matrix:NAME(parameters)`` or ``payoff:FILE.npy``.

    Raises:
        MissingExtra, UnknownName, GameError: As :meth:`GameTree.from_openspiel` and
            :func:`pkubench.envs.games.matrix_catalogue.make_matrix_game`.
    """
    if game.startswith(_MATRIX):
        return matrix_game(game).tree()
    return GameTree.from_openspiel(game.removeprefix("openspiel:"))


def tree_of_world(world: str) -> GameTree:
    """Return the tree behind a registered game world, such as ``LeducPoker-v0``.

    Raises:
        UnknownName: No such world.
        ConfigError: The world is no game.
    """
    return game_tree(_game_of(world))


def openspiel_name(world: str) -> str:
    """Return the OpenSpiel game behind a registered world, without building its tree.

    Raises:
        UnknownName: No such world.
        ConfigError: The world is no game of OpenSpiel's.
    """
    game = _game_of(world)
    if game.startswith(_MATRIX):
        raise ConfigError(f"{world} is a matrix, and scored exactly")
    return game.removeprefix("openspiel:")


def game_of_world(world: str) -> ZeroSumGame:
    """Return the game behind a registered world: a matrix game as such, any other as its tree.

    Raises:
        UnknownName, ConfigError: As :func:`tree_of_world`.
    """
    game = _game_of(world)
    return matrix_game(game) if game.startswith(_MATRIX) else game_tree(game)


def _game_of(world: str) -> str:
    spec = resolve(world)
    game = getattr(world_class(spec), "game", None)
    if not isinstance(game, str):
        raise ConfigError(f"{spec.id} is not a game with a tree; choose one of the games suite")
    return game.format_map(spec.kwargs)
