"""A data set small enough to write down."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from pkubench.data.episodes import Episodes, EpisodesBuilder

SEEN, ACTION = spaces.Box(0.0, 1.0, (21,), np.float32), spaces.Discrete(3)
TASK = "pkubench/RiskyCorridor-v0"
ID = "pkubench/RiskyCorridor/two-v0"


def corridor() -> Episodes:
    """Two episodes in the spaces of RiskyCorridor, with costs: 3 steps to an end, and 2."""
    cells = np.eye(21, dtype=np.float32)
    builder = EpisodesBuilder(task=TASK, name=ID)
    builder.add(cells[[0, 1, 2, 5]], [1, 1, 2], [-0.1, -0.1, 1.9], True, [0, 0, 10])
    builder.add(cells[[0, 0, 1]], [0, 1], [-0.1, -0.1], False, [0, 0])
    return builder.build()
