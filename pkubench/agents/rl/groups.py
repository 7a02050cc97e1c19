"""Agents of a team in groups that can share a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def groups_of(agents: Sequence[str], alike: Sequence[Any]) -> list[tuple[str, ...]]:
    """Return the agents in groups of equal ``alike``, in order of appearance."""
    groups: dict[Any, list[str]] = {}
    for agent, key in zip(agents, alike, strict=True):
        groups.setdefault(key, []).append(agent)
    return [tuple(members) for members in groups.values()]
