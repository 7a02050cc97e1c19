"""OpenSpiel's tabular policies as files, and populations as OpenSpiel's policies.

Two kinds of file are read, and neither runs code:

* what C++ writes by ``policy.serialize()``: ``TabularPolicy:`` and then, separated by ``<~>``,
  information states and ``action=probability,...`` in turn (probabilities in hexadecimal);
* what Python writes by ``json.dump(policy.to_dict(), file)``: ``{state: [[action, probability],
  ...]}``.

A population becomes one OpenSpiel policy: the behavioural policy that plays like its mixture
(Kuhn's theorem), or a list of its members.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pkubench.agents.contract import Population
from pkubench.agents.resolve.sources import AgentRun, AgentSource, file_hash
from pkubench.envs.games.errors import PolicyError
from pkubench.envs.games.policies import TabularPolicy, probabilities, tabular_layout
from pkubench.envs.games.trees import game_of, is_matrix, zero_sum_game
from pkubench.errors import AgentError, StorageError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

_MARK, _BETWEEN = "TabularPolicy:", "<~>"
_MAX_BYTES = 1 << 28


def resolve(text: str, task: Task | None, trust: bool) -> AgentSource:
    """Return the agent in a file of an OpenSpiel policy, ``openspiel:FILE``.

    Raises:
        AgentError: there is no such file, or no task is given.
    """
    path = Path(text)
    if not path.is_file():
        raise AgentError(f"there is no file {text!r} of an OpenSpiel policy")
    if task is None:
        raise AgentError(f"agent 'openspiel:{text}' depends on the task; name one")
    run = AgentRun("run", read_policy, (path.absolute(), task), {path.name: file_hash(path)})
    return AgentSource(path.stem, "openspiel", (run,))


def read_policy(path: Path, task: Task) -> Population:
    """Return the policy of a file as a population of one policy per seat.

    Raises:
        AgentError: The file is no such policy, or does not fit the task's game; names the first
            information state that is wrong.
        StorageError: It cannot be read.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise AgentError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8")
        table = _serialized(text) if text.startswith(_MARK) else _listed(json.loads(text))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise AgentError(
            f"{path} is no tabular policy of OpenSpiel ({str(error)[:120]}); write "
            "policy.serialize() of pyspiel.TabularPolicy, or json.dump(policy.to_dict(), file)"
        ) from error
    game = zero_sum_game(_game(task.id))
    seats = []
    for player in (0, 1):
        states = game.information_states(player)
        try:
            flat = probabilities(table, states, player)
        except PolicyError as error:
            raise AgentError(f"{path} does not play {task.id}: {error}") from error
        seats.append([TabularPolicy(tabular_layout(states), flat)])
    return Population((seats[0], seats[1]), (np.ones(1), np.ones(1)))


def _serialized(text: str) -> dict[str, dict[int, float]]:
    parts = text.rstrip("\n").removeprefix(_MARK).split(_BETWEEN)
    if len(parts) % 2:
        raise ValueError("a state is without probabilities")
    table: dict[str, dict[int, float]] = {}
    for state, row in zip(parts[::2], parts[1::2], strict=True):
        if state in table:
            raise ValueError(f"{state!r} is there twice")
        pairs = [entry.partition("=") for entry in row.split(",")]
        table[state] = {int(action): _number(share) for action, _, share in pairs}
    return table


def _number(text: str) -> float:
    return float.fromhex(text) if "x" in text else float(text)


def _listed(value: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    return {
        state: {int(action): float(share) for action, share in row} for state, row in value.items()
    }


def _game(task_id: str) -> str:
    """Return the OpenSpiel game of a task.

    Raises:
        AgentError: It has none.
    """
    game = game_of(task_id)
    if is_matrix(game):
        raise AgentError(f"{task_id} is a payoff matrix, and not a game of OpenSpiel")
    return game


def as_openspiel(population: Population, task_id: str) -> Any:
    """Return the one ``pyspiel.TabularPolicy`` that plays like a population's mixture.

    At states that the mixture never reaches it is uniform. OpenSpiel's algorithms take it, such as
    ``pyspiel.nash_conv``; ``policy.serialize()`` writes it as a file that ``openspiel:FILE`` reads.

    Args:
        population: Policies and meta-strategies.
        task_id: Its game.

    Raises:
        AgentError: The task is no game of OpenSpiel, or a policy does not fit it.
    """
    tree = zero_sum_game(_game(task_id))
    tables: dict[str, list[tuple[int, float]]] = {}
    for player, (members, weights) in enumerate(
        zip(population.policies, population.meta_strategy, strict=True)
    ):
        plans = np.stack([tree.realization_plan(member, player) for member in members])
        mixed = tree.mix(plans, np.asarray(weights, np.float64))
        tables |= _as_pairs(tree.behaviour(mixed, player))  # type: ignore[attr-defined]
    return _policy(tables)


def members_as_openspiel(population: Population, task_id: str) -> tuple[list[Any], list[Any]]:
    """Return each member as a ``pyspiel.TabularPolicy`` of its own seat, in order.

    A member has entries for its own seat only; the meta-strategies are the population's.

    Raises:
        AgentError: As :func:`as_openspiel`.
    """
    tree = zero_sum_game(_game(task_id))
    seats: list[list[Any]] = []
    for player, members in enumerate(population.policies):
        plans = [tree.realization_plan(member, player) for member in members]
        seats.append(
            [_policy(_as_pairs(tree.behaviour(plan, player))) for plan in plans]  # type: ignore[attr-defined]
        )
    return seats[0], seats[1]


def write_policy(path: Path, population: Population, task: Task) -> None:
    """Write a population's mixture as OpenSpiel serialises a tabular policy.

    Raises:
        AgentError: As :func:`as_openspiel`.
        StorageError: The file cannot be written.
    """
    text = as_openspiel(population, task.id).serialize()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def _as_pairs(policy: Mapping[str, Mapping[int, float]]) -> dict[str, list[tuple[int, float]]]:
    return {state: list(row.items()) for state, row in policy.items()}


def _policy(tables: Mapping[str, list[tuple[int, float]]]) -> Any:
    import pyspiel

    return pyspiel.TabularPolicy(dict(tables))
