"""LuckyArm: a corridor with a sure prize at one end and a lottery at the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.memory.drawing import draw_row
from pkubench.envs.memory.policies import TableAgent

CELLS: Final = 5
SAFE_REWARD: Final = 1.0
LUCKY_REWARD: Final = 10.0
LUCK: Final = 0.05
LEFT, RIGHT = range(2)


class LuckyArm(BatchEnv):
    """A corridor of five cells: the left end pays 1, the right end 10 in one of twenty episodes.

    | part        | type                    | meaning                                            |
    |-------------|-------------------------|----------------------------------------------------|
    | observation | Box(0, 1, (5,)) float32 | the cell, one-hot                                  |
    | action      | Discrete(2)             | left, right                                        |
    | reward      | float64                 | 1 at the left end; at the right end 10 with        |
    |             |                         | probability 0.05, else 0                           |
    | ends        |                         | at either end; truncated after 20 steps            |

    An episode starts in the middle. `info["expected_return"]` is the reward so far with the lottery
    replaced by what it is worth, 0.5. It is the task's metric: what an agent does does not depend
    on the draw, which ends the episode, so this is its exact score. (The mean of 500 episodes'
    returns has a standard error of 0.10.)

    | policy                            | expected return |
    |-----------------------------------|-----------------|
    | right (`scripted:lucky`)          | 0.5             |
    | uniform random actions            | 0.7493          |
    | left, the optimum (`scripted:optimum`) | 1          |

    **What it shows.** An agent that is conditioned on a return imitates what happened before such a
    return. Asked for 10 it goes right, because only that ever led to 10, and earns half of what the
    safe arm pays: it takes luck for skill. Asked for 1 it goes left. Methods that estimate values
    average over the draws.

    Source: the argument is Paster et al.'s, "You Can't Count on Luck: Why Decision Transformers and
    RvS Fail in Stochastic Environments", NeurIPS 2022; the environment is ours. Versions: v0 first
    release.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}
    default_horizon: ClassVar[int | None] = 20

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (CELLS,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(2)}
        self._random = RandomStreams(num_envs)
        self._cell: IntArray = np.full(num_envs, CELLS // 2, dtype=np.int64)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        self._cell[ids] = CELLS // 2

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        at = self._all if active is None else np.flatnonzero(active)
        moved = self._cell[at] + 2 * actions[SOLE_AGENT][at] - 1
        self._cell[at] = np.clip(moved, 0, CELLS - 1)
        is_lucky = self._random.uniform(self._all, 1)[:, 0] < LUCK
        is_left, is_right = self._cell == 0, self._cell == CELLS - 1
        rewards = SAFE_REWARD * is_left + LUCKY_REWARD * (is_right & is_lucky)
        return rewards[:, None], is_left | is_right, self._info()

    def _info(self) -> Info:
        worth = np.zeros(CELLS)
        worth[0], worth[-1] = SAFE_REWARD, LUCK * LUCKY_REWARD
        return {"expected_return": worth[self._cell]}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: np.eye(CELLS, dtype=np.float32)[self._cell]}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the corridor and the walker: (160, 480, 3) uint8."""
        labels = ["1", *[""] * (CELLS - 2), "10 ?"]
        title = f"LuckyArm   (step {int(self.elapsed[index])})"
        return draw_row(title, labels, int(self._cell[index]))

    @property
    def exact_returns(self) -> dict[str, float]:
        """Expected returns: ``random``, ``lucky`` and ``optimum``."""
        here = np.eye(CELLS)[CELLS // 2]
        ends = np.zeros(CELLS)
        for _ in range(self.max_episode_steps or 20):
            moved = np.zeros(CELLS)
            moved[:-1] += here[1:] / 2
            moved[1:] += here[:-1] / 2
            ends += moved * [1, 0, 0, 0, 1]
            here = moved * [0, 1, 1, 1, 0]
        lucky = LUCK * LUCKY_REWARD
        return {
            "random": float(ends[0] * SAFE_REWARD + ends[-1] * lucky),
            "lucky": lucky,
            "optimum": SAFE_REWARD,
        }

    def scripted_agents(self) -> dict[str, TableAgent]:
        """Return the agents that go left (``optimum``) and right (``lucky``)."""
        return {"optimum": TableAgent([LEFT] * CELLS), "lucky": TableAgent([RIGHT] * CELLS)}
