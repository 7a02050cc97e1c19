"""OpenSpiel policies as populations: queried at every information state of a task's game.

Both kinds are read: Python's (``open_spiel.python.policy.Policy``, such as a ``TabularPolicy`` or
``CFRSolver(game).average_policy()``) and those in C++ (``pyspiel.Policy``). They are queried once,
here; afterwards tables are played.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pkubench.agents.contract import Population
from pkubench.envs.games.errors import PolicyError
from pkubench.envs.games.openspiel_games import load_openspiel
from pkubench.envs.games.policies import TabularPolicy, probabilities, tabular_layout
from pkubench.envs.games.spelling import is_same_game
from pkubench.envs.games.trees import game_of, is_matrix, zero_sum_game
from pkubench.errors import AgentError, ConfigError


def as_population(policy: Any, task_id: str) -> Population:
    """Return an OpenSpiel policy as a population of one policy per seat.

    Args:
        policy: A Python or C++ policy for both players.
        task_id: A task on an OpenSpiel game.

    Raises:
        AgentError: The task is not such a game, the policy belongs to another game, or has no
            entry for an information state.
        GameTooLarge: The game's tree does not fit in memory.
    """
    kind = type(policy).__name__
    try:
        game = game_of(task_id)
    except ConfigError as error:
        raise AgentError(f"{kind} is a policy for an OpenSpiel game: {error}") from error
    if is_matrix(game):
        raise AgentError(
            f"{kind} is a policy for an OpenSpiel game, and {task_id} is a payoff matrix; write "
            "its strategies to a population file (*.json)"
        )
    theirs = getattr(policy, "game", None)  # Python's have it
    if theirs is not None and not is_same_game(str(theirs), task_id):
        raise AgentError(
            f"the {kind} is a policy for {theirs!s:.200}, which is not the game of {task_id} "
            f"({game.removeprefix('openspiel:')})"
        )
    whole = zero_sum_game(game)
    states = [whole.information_states(player) for player in (0, 1)]
    wanted = {state.text for player in (0, 1) for state in states[player]}
    found = dict(_queried(policy, load_openspiel(game.removeprefix("openspiel:")), wanted))
    seats = []
    for player in (0, 1):
        try:
            flat = probabilities(found, states[player], player)
        except PolicyError as error:
            raise AgentError(f"the {kind} does not play {task_id}: {error}") from error
        seats.append([TabularPolicy(tabular_layout(states[player]), flat)])
    return Population((seats[0], seats[1]), (np.ones(1), np.ones(1)))


def _queried(policy: Any, game: Any, wanted: set[str]) -> Iterator[tuple[str, Mapping[int, float]]]:
    """Yield a policy's probabilities at each information state, at the first history in it."""
    is_python = hasattr(policy, "game")
    is_simultaneous = is_python and policy.game.get_type().dynamics.name == "SIMULTANEOUS"
    left = set(wanted)
    stack = [game.new_initial_state()]
    while stack and left:
        node = stack.pop()
        if node.is_terminal():
            continue
        if node.is_chance_node():
            stack.extend(node.child(action) for action, p in node.chance_outcomes() if p > 0.0)
            continue
        text = node.information_state_string()
        if text in left:
            left.remove(text)
            # OpenSpiel's turn-based version of a simultaneous game wraps a state of that game.
            state = node.simultaneous_game_state() if is_simultaneous else node
            yield text, _distribution(policy, state, node.current_player(), text, is_python)
        stack.extend(node.child(action) for action in node.legal_actions())


def _distribution(
    policy: Any, state: Any, player: int, text: str, is_python: bool
) -> Mapping[int, float]:
    try:
        found = (
            policy.action_probabilities(state, player)
            if is_python
            else policy.action_probabilities(state)
        )
        given = {int(action): float(p) for action, p in dict(found).items()}
    except Exception as error:  # policies raise various types: KeyError, SpielError...
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AgentError(
            f"the {type(policy).__name__} has no probabilities for player {player} at {text!r} "
            f"({type(error).__name__}: {reason:.120}); it must be for this game and both players"
        ) from error
    if not given:
        raise AgentError(
            f"the {type(policy).__name__} has no probabilities for player {player} at {text!r}: is "
            "it a policy for another game, or for one player only?"
        )
    return given
