"""An environment of one's own: the example of the tutorial "Add an environment"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.registry import EnvSpec, register_environment
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.tasks.outside import register_task
from pkubench.tasks.task import Metric, Protocol, Task

CELLS = 8
HANDOVER = CELLS // 2
"""The first carrier walks left of this cell, the second one from it on."""


class Relay(BatchEnv):
    """Two carriers pass a load down a corridor; only the last cell pays.

    | part        | type           | meaning                                       |
    |-------------|----------------|-----------------------------------------------|
    | observation | Box(3) float32 | own cell, other's cell (of 7), 1 if I hold    |
    | action      | Discrete(3)    | left, stay, right                             |
    | reward      | float          | 0.5 for each carrier on delivery, otherwise 0 |
    | ends        |                | delivery; truncated at 32 steps               |

    The load changes hands when the carriers stand next to each other. The second carrier starts in
    a cell drawn from the episode's seed. The best team return is 1, in 6 steps.

    Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 32

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` corridors."""
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("first", "second")
        box = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, box)
        self.action_spaces = {agent: spaces.Discrete(3) for agent in self.agents}
        self._random = RandomStreams(num_envs)
        self._cell = np.zeros((2, num_envs), dtype=np.int64)
        self._handed_over = np.zeros(num_envs, dtype=np.bool_)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        self._cell[0, ids] = 0
        self._cell[1, ids] = HANDOVER + self._random.integers(ids, 1, CELLS - HANDOVER)[:, 0]
        self._handed_over[ids] = False

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        first, second = (actions[agent] - 1 for agent in self.agents)
        self._cell[0] = np.clip(self._cell[0] + first, 0, HANDOVER - 1)
        self._cell[1] = np.clip(self._cell[1] + second, HANDOVER, CELLS - 1)
        self._handed_over |= self._cell[1] - self._cell[0] == 1
        delivered = self._handed_over & (self._cell[1] == CELLS - 1)
        rewards = np.repeat(0.5 * delivered[:, None], 2, axis=1)
        return rewards, delivered, {"handed_over": self._handed_over.copy()}

    def _observe(self) -> dict[str, Array]:
        holds = np.stack([~self._handed_over, self._handed_over])
        cells = self._cell / (CELLS - 1)
        return {
            agent: np.stack([cells[k], cells[1 - k], holds[k]], axis=1).astype(np.float32)
            for k, agent in enumerate(self.agents)
        }

    def _info(self) -> Info:
        return {"handed_over": self._handed_over.copy()}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the corridor: 40 pixels a cell, the holder in orange."""
        picture = np.full((40, 40 * CELLS, 3), 240, dtype=np.uint8)
        picture[:, ::40] = 200
        for k in range(2):
            left = 40 * int(self._cell[k, index])
            holds = bool(self._handed_over[index]) == (k == 1)
            picture[8:32, left + 8 : left + 32] = (230, 120, 0) if holds else (0, 90, 180)
        return picture


register_environment(
    EnvSpec(id="examples/Relay-v0", entry_point="examples.relay:Relay", horizon=32)
)

TASK = Task(
    id="examples.relay:examples/Relay-v0",
    suite="marl",
    title="two carriers pass a load down a corridor",
    metrics=(
        Metric(
            name="return",
            higher_is_better=True,
            unit="reward",
            describe="1 if the load was delivered, else 0",
        ),
    ),
    protocol=Protocol(
        episodes=100, horizon=32, budget={"environment_steps": 100_000}, quick_episodes=20
    ),
)
register_task(TASK)
