"""Stitching: the best way was never walked whole, only its two halves in different episodes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import (
    SOLE_AGENT,
    Array,
    BatchEnv,
    BoolArray,
    FloatArray,
    Info,
    Option,
)
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.memory.drawing import draw_row
from pkubench.envs.memory.policies import TableAgent

A, B, J, END = range(4)
STATES: Final = ("A", "B", "J", "end")
_LEADS_TO: Final = np.array([[J, END], [J, J], [END, END], [END, END]])
"""(state, action) -> state."""
_REWARDS: Final = np.array([[0.0, 0.2], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
"""(state, action) -> reward."""


class Stitching(BatchEnv):
    """Three states: A leads to J or to 0.2, B leads to J, and J leads to 0 or to 1.

    | part        | type                    | meaning                        |
    |-------------|-------------------------|--------------------------------|
    | observation | Box(0, 1, (3,)) float32 | A, B or J, one-hot; 0 at the end |
    | action      | Discrete(2)             | see below                      |
    | reward      | float64                 | see below                      |
    | ends        |                         | after at most 2 steps          |

    | state | action 0               | action 1                |
    |-------|------------------------|-------------------------|
    | A     | a1: to J, reward 0     | a2: the end, reward 0.2 |
    | B     | to J, reward 0         | to J, reward 0          |
    | J     | x: the end, reward 0   | g: the end, reward 1    |

    An episode starts in A; the option `start` = 1 of a reset starts it in B, as some of the data.
    The data hold three kinds of episodes and no others: A a1 J x (return 0), A a2 (0.2) and
    B J g (1). The best return from A in them is **0.2**; the optimum, a1 and then g, is **1**
    (`scripted:optimum`).

    **What it shows.** Whoever imitates episodes that began as its own did earns 0.2 at most, also
    when it asks for 1, which no episode from A ever had. Dynamic programming joins the halves: the
    value of J is learned from B's episodes.

    Source: the need to stitch is from Fu et al., "D4RL: Datasets for Deep Data-Driven Reinforcement
    Learning", 2020, and Kumar et al., "When Should We Prefer Offline Reinforcement Learning over
    Behavioral Cloning?", ICLR 2022; the environment is ours. Versions: v0 first release.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 2}
    default_horizon: ClassVar[int | None] = 2
    episode_options: ClassVar[Mapping[str, Option]] = MappingProxyType(
        {"start": Option(0, spaces.Discrete(2), "the first state: 0 is A, 1 is B")}
    )

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (3,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(2)}
        self._state: IntArray = np.full(num_envs, A, dtype=np.int64)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._state[ids] = self.options["start"][ids]

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        at = self._all if active is None else np.flatnonzero(active)
        state, action = self._state[at], actions[SOLE_AGENT][at]
        rewards = np.zeros((self.num_envs, 1))
        rewards[at, 0] = _REWARDS[state, action]
        self._state[at] = _LEADS_TO[state, action]
        return rewards, self._state == END, {}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: np.eye(4, 3, dtype=np.float32)[self._state]}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the states and the present one: (160, 480, 3) uint8."""
        title = f"Stitching   (step {int(self.elapsed[index])})"
        return draw_row(title, STATES, int(self._state[index]))

    @property
    def exact_returns(self) -> dict[str, float]:
        """Expected returns from A: ``random``, ``safe`` and ``optimum``."""
        random = (_REWARDS[A, 0] + _REWARDS[J].mean() + _REWARDS[A, 1]) / 2
        return {"random": float(random), "safe": 0.2, "optimum": 1.0}

    def scripted_agents(self) -> dict[str, TableAgent]:
        """Return the agents that play a1 and g (``optimum``), and a2 (``safe``)."""
        return {"optimum": TableAgent([0, 0, 1]), "safe": TableAgent([1, 0, 0])}
