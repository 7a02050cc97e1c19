"""What ``pkubench show`` says about a game: its size, and its value where that is quick."""

from __future__ import annotations

from typing import Any

from pkubench.cli.output import number
from pkubench.tasks.task import Task

MAX_HISTORIES = 300_000
"""Larger trees are not built for a card; Liar's dice with six sides, just below, takes seconds."""
MAX_ACTIONS = 300
"""Of either player in a matrix game that is solved for a card."""


def game_card(task: Task) -> dict[str, Any]:
    """Return the facts of a game task; None for what is not computed for a card.

    Raises:
        MissingExtra: OpenSpiel is needed and not installed.
        UnknownName, ConfigError, GameError: no such game, or the engine does not support it.
    """
    from pkubench.envs.games.trees import game_of, is_matrix, openspiel_name

    game = game_of(task.id)
    return _matrix(game) if is_matrix(game) else _tree(openspiel_name(task.id))


def game_rows(card: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the facts as rows of a card."""
    first, second = card["actions"]
    is_matrix = "symmetric" in card
    rows = [("game", card["game"])]
    if is_matrix:
        rows.append(("size", f"{first:,} rows, {second:,} columns"))
        symmetric = "yes: one population plays both sides" if card["symmetric"] else "no"
        rows.append(("symmetric", symmetric))
    elif card["information_states"] is None:
        rows.append(("size", f"{first:,} actions; {card['too_large']}"))
    else:
        states = " and ".join(f"{count:,}" for count in card["information_states"])
        size = f"{first:,} actions; {states} information states; {card['histories']:,} histories"
        rows.append(("size", size))
    player = "the row player" if is_matrix else "the first seat"
    if card["value"] is not None:
        rows.append(("value", f"{number(card['value'])} for {player}"))
    return rows


def _matrix(game: str) -> dict[str, Any]:
    from pkubench.envs.games.normal_form import SymmetricMatrixGame
    from pkubench.envs.games.trees import matrix_game

    matrix = matrix_game(game)
    symmetric = isinstance(matrix, SymmetricMatrixGame)
    value = 0.0 if symmetric else None
    if value is None and max(matrix.shape) <= MAX_ACTIONS:
        value = matrix.solve().value
    return {
        "game": matrix.name,
        "actions": list(matrix.shape),
        "information_states": [1, 1],
        "symmetric": symmetric,
        "value": value,
    }


def _tree(name: str) -> dict[str, Any]:
    from pkubench.envs.games.errors import GameTooLarge
    from pkubench.envs.games.histories import check_size
    from pkubench.envs.games.openspiel_games import load_openspiel
    from pkubench.envs.games.tree import GameTree

    game = load_openspiel(name)
    card: dict[str, Any] = {
        "game": str(game),
        "actions": [int(game.num_distinct_actions())] * 2,
        "information_states": None,
        "histories": None,
        "value": None,
    }
    try:
        check_size(game)
    except GameTooLarge:
        too_large = "too large to score exactly: evaluate with --responses 20000"
        return {**card, "too_large": too_large}
    try:
        tree = GameTree.from_openspiel(name, max_histories=MAX_HISTORIES)
    except GameTooLarge:
        too_large = f"more than {MAX_HISTORIES:,} histories, not counted for this card"
        return {**card, "too_large": too_large}
    return {
        **card,
        "information_states": list(tree.num_information_states),
        "histories": len(tree.histories.player),
        "value": tree.solve().value,
    }
