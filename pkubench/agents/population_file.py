"""Populations as one file: K policies and a meta-strategy a seat, as ``.npz`` or ``.json``.

``npz``, for player ``p`` in 0, 1 (arrays of ``numpy.savez``; pickled objects are refused):

| array | type and shape | what |
|---|---|---|
| ``game`` | text | the game's name, or the task's |
| ``states_p`` | text ``(states,)`` | OpenSpiel's information-state strings, in any order |
| ``probabilities_p`` | float ``(policies, states, actions)`` | zero where an action is illegal |
| ``meta_p`` | float ``(policies,)`` | probability of playing each policy |

``json`` is ``{"game": NAME, "players": [PLAYER, PLAYER]}`` with ``PLAYER`` as ``{"policies":
[{STATE: {ACTION: PROBABILITY}}, ...], "meta_strategy": [...]}``.

Nothing in a file is executed, its size is bounded before it is read, and everything is checked: the
game, that every information state is there, that only legal actions are played, and that all
distributions sum to one. The first state that is wrong is named with what to do.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pkubench.agents.agent import Population
from pkubench.agents.loading import POPULATION_SUFFIXES
from pkubench.envs.games.errors import PolicyError
from pkubench.envs.games.histories import load_openspiel
from pkubench.envs.games.policies import (
    TabularPolicy,
    probabilities,
    table_probabilities,
    tabular_layout,
)
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.trees import tree_of_world
from pkubench.errors import AgentError, StorageError, WeightsError, nearest
from pkubench.files import write_bytes
from pkubench.tasks.task import Task

MOST_BYTES = 256 << 20
"""Largest file, and largest sum of its arrays when unpacked."""


class _Seat(NamedTuple):
    """One player's part as the file has it.

    Attributes:
        policies: Tables ``(states, actions)``, or mappings.
        states: The tables' rows; None for mappings.
        meta: ``(policies,)``.
    """

    policies: Any
    states: list[str] | None
    meta: Any


def read_population(path: Path, task: Task) -> Population:
    """Read a population and check it against a task's game.

    Raises:
        WeightsError: The file is damaged, too large, or holds something else.
        AgentError: It plays another game, or a policy or meta-strategy is wrong; the message names
            the first information state that is, and what to do.
        StorageError: It cannot be read.
    """
    data = _content(path)
    game, seats = _json(path, data) if path.suffix == ".json" else _npz(path, data)
    tree = tree_of_world(task.id)
    short = task.id.rpartition("/")[2]
    if game not in (tree.name, tree.name.removesuffix("()"), task.id, short):
        raise AgentError(
            f"{path.name} is a population of {game[:80]!r}, the task {short} plays {tree.name!r}; "
            f"name that as its game if it is meant for it"
        )
    members = [_policies(path, tree, player, seat) for player, seat in enumerate(seats)]
    metas = [_meta(path, player, seat) for player, seat in enumerate(seats)]
    try:
        return Population((members[0], members[1]), (metas[0], metas[1]))
    except AgentError as error:
        raise AgentError(
            f"{path.name}: {error}; it must hold one probability a policy, with sum 1"
        ) from error


def read_unbuilt_population(path: Path, game: str) -> Population:
    """Read a population of a game whose tree is not built.

    States and legal actions cannot be listed, so they are checked where plays lead.

    Args:
        path: The file.
        game: OpenSpiel's name of the game.

    Raises:
        WeightsError, AgentError, StorageError: As :func:`read_population`.
    """
    data = _content(path)
    told, seats = _json(path, data) if path.suffix == ".json" else _npz(path, data)
    full = str(load_openspiel(game))
    if told not in (full, full.removesuffix("()"), game):
        raise AgentError(f"{path.name} is a population of {told[:80]!r}, wanted {full!r}")
    members: list[list[Any]] = []
    for seat in seats:
        if seat.states is None:
            members.append([_numbered(policy) for policy in seat.policies])
            continue
        if seat.policies.shape[1] != len(seat.states):
            raise AgentError(f"{path.name}: probabilities and states are of different lengths")
        place = {text: k for k, text in enumerate(seat.states)}
        members.append([_Rows(place, table) for table in seat.policies])
    metas = [_meta(path, player, seat) for player, seat in enumerate(seats)]
    return Population((members[0], members[1]), (metas[0], metas[1]))


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
        AgentError: The name ends in something else, or a policy does not fit the task's game.
        StorageError: The file cannot be written.
    """
    if path.suffix not in POPULATION_SUFFIXES:
        raise AgentError(f"a population file is called *.npz or *.json, not {path.name!r}")
    tree = tree_of_world(task.id)
    arrays: dict[str, NDArray[Any]] = {"game": np.array(tree.name)}
    players = []
    for player in (0, 1):
        states, legal = tree.information_states(player), tree.legal_mask(player)
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
        write_bytes(path, (json.dumps({"game": tree.name, "players": players}) + "\n").encode())
        return
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def check_population_bytes(name: str, data: bytes) -> None:
    """Check that a file's content is a population of some game; what it plays is checked later.

    Raises:
        WeightsError: It is damaged, too large, or holds something else.
    """
    path = Path(name)
    if len(data) > MOST_BYTES:
        raise WeightsError(_too_large(path))
    if path.suffix == ".json":
        _json(path, data)
    else:
        _npz(path, data)


# Reading


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise WeightsError(_too_large(path))
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def _too_large(path: Path) -> str:
    return (
        f"{path.name} holds more than {MOST_BYTES >> 20} MiB; hand in fewer policies, such as "
        "those with weight in the meta-strategy"
    )


def _npz(path: Path, data: bytes) -> tuple[str, tuple[_Seat, _Seat]]:
    wanted = ["game"] + [f"{n}_{p}" for p in (0, 1) for n in ("states", "probabilities", "meta")]
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                raise WeightsError(_too_large(path))
            if sorted(names) != sorted(f"{name}.npy" for name in wanted):
                lacking = [name for name in wanted if f"{name}.npy" not in names]
                what = f"lacks {lacking[0]!r}" if lacking else "holds further ones"
                raise WeightsError(
                    f"{path.name} is no population: it must hold the arrays {', '.join(wanted)}, "
                    f"and {what}"
                )
        with np.load(io.BytesIO(data), allow_pickle=False) as read:
            arrays = {name: read[name] for name in wanted}
    except WeightsError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen types on damage
        raise WeightsError(
            f"{path.name} is damaged or no .npz of plain arrays ({error!s:.200}); pickled objects "
            "are refused, so save text with dtype=str"
        ) from error
    for name, array in arrays.items():
        kind, dimensions = ("U", (0, 1)) if name[:4] in ("game", "stat") else ("f", (1, 3))
        is_right = array.ndim == dimensions[name.startswith(("states", "probabilities"))]
        if array.dtype.kind != kind or not is_right:
            raise WeightsError(
                f"{name!r} of {path.name} has shape {array.shape} and dtype {array.dtype}; see "
                "docs/concepts/games.md for the format"
            )
    seats = [
        _Seat(arrays[f"probabilities_{p}"], arrays[f"states_{p}"].tolist(), arrays[f"meta_{p}"])
        for p in (0, 1)
    ]
    return str(arrays["game"]), (seats[0], seats[1])


def _json(path: Path, data: bytes) -> tuple[str, tuple[_Seat, _Seat]]:
    try:
        read = json.loads(data)
        game = read["game"]
        first, second = (
            _Seat(list(player["policies"]), None, player["meta_strategy"])
            for player in read["players"]
        )
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path.name} is not valid JSON, or has not two players: {error!s:.200}"
        ) from error
    except (KeyError, TypeError) as error:
        raise WeightsError(
            f'{path.name} is no population ({error!r:.80}); it must be {{"game": NAME, "players": '
            '[{"policies": [...], "meta_strategy": [...]}, {...}]}'
        ) from error
    if not isinstance(game, str):
        raise WeightsError(f"{path.name} does not name its game")
    return game, (first, second)


# Checking


def _policies(path: Path, tree: GameTree, player: int, seat: _Seat) -> list[TabularPolicy]:
    states = tree.information_states(player)
    layout = tabular_layout(states)
    tables = seat.policies
    if seat.states is not None:
        place = {text: k for k, text in enumerate(seat.states)}
        missing = [state.text for state in states if state.text not in place]
        if missing:
            close = nearest(missing[0], seat.states)
            hint = f"; the nearest it has is {close!r}" if close else ""
            raise AgentError(
                f"{path.name}: states_{player} lacks {len(missing)} of {len(states)} information "
                f"states, the first being {missing[0]!r}{hint}; add a row for each"
            )
        if tables.shape[1:] != (len(seat.states), tree.num_actions):
            raise AgentError(
                f"{path.name}: probabilities_{player} must have shape (policies, states, actions) "
                f"= (policies, {len(seat.states)}, {tree.num_actions}), got {tables.shape}"
            )
        tables = tables[:, [place[state.text] for state in states]]
    made = []
    for number, table in enumerate(tables):
        try:
            if seat.states is not None:
                flat = table_probabilities(table, tree.legal_mask(player), states, player)
            else:
                flat = probabilities(_numbered(table), states, player)
        except (PolicyError, ValueError) as error:
            raise AgentError(f"{path.name}, policy {number}: {error}") from error
        made.append(TabularPolicy(layout, flat))
    return made


def _numbered(policy: Any) -> Any:
    """Return a policy of JSON with numbers for its actions, which are text there."""
    if not isinstance(policy, Mapping):
        raise PolicyError(
            f"a policy is an object {{STATE: {{ACTION: PROBABILITY}}}}, got {policy!r:.40}"
        )
    return {
        state: {int(action): p for action, p in row.items()} if isinstance(row, Mapping) else row
        for state, row in policy.items()
    }


def _meta(path: Path, player: int, seat: _Seat) -> NDArray[np.float64]:
    try:
        return np.asarray(seat.meta, np.float64)
    except (TypeError, ValueError) as error:
        raise AgentError(f"{path.name}: the meta-strategy of player {player}: {error}") from error
