"""Whether two spellings name one game, found without making the game or reading a file.

``KuhnPoker-v0``, ``openspiel:kuhn_poker`` and ``kuhn_poker(players=2)`` are one; so are
``matrix:blotto(10,3)`` and ``matrix:blotto(coins=10,fields=3)``. Names may come from outside: they
are parsed and compared, never loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pkubench.envs.core.registry import family_of
from pkubench.envs.games.matrix_catalogue import full_name
from pkubench.envs.games.openspiel_games import openspiel
from pkubench.envs.games.trees import game_of, is_matrix
from pkubench.errors import MissingExtra, PkubenchError

_LONGEST = 1000
"""Letters of a name; parsers take longer ones apart by recursion."""
_TURNS = "turn_based_simultaneous_game"
"""What OpenSpiel calls a simultaneous game whose moves are made one after the other."""


def is_same_game(first: str, second: str) -> bool:
    """Return whether two spellings name one game.

    A spelling is a task's name, long or short; OpenSpiel's name, with or without ``openspiel:``
    before it; or a matrix game. Parameters left out are the defaults, and a simultaneous game is
    the same as its turn-based form. Two payoff files are one if their paths are.

    Raises:
        MissingExtra: OpenSpiel is needed and not installed.
    """
    one = _key(first)
    return one is not None and one == _key(second)


def _key(spelling: str) -> Any:
    """Return what is equal for spellings of one game; None for what names none."""
    if len(spelling) > _LONGEST:
        return None
    try:
        game = spelling if family_of(spelling) is not None else game_of(spelling)
    except MissingExtra:
        raise
    except PkubenchError:  # no environment of ours
        game = spelling
    if game.startswith(("payoff:", "alphastar:")):
        return os.path.abspath(game.partition(":")[2])
    try:
        return full_name(game) if is_matrix(game) else _openspiel_key(game)
    except MissingExtra:
        raise
    except PkubenchError:
        return None


def _openspiel_key(game: str) -> Any:
    pyspiel = openspiel(game)
    name = game.removeprefix("openspiel:").strip()
    if name.count("(") != name.count(")"):  # which OpenSpiel would complain of on its own
        return None
    try:
        parameters = pyspiel.game_parameters_from_string(name)
    except (pyspiel.SpielError, RuntimeError):
        return None
    defaults = {
        kind.short_name: kind.parameter_specification for kind in pyspiel.registered_games()
    }
    return _filled(parameters, defaults)


def _filled(parameters: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return a game's parameters with the defaults of those left out; None for no game."""
    name = parameters.get("name")
    if not isinstance(name, str) or name not in defaults:
        return None
    if name == _TURNS and isinstance(parameters.get("game"), dict):
        return _filled(parameters["game"], defaults)
    found = {**defaults[name], **parameters}
    for key, value in found.items():
        if isinstance(defaults[name].get(key), dict):  # a game inside the game
            found[key] = _filled(value if isinstance(value, dict) else {"name": value}, defaults)
    return found
