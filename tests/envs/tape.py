"""Tapes of random actions for any world: what an episode is given depends on its seed alone."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, Info
from pkubench.envs.core.registry import environments
from pkubench.envs.core.seeding import IntArray, LaneRandom

_OWN_STREAM = 10**6
"""Added to an episode's seed, so that the tape does not draw the numbers the world draws."""


def is_here(world: str) -> bool:
    """Say whether the module of a registered world exists."""
    try:
        return (
            importlib.util.find_spec(environments()[world].entry_point.partition(":")[0])
            is not None
        )
    except ModuleNotFoundError:
        return False


SHIPPED = [w for w, spec in environments().items() if spec.entry_point.startswith("pkubench.")]
"""The catalogue's worlds, without those other tests register."""
HERE = [world for world in SHIPPED if is_here(world)]
"""The worlds of the catalogue, each a subject of the cheap conformance tests."""

_NAVIGATION = ("PointGoal1", "CarGoal2", "PointButton1", "DoggoPush1", "AntCircle2", "CarRun0")
SAMPLE = [
    world
    for world in HERE
    if not re.search(r"(Point|Car|Doggo|Ant)(Goal|Button|Push|Circle|Run)\d-", world)
    or re.search(rf"/({'|'.join(_NAVIGATION)})-", world)
]
"""Those the dear conformance tests and the golden playthroughs are about: of the navigation worlds,
which differ in two settings, every task and every robot once."""


class Tape:
    """Draws each lane's actions from its episode's seed, legal ones where the world has a mask."""

    def __init__(self, world: BatchEnv, seeds: IntArray) -> None:
        self.world = world
        self.random = LaneRandom(world.num_envs)
        self.lanes = np.arange(world.num_envs)
        self.random.seed(self.lanes, np.asarray(seeds) + _OWN_STREAM)

    def actions(self, info: Info) -> dict[str, Array]:
        """Return the next actions of all lanes; ``info`` is that of the last reset or step."""
        actions: dict[str, Array] = {}
        for agent, space in self.world.action_spaces.items():
            if isinstance(space, spaces.Discrete) and "action_mask" in info:
                legal = info["action_mask"].astype(np.int64)
                draw = self.random.uniform(self.lanes, 1)[:, 0] * legal.sum(axis=1)
                chosen = (legal.cumsum(axis=1) > np.floor(draw)[:, None]).argmax(axis=1)
                actions[agent] = chosen + int(space.start)
            elif isinstance(space, spaces.Discrete):
                draws = self.random.integers(self.lanes, 1, int(space.n))[:, 0]
                actions[agent] = draws + int(space.start)
            else:
                assert isinstance(space, spaces.Box)
                assert space.shape is not None
                unit = self.random.uniform(self.lanes, int(np.prod(space.shape)))
                unit = unit.reshape(-1, *space.shape)
                actions[agent] = (space.low + (space.high - space.low) * unit).astype(space.dtype)
        return actions
