"""Data cards: what each data set of ours is, and the SHA-256 by which it is recognized."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkubench.data.episodes import Episodes

FILE = Path(__file__).with_name("cards.json")
"""Id of a data set -> its card; written by ``python -m benchmarks.offline_data``."""


def cards() -> Mapping[str, dict[str, Any]]:
    """Return the cards of our data sets, by id."""
    if not FILE.is_file():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_bytes())
    return found


def example_for(task: str) -> str:
    """Return the id of a data set of ours that is of a task, delayed or not; "" if there is none.

    >>> example_for("pkubench/LuckyArm-v0")
    'pkubench/LuckyArm/random-v0'
    """
    base = task.partition("+")[0]
    return max((name for name, card in cards().items() if card["task"] == base), default="")


def card_of(episodes: Episodes, *, policy: str, command: str) -> dict[str, Any]:
    """Return the card of a data set: JSON values.

    Args:
        episodes: The data set.
        policy: Who acted.
        command: What makes it.
    """
    team = episodes.returns.reshape(len(episodes), -1).sum(axis=1)
    card: dict[str, Any] = {
        "task": episodes.task,
        "policy": policy,
        "command": command,
        "episodes": len(episodes),
        "steps": episodes.num_steps,
        "return": {
            "mean": round(float(team.mean()), 6),
            "std": round(float(team.std()), 6),
            "min": round(float(team.min()), 6),
            "max": round(float(team.max()), 6),
        },
        "terminated": int(episodes.terminated.sum()),
        "sha256": episodes.sha256,
    }
    if episodes.costs is not None:
        card["cost"] = round(float(episodes.costs.sum()) / len(episodes), 6)
    if episodes.agents:
        card["agents"] = list(episodes.agents)
    card["summary"] = f"{policy}, on {episodes.task}"
    return card
