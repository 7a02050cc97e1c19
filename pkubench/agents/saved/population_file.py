"""Populations as one file: K policies and a meta-strategy per seat, as ``.npz`` or ``.json``.

``npz``, for player ``p`` in 0, 1 (arrays of ``numpy.savez``; pickled objects are refused):

| array | type and shape | meaning |
|---|---|---|
| ``game`` | text | the game's name, or the task's |
| ``states_p`` | text ``(states,)`` | OpenSpiel's information-state strings, in any order |
| ``probabilities_p`` | float ``(policies, states, actions)`` | zero where an action is illegal |
| ``meta_p`` | float ``(policies,)`` | probability of playing each policy |

``json`` is ``{"game": NAME, "players": [PLAYER, PLAYER]}`` with ``PLAYER`` as ``{"policies":
[{STATE: {ACTION: PROBABILITY}}, ...], "meta_strategy": [...]}``.

Nothing in a file is executed, its size is bounded before it is read (``population_content``), and
everything is checked: the game, that every information state is there once and no others, that only
legal actions are played, and that all distributions sum to one. The first state that is wrong is
named with what to do.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pkubench.agents.contract import Population
from pkubench.agents.saved.population_content import (
    POPULATION_SUFFIXES,
    Seat,
    is_number,
    population_content,
    read_bytes,
)
from pkubench.envs.games.errors import PolicyError
from pkubench.envs.games.openspiel_games import load_openspiel
from pkubench.envs.games.policies import (
    InformationState,
    TabularPolicy,
    probabilities,
    table_probabilities,
    tabular_layout,
)
from pkubench.envs.games.spelling import is_same_game
from pkubench.envs.games.trees import registered_game
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import AgentError, nearest
from pkubench.files import write_bytes

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

_ACTION = re.compile(r"0|[1-9][0-9]{0,8}")
"""The format of actions in JSON."""


def read_population(path: Path, task: Task) -> Population:
    """Read a population and check it against a task's game.

    Raises:
        WeightsError: The file is damaged, too large, or not a population.
        AgentError: It plays another game, or a policy or meta-strategy is invalid; the message
            names the first invalid information state, and what to do.
        StorageError: It cannot be read.
    """
    named, seats = population_content(path, read_bytes(path))
    _check_game(path, named, task.id)
    game = registered_game(task.id)
    return _population(
        path, seats, [_policies(path, game, player, seat) for player, seat in enumerate(seats)]
    )


def read_unbuilt_population(path: Path, game: str) -> Population:
    """Read a population of a game without building its tree.

    States and legal actions cannot be enumerated, so they are checked at the states of plays.

    Args:
        path: The file.
        game: OpenSpiel's name of the game.

    Raises:
        WeightsError, AgentError, StorageError: As :func:`read_population`.
    """
    named, seats = population_content(path, read_bytes(path))
    _check_game(path, named, game)
    actions = load_openspiel(game).num_distinct_actions()
    members: list[list[Any]] = []
    for player, seat in enumerate(seats):
        if seat.states is None:
            members.append(_mappings(path, player, seat))
            continue
        _check_actions(path, player, seat, actions)
        place = {text: k for k, text in enumerate(seat.states)}
        members.append([_Rows(place, table) for table in seat.policies])
    return _population(path, seats, members)


class _Rows(Mapping[str, Mapping[int, float]]):
    """A table of action probabilities as a policy."""

    def __init__(self, place: Mapping[str, int], table: NDArray[np.floating]) -> None:
        self._place, self._table = place, table

    def __getitem__(self, text: str) -> dict[int, float]:
        return dict(enumerate(self._table[self._place[text]].tolist()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


def write_population(path: Path, population: Population, task: Task) -> None:
    """Write a population as ``.npz`` or ``.json``; equal populations give equal bytes.

    Raises:
        AgentError: The name has another suffix, or a policy does not fit the task's game.
        StorageError: The file cannot be written.
    """
    if path.suffix not in POPULATION_SUFFIXES:
        raise AgentError(f"a population file is named *.npz or *.json, not {path.name!r}")
    game = registered_game(task.id)
    arrays: dict[str, NDArray[Any]] = {"game": np.array(game.name)}
    players = []
    for player in (0, 1):
        states, legal = game.information_states(player), game.legal_mask(player)
        try:
            flat = [probabilities(p, states, player) for p in population.policies[player]]
        except PolicyError as error:
            raise AgentError(str(error)) from error
        meta = np.asarray(population.meta_strategy[player], np.float64)
        if path.suffix == ".json":
            layout = tabular_layout(states)
            policies = [
                {text: {str(a): p for a, p in row.items()} for text, row in policy.items()}
                for policy in (TabularPolicy(layout, values) for values in flat)
            ]
            players.append({"policies": policies, "meta_strategy": meta.tolist()})
            continue
        tables = np.zeros((len(flat), *legal.shape))
        tables[:, legal] = flat
        arrays |= {
            f"states_{player}": np.array([state.text for state in states]),
            f"probabilities_{player}": tables,
            f"meta_{player}": meta,
        }
    if path.suffix == ".json":
        write_bytes(path, (json.dumps({"game": game.name, "players": players}) + "\n").encode())
        return
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


# Checking


def _check_game(path: Path, named: str, wanted: str) -> None:
    """Refuse a population of another game; any spelling of this game is accepted."""
    if not is_same_game(named, wanted):
        short = wanted.rpartition("/")[2] if wanted.startswith("pkubench/") else wanted
        raise AgentError(
            f"{path.name} is a population of {named[:80]!r}, which is not the game {short!r}; "
            f"write {short!r} as its game if it is meant for it"
        )


def _population(path: Path, seats: tuple[Seat, Seat], members: list[list[Any]]) -> Population:
    metas = [np.asarray(seat.meta, np.float64) for seat in seats]
    try:
        return Population((members[0], members[1]), (metas[0], metas[1]))
    except AgentError as error:
        raise AgentError(
            f"{path.name}: {error}; it must have one probability per policy, with sum 1"
        ) from error


def _policies(path: Path, game: ZeroSumGame, player: int, seat: Seat) -> list[TabularPolicy]:
    states = game.information_states(player)
    layout = tabular_layout(states)
    if seat.states is None:
        tables: Any = _mappings(path, player, seat)
        for number, policy in enumerate(tables):
            _check_known(f"{path.name}, policy {number}", states, policy, player, game)
    else:
        place = {text: k for k, text in enumerate(seat.states)}
        _check_known(f"{path.name}: states_{player}", states, place, player, game)
        missing = [state.text for state in states if state.text not in place]
        if missing:
            close = nearest(missing[0], seat.states)
            hint = f"; the nearest it has is {close!r}" if close else ""
            raise AgentError(
                f"{path.name}: states_{player} has no row for {len(missing)} of {len(states)} "
                f"information states, the first being {missing[0]!r}{hint}; add a row for each"
            )
        _check_actions(path, player, seat, game.num_actions)
        tables = seat.policies[:, [place[state.text] for state in states]]
    made = []
    for number, table in enumerate(tables):
        try:
            if seat.states is not None:
                flat = table_probabilities(table, game.legal_mask(player), states, player)
            else:
                flat = probabilities(table, states, player)
        except PolicyError as error:
            raise AgentError(f"{path.name}, policy {number}: {error}") from error
        made.append(TabularPolicy(layout, flat))
    return made


def _check_known(
    where: str,
    states: tuple[InformationState, ...],
    given: Mapping[str, Any],
    player: int,
    game: ZeroSumGame,
) -> None:
    """Refuse states that the game does not have: misspelled ones, or the other player's."""
    known = {state.text for state in states}
    unknown = [text for text in given if text not in known]
    if unknown:
        close = nearest(unknown[0], [state.text for state in states])
        hint = f" (the nearest is {close!r})" if close else ""
        raise AgentError(
            f"{where} has {len(unknown)} information states that player {player} of {game.name!r} "
            f"does not have, the first being {unknown[0]!r}{hint}; remove them"
        )


def _check_actions(path: Path, player: int, seat: Seat, actions: int) -> None:
    if seat.policies.shape[2] != actions:
        raise AgentError(
            f"{path.name}: probabilities_{player} must have shape (policies, states, actions) = "
            f"(policies, {len(seat.states or ())}, {actions}), got {seat.policies.shape}"
        )


def _mappings(path: Path, player: int, seat: Seat) -> list[dict[str, Any]]:
    """Return the policies of JSON with actions as integers, which are strings there."""
    made = []
    for number, policy in enumerate(seat.policies):
        try:
            if not isinstance(policy, Mapping):
                raise PolicyError(
                    f"a policy is an object {{STATE: {{ACTION: PROBABILITY}}}}, got {policy!r:.40}"
                )
            made.append({text: _numbered(row, text, player) for text, row in policy.items()})
        except PolicyError as error:
            raise AgentError(f"{path.name}, policy {number}: {error}") from error
    return made


def _numbered(row: Any, text: str, player: int) -> Any:
    if not isinstance(row, Mapping):
        return row  # reported later like an invalid row of any policy
    where = f"player {player} at information state {text!r}"
    for action, p in row.items():
        if not _ACTION.fullmatch(action):
            raise PolicyError(
                f"{where}: {action!r:.40} is not an action; write OpenSpiel's number, such as "
                f'"0", without leading zeros'
            )
        if not is_number(p):
            raise PolicyError(
                f"{where}: the probability {p!r:.40} of action {action} is not a number; write one "
                "in [0, 1] without quotation marks, such as 0.5"
            )
    return {int(action): p for action, p in row.items()}
