"""T-mazes: a sign seen once, a corridor, and a turn that the sign decides."""

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
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.memory.drawing import draw_tmaze
from pkubench.errors import ConfigError

CORRIDOR: Final = 10
"""Length of the corridor as registered."""
CORRIDORS: Final = (1, 2, 5, 10, 30, 50, 100, 300)
"""The lengths that results are stated for."""
RIGHT, UP, LEFT, DOWN = range(4)
_DX, _DY = np.array([1, 0, -1, 0]), np.array([0, 1, 0, -1])


class TMazePassive(BatchEnv):
    """A sign at the start says which arm pays at the far end of a corridor.

    | part        | type                     | meaning                                           |
    |-------------|--------------------------|---------------------------------------------------|
    | observation | Box(−1, 1, (2,)) float32 | 1 at the far end, else 0; up or down (+1, −1):    |
    |             |                          | in an arm, and the sign when it is seen           |
    | action      | Discrete(4)              | right, up, left, down                             |
    | reward      | float64                  | −1/c for a step that ends behind time, and 1 at   |
    |             |                          | the last step in the arm of the sign              |
    | ends        |                          | after c + 1 steps                                 |

    The corridor has the cells 0 to c, with an arm above and one below cell c. An episode starts in
    cell 0, where the sign is observed once: a return to the cell shows 0. Within the corridor all
    cells look the same. After step t < c + 1 an agent left of cell t is behind time. There is
    exactly enough time, so an agent without a penalty is in cell c when one step is left.

    `info["success"]`: in the arm of the sign after the last step. The option `goal` of a reset
    chooses the sign (+1 up, −1 down; 0 draws it). Evaluations play each episode with both signs,
    so that an agent that forgets the sign and turns earns **exactly 1/2**, and one that remembers
    it 1 (`scripted:optimum`).

    **What it shows.** Memory alone: the way is the same for both signs, and the penalty teaches it
    at once. The setting `corridor` is the length that has to be remembered, and
    `TMazePassive-v0+corridor=100` names such a task; the largest length that an agent solves is
    its memory.

    Source: Bakker, "Reinforcement Learning with Long Short-Term Memory", NIPS 2001; with the
    penalty: Ni et al., "When Do Transformers Shine in RL? Decoupling Memory from Credit
    Assignment", NeurIPS 2023. Versions: v0 first release.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}
    default_horizon: ClassVar[int | None] = CORRIDOR + 1
    episode_options: ClassVar[Mapping[str, Option]] = MappingProxyType(
        {"goal": Option(0, spaces.Discrete(3, start=-1), "the sign: 1 up, -1 down, 0 drawn")}
    )
    oracle: ClassVar[int] = 0
    """Cells from the sign to the start."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        corridor: int = CORRIDOR,
    ) -> None:
        """Make ``num_envs`` environments.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit besides the end of the maze's own episodes.
            corridor: c, the number of steps from the start to the turn.

        Raises:
            ConfigError: a corridor without a cell.
        """
        if corridor < 1:
            raise ConfigError(f"corridor must be at least 1, got {corridor}")
        self.corridor = corridor
        self.end = self.oracle + corridor
        """The cell below and above which the arms are."""
        self.length = corridor + 1 + 2 * self.oracle
        """Steps of an episode."""
        super().__init__(num_envs, self.length if max_episode_steps == -1 else max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-1.0, 1.0, (2,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(4)}
        self._random = RandomStreams(num_envs)
        self._goal: IntArray = np.ones(num_envs, dtype=np.int64)
        self._x: IntArray = np.full(num_envs, self.oracle, dtype=np.int64)
        self._y: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._was_seen: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        self._is_seen: BoolArray = np.zeros(num_envs, dtype=np.bool_)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        drawn = 2 * self._random.integers(ids, 1, 2)[:, 0] - 1
        chosen = self.options["goal"][ids]
        self._goal[ids] = np.where(chosen == 0, drawn, chosen)
        self._x[ids], self._y[ids] = self.oracle, 0
        self._was_seen[ids] = self._is_seen[ids] = self.oracle == 0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        at = self._all if active is None else np.flatnonzero(active)
        move = actions[SOLE_AGENT][at]
        x, y = self._x[at] + _DX[move], self._y[at] + _DY[move]
        is_cell = (x >= 0) & (x <= self.end) & (abs(y) <= (x == self.end))
        self._x[at] = np.where(is_cell, x, self._x[at])
        self._y[at] = np.where(is_cell, y, self._y[at])
        self._is_seen = (self._x == 0) & ~self._was_seen
        self._was_seen = self._was_seen | self._is_seen
        time = self.elapsed + 1
        is_last = time >= self.length
        is_behind = self._x < time - self.oracle
        success = is_last & (self._y == self._goal)
        rewards = np.where(is_last, success, is_behind * (-1 / self.corridor))
        return rewards[:, None], is_last, {"success": success}

    def _info(self) -> Info:
        return {"success": (self.elapsed >= self.length) & (self._y == self._goal)}

    def _observe(self) -> dict[str, Array]:
        is_end = self._x == self.end
        sign = np.where(self._is_seen, self._goal, np.where(is_end, self._y, 0))
        return {SOLE_AGENT: np.stack([is_end, sign], axis=1).astype(np.float32)}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the maze, its sign and the agent: (240, 640, 3) uint8."""
        name = f"{type(self).__name__}   (step {int(self.elapsed[index])} of {self.length})"
        place = (int(self._x[index]), int(self._y[index]))
        return draw_tmaze(name, self.end, place, self.oracle, int(self._goal[index]))

    @property
    def exact_returns(self) -> dict[str, float]:
        """Expected returns: ``random``, ``memoryless`` and ``optimum``."""
        return {"random": self._random_return(), "memoryless": 0.5, "optimum": 1.0}

    def _random_return(self) -> float:
        row = np.zeros(self.end + 1)  # the chance of each cell of the corridor
        row[self.oracle] = 1.0
        arms, total = 0.0, 0.0
        for time in range(1, self.length + 1):
            moved = row / 2  # up and down, into a wall
            moved[1:] += row[:-1] / 4
            moved[:-1] += row[1:] / 4
            moved[0] += row[0] / 4
            moved[-1] += row[-1] / 4 - row[-1] / 2 + arms / 4
            arms = row[-1] / 2 + 3 * arms / 4
            row = moved
            if time < self.length:
                behind = row[: max(time - self.oracle, 0)].sum()
                behind += arms * (self.end < time - self.oracle)
                total -= behind / self.corridor
        return float(total + arms / 2)

    def scripted_agents(self) -> dict[str, RememberingAgent]:
        """Return the agents that remember the sign, and that do not (``memoryless``)."""
        return {"optimum": RememberingAgent(), "memoryless": RememberingAgent(forgets=True)}


class TMazeActive(TMazePassive):
    """The T-maze in which the sign has to be looked up first, one step in the other direction.

    | part        | type                     | meaning                                           |
    |-------------|--------------------------|---------------------------------------------------|
    | observation | Box(−1, 1, (2,)) float32 | 1 at the far end, else 0; up or down (+1, −1):    |
    |             |                          | in an arm, and the sign when it is seen           |
    | action      | Discrete(4)              | right, up, left, down                             |
    | reward      | float64                  | −1/c for a step that ends behind time, and 1 at   |
    |             |                          | the last step in the arm of the sign              |
    | ends        |                          | after c + 3 steps                                 |

    As TMazePassive, but an episode starts in cell 1 of the cells 0 to c + 1. There is exactly
    enough time to step left to cell 0, see the sign, and be at the turn with one step left; after
    step t < c + 3 an agent left of cell t − 1 is behind time.

    An agent that walks right at once sees no sign: it waits at the turn and earns **exactly 1/2**.
    The step to the left earns nothing and is paid for c + 2 steps later.

    **What it shows.** Memory and credit assignment together: an agent that solves TMazePassive and
    not this one remembers what it saw, and does not learn to look.

    Source: Ni et al., "When Do Transformers Shine in RL? Decoupling Memory from Credit
    Assignment", NeurIPS 2023. Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = CORRIDOR + 3
    oracle: ClassVar[int] = 1


def passive_variant(name: str, text: str) -> tuple[dict[str, Any], int]:
    """Return the settings and the time limit of ``TMazePassive-v0+corridor=100``."""
    return _variant(name, text, 1)


def active_variant(name: str, text: str) -> tuple[dict[str, Any], int]:
    """Return the settings and the time limit of ``TMazeActive-v0+corridor=100``."""
    return _variant(name, text, 3)


def _variant(name: str, text: str, more: int) -> tuple[dict[str, Any], int]:
    if name != "corridor" or not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 10_000):
        raise ConfigError(
            f"a T-maze varies in its corridor, of 1 to 10,000 cells, as in +corridor=100; "
            f"got +{name}={text}"
        )
    return {"corridor": int(text)}, int(text) + more


class RememberingAgent:
    """Goes to the sign, remembers it, walks right to the turn, and turns as it said."""

    def __init__(self, *, forgets: bool = False) -> None:
        """Make an agent; one that forgets walks right at once, and always turns up."""
        self.forgets = forgets

    def begin(self, seeds: IntArray) -> IntArray:
        """Return the signs remembered in each episode, (episodes,): 0, none yet."""
        return np.zeros(len(seeds), dtype=np.int64)

    def act(
        self, observation: Array, state: IntArray, active: BoolArray
    ) -> tuple[IntArray, IntArray]:
        """Return actions (episodes,) and the signs remembered."""
        is_end, sign = observation[:, 0] == 1.0, observation[:, 1].astype(np.int64)
        known = np.where((state == 0) & ~is_end, sign, state)
        if self.forgets:
            known = np.ones_like(known)
        turn = np.where(known < 0, DOWN, UP)
        search = np.where(known == 0, LEFT, RIGHT)
        return np.where(is_end, turn, search).astype(np.int64), known
