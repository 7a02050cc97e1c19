"""Data of several agents in Minari's format, which has no rule of its own for them.

The convention, which :func:`check` holds a data set to:

* ``metadata.json`` has ``agents``, the list of ids in the environment's order (a ``Dict`` space
  sorts its keys, so the order would be lost);
* observations and actions are ``Dict`` spaces over these ids: (T + 1, ...) and (T, ...) for each;
* ``rewards`` (T,) is the team's: the sum over the agents;
* ``infos["rewards"]`` (T + 1, agents) has each agent's own; row t + 1 is of step t and row 0 is 0,
  as Minari counts infos. (Minari takes ``rewards`` of shape (T, agents) without an error, and its
  statistics are then wrong.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from pkubench.data.episodes import Array
from pkubench.errors import DataError

AGENTS, REWARDS = "agents", "rewards"


def agents_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the agents of a data set; empty for a single agent.

    Raises:
        DataError: they are not a list of different names.
    """
    found = metadata.get(AGENTS, [])
    if not isinstance(found, list) or not all(isinstance(agent, str) for agent in found):
        raise DataError(f"{AGENTS} in the metadata must be a list of names, got {found!r}")
    if len(set(found)) != len(found):
        raise DataError(f"{AGENTS} in the metadata has a name twice: {found}")
    return tuple(found)


def space_of(space: spaces.Space[Any], agents: Sequence[str]) -> spaces.Dict:
    """Return the space of a team whose agents all have ``space``."""
    return spaces.Dict(dict.fromkeys(agents, space))


def parts_of(parts: Mapping[str, Any], agents: Sequence[str]) -> dict[str, Any]:
    """Return an episode's arrays as the convention has them.

    Args:
        parts: ``observations`` (T + 1, agents, ...), ``actions`` and ``rewards`` (T, agents, ...).
        agents: Their ids.
    """
    rewards = parts["rewards"]
    own = np.concatenate([np.zeros((1, len(agents))), rewards])
    return {
        **{
            name: {agent: parts[name][:, i] for i, agent in enumerate(agents)}
            for name in ("observations", "actions")
        },
        "rewards": rewards.sum(axis=1),
        "infos": {**parts.get("infos", {}), REWARDS: own},
    }


def check(episode: Mapping[str, Any], agents: Sequence[str], where: str) -> None:
    """Check that an episode follows the convention.

    Args:
        episode: Its arrays, as Minari returns them.
        agents: The ids in the metadata.
        where: What to call it in messages.

    Raises:
        DataError: it does not, and how.
    """
    steps = len(episode["rewards"])
    for name, length in (("observations", steps + 1), ("actions", steps)):
        part = episode[name]
        if not isinstance(part, Mapping) or set(part) != set(agents):
            found = sorted(part) if isinstance(part, Mapping) else type(part).__name__
            raise DataError(f"{where}: {name} are of {found}, wanted one of each of {list(agents)}")
        for agent in agents:
            if len(part[agent]) != length:
                raise DataError(
                    f"{where}: {agent} has {len(part[agent])} {name}, wanted {length} for "
                    f"{steps} steps"
                )
            if np.shape(part[agent])[1:] != np.shape(part[agents[0]])[1:]:
                raise DataError(
                    f"{where}: {name} of {agents[0]} and {agent} have shapes "
                    f"{np.shape(part[agents[0]])[1:]} and {np.shape(part[agent])[1:]}; learners "
                    "take agents that are alike"
                )
    team = np.asarray(episode["rewards"])
    if team.ndim != 1:
        raise DataError(f"{where}: rewards have shape {team.shape}; the team's are (T,)")
    own = np.asarray((episode["infos"] or {}).get(REWARDS, np.zeros(0)))
    if own.shape != (steps + 1, len(agents)):
        raise DataError(
            f'{where}: infos["{REWARDS}"] has shape {own.shape}, wanted {(steps + 1, len(agents))}'
        )
    if own[0].any():
        raise DataError(f'{where}: row 0 of infos["{REWARDS}"] is before any step, and not 0')
    if not np.allclose(own[1:].sum(axis=1), team, rtol=1e-6, atol=1e-9):
        raise DataError(f"{where}: the agents' rewards do not add up to the team's")


def arrays_of(
    episode: Mapping[str, Any], agents: Sequence[str], where: str
) -> tuple[Array, Array, Array, bool, Array | None]:
    """Return what ``EpisodesBuilder.add`` takes, of an episode that is checked here.

    Raises:
        DataError: as :func:`check`.
    """
    check(episode, agents, where)
    infos = episode["infos"]
    seen, taken = (
        np.stack([np.asarray(episode[name][agent]) for agent in agents], axis=1)
        for name in ("observations", "actions")
    )
    ends = episode["terminations"]
    costs = np.asarray(infos["cost"])[1:] if "cost" in infos else None
    return seen, taken, np.asarray(infos[REWARDS])[1:], bool(len(ends) and ends[-1]), costs
