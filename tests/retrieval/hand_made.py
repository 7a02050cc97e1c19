"""A bank small enough to know every number of."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkubench.data.episodes import EpisodesBuilder
from pkubench.retrieval.bank import MemoryBank

LEVELS = ("DoorKey-5x5-v0", "LavaGapS5-v0")


def image(number: int) -> np.ndarray:
    """An image of empty cells but for one, by which it is told from others."""
    found = np.zeros((7, 7, 3), np.uint8)
    found[..., 0] = 1
    found[number % 7, number // 7 % 7] = (5, 4, 0)
    return found


def by_hand(**changes: Any) -> MemoryBank:
    """Two episodes of task 0 (5 steps, success; 3 steps, time) and one of task 1 (2 steps)."""
    builder, at = EpisodesBuilder(name="by hand"), 0
    for length, last in ((5, 0.9), (3, 0.0), (2, 0.5)):
        images = np.stack([image(at + k) for k in range(length + 1)])
        rewards = np.array([0.0] * (length - 1) + [last])
        builder.add(images, np.arange(length) % 7, rewards, last > 0)
        at += length
    facts: dict[str, Any] = {
        "episodes": builder.build(),
        "directions": np.arange(10) % 4,
        "truncated": [False, True, False],
        "level": [0, 0, 1],
        "task": [0, 0, 1],
        "seeds": [4, 5, 6],
        "behaviour": [2, 0, 1],
        "levels": LEVELS,
    }
    return MemoryBank(**{**facts, **changes})


VALUES = np.array([0.9 * 0.99**k for k in (4, 3, 2, 1, 0)] + [0.0] * 3 + [0.5 * 0.99, 0.5])
"""The discounted returns to go of its steps."""
