"""Tapes of random actions for any environment: an episode's depend on its seed alone."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, Info
from pkubench.envs.core.registry import environments
from pkubench.envs.core.seeding import IntArray, RandomStreams

_OWN_STREAM = 10**6
"""Added to an episode's seed, so that the tape does not draw the numbers the environment draws."""


def is_here(env: str) -> bool:
    """Say whether the module of a registered environment exists."""
    try:
        return (
            importlib.util.find_spec(environments()[env].entry_point.partition(":")[0]) is not None
        )
    except ModuleNotFoundError:
        return False


SHIPPED = [w for w, spec in environments().items() if spec.entry_point.startswith("pkubench.")]
"""The catalogue's environments, without those other tests register."""
LARGE = frozenset({"pkubench/GraspFull-v0"})
"""Environments that take many seconds to make: tests of their own check fewer of their objects."""
HERE = [env for env in SHIPPED if is_here(env) and env not in LARGE]
"""The environments of the catalogue, each a subject of the cheap conformance tests."""

_NAVIGATION = ("PointGoal1", "CarGoal2", "PointButton1", "DoggoPush1", "AntCircle2", "CarRun0")
_BATTLES = ("MicroBattle2s3z", "MicroBattle5m_vs_6m", "MicroBattleRandom5")
SAMPLE = [
    env
    for env in HERE
    if not re.search(r"(Point|Car|Doggo|Ant)(Goal|Button|Push|Circle|Run)\d-|/MicroBattle", env)
    or re.search(rf"/({'|'.join(_NAVIGATION + _BATTLES)})-", env)
]
"""Those the slow conformance tests and the golden playthroughs are about: of the navigation tasks,
which differ in two settings, every task and every robot once; of the battles, which differ in their
teams, an equal, an unequal and a random one."""


class Tape:
    """Draws actions from each episode's seed, legal ones where there is a mask."""

    def __init__(self, env: BatchEnv, seeds: IntArray) -> None:
        self.env = env
        self.random = RandomStreams(env.num_envs)
        self.indices = np.arange(env.num_envs)
        self.random.seed(self.indices, np.asarray(seeds) + _OWN_STREAM)

    def actions(self, info: Info) -> dict[str, Array]:
        """Return the next actions of the batch; ``info`` is that of the last reset or step."""
        actions: dict[str, Array] = {}
        for agent, space in self.env.action_spaces.items():
            mask = info.get(f"action_mask:{agent}", info.get("action_mask"))
            if isinstance(space, spaces.Discrete) and mask is not None:
                legal = mask.astype(np.int64)
                draw = self.random.uniform(self.indices, 1)[:, 0] * legal.sum(axis=1)
                chosen = (legal.cumsum(axis=1) > np.floor(draw)[:, None]).argmax(axis=1)
                actions[agent] = chosen + int(space.start)
            elif isinstance(space, spaces.Discrete):
                draws = self.random.integers(self.indices, 1, int(space.n))[:, 0]
                actions[agent] = draws + int(space.start)
            elif isinstance(space, spaces.MultiDiscrete):
                draws = [self.random.integers(self.indices, 1, int(n)) for n in space.nvec]
                actions[agent] = np.concatenate(draws, axis=1)
            else:
                assert isinstance(space, spaces.Box)
                assert space.shape is not None
                unit = self.random.uniform(self.indices, int(np.prod(space.shape)))
                unit = unit.reshape(-1, *space.shape)
                actions[agent] = (space.low + (space.high - space.low) * unit).astype(space.dtype)
        return actions
