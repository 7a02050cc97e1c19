"""Trees that are built once a process: environments, trainers and scorers share a few games."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pkubench.envs.core.registry import env_class, resolve
from pkubench.envs.games.matrix_catalogue import make_matrix_game
from pkubench.envs.games.normal_form import MatrixGame
from pkubench.envs.games.openspiel_games import load_openspiel, observer
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError

_FILES = ("payoff:", "alphastar:")
_MATRIX = ("matrix:", *_FILES)


def matrix_game(game: str) -> MatrixGame:
    """Return a matrix game by its spelling, made on first use. Treat it as read-only.

    A payoff file that has been written again is read again.

    Raises:
        UnknownName, ConfigError, GameError: As
            :func:`pkubench.envs.games.matrix_catalogue.make_matrix_game`.
    """
    return _matrix_game(game, _written(game))


def game_tree(game: str) -> GameTree:
    """Return the tree of a game, built on first use. Treat it as read-only.

    Args:
        game: OpenSpiel's name with parameters, with or without ``openspiel:`` before it; or a
            matrix game, ``matrix:NAME(parameters)`` or ``payoff:FILE.npy`` or
            ``alphastar:FILE.npy``.

    Raises:
        MissingExtra, UnknownName, GameError: As :meth:`GameTree.from_openspiel` and
            :func:`pkubench.envs.games.matrix_catalogue.make_matrix_game`.
    """
    return _game_tree(game, _written(game))


def zero_sum_game(game: str) -> ZeroSumGame:
    """Return a matrix game as such, any other as its tree. Treat it as read-only.

    Raises:
        MissingExtra, UnknownName, ConfigError, GameError: As :func:`matrix_game` and
            :func:`game_tree`.
    """
    return matrix_game(game) if is_matrix(game) else game_tree(game)


def is_matrix(game: str) -> bool:
    """Return whether a game, as :func:`game_tree` names it, is a matrix."""
    return game.startswith(_MATRIX)


@lru_cache(maxsize=16)
def _matrix_game(game: str, written: tuple[int, int] | None) -> MatrixGame:
    if game.startswith("alphastar:"):
        from pkubench.envs.games.alphastar import load_alphastar

        return load_alphastar(game.removeprefix("alphastar:"))
    return make_matrix_game(game)


@lru_cache(maxsize=16)
def _game_tree(game: str, written: tuple[int, int] | None) -> GameTree:
    if is_matrix(game):
        return _matrix_game(game, written).tree()
    return GameTree.from_openspiel(game.removeprefix("openspiel:"))


def _written(game: str) -> tuple[int, int] | None:
    """Return when a payoff file was last written, and its size; None for what is not a file."""
    if not game.startswith(_FILES):
        return None
    try:
        facts = Path(game.partition(":")[2]).stat()
    except OSError:  # raised where the file is read
        return None
    return facts.st_mtime_ns, facts.st_size


def registered_tree(env_id: str) -> GameTree:
    """Return the tree behind a registered game environment, such as ``LeducPoker-v0``.

    Raises:
        UnknownName: No such environment.
        ConfigError: The environment is not a game.
    """
    return game_tree(game_of(env_id))


def openspiel_name(env_id: str) -> str:
    """Return the OpenSpiel game behind a registered environment, without building its tree.

    Raises:
        UnknownName: No such environment.
        ConfigError: The environment is not a game of OpenSpiel's.
    """
    game = game_of(env_id)
    if is_matrix(game):
        raise ConfigError(f"{env_id} is a matrix, and scored exactly; leave --responses out")
    return game.removeprefix("openspiel:")


def registered_game(env_id: str) -> ZeroSumGame:
    """Return the game behind a registered environment: a matrix game, or a tree.

    Raises:
        UnknownName, ConfigError: As :func:`registered_tree`.
    """
    return zero_sum_game(game_of(env_id))


def check_seen(game: str) -> None:
    """Check that a game can be seen by what acts on observations, without building its tree.

    Args:
        game: As :func:`game_tree`.

    Raises:
        MissingExtra, UnknownName, GameError: As ``openspiel_games.load_openspiel``; or the game has
            nothing to observe.
    """
    if not is_matrix(game):
        observer(load_openspiel(game.removeprefix("openspiel:")))


def registered_actions(env_id: str) -> int:
    """Return the number of distinct actions in an environment's game, without building its tree.

    Raises:
        UnknownName, ConfigError: As :func:`registered_tree`.
        GameError: As :func:`check_seen`.
    """
    game = game_of(env_id)
    if is_matrix(game):
        return matrix_game(game).num_actions
    loaded = load_openspiel(game.removeprefix("openspiel:"))
    observer(loaded)
    return int(loaded.num_distinct_actions())


def game_of(env_id: str) -> str:
    """Return the game behind a registered environment, as :func:`game_tree` takes it.

    Raises:
        UnknownName: No such environment.
        ConfigError: The environment is not a game.
    """
    spec = resolve(env_id)
    game = getattr(env_class(spec), "game", None)
    if not isinstance(game, str):
        raise ConfigError(f"{spec.id} is not a game with a tree; choose one of the games suite")
    return game.format_map(spec.kwargs)
