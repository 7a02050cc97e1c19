"""KeyToDoor: a key that is taken early opens a door much later, and apples lie in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.memory.drawing import draw_rooms

if TYPE_CHECKING:
    from pkubench.envs.memory.key_to_door_plan import KeyToDoorPlanner

KEY_ROOM: Final = (
    "  #######  ",
    "  #kkkkk#  ",
    "  #kkkkk#  ",
    "  ##   ##  ",
    "  #+++++#  ",
    "  #+++++#  ",
    "  #######  ",
)
APPLE_ROOM: Final = (
    "###########",
    "#a a a a a#",
    "# a a a a #",
    "#a a a a a#",
    "# a a a a #",
    "#a a + a a#",
    "###########",
)
DOOR_ROOM: Final = (
    "  #######  ",
    "  #+++++#  ",
    "  #+++++#  ",
    "  ##   ##  ",
    "  #ddddd#  ",
    "  #ddddd#  ",
    "  #######  ",
)
ROOMS: Final = (KEY_ROOM, APPLE_ROOM, DOOR_ROOM)
HEIGHT, WIDTH = 7, 11
SIGHT: Final = 2
"""An agent sees the cells at most this far in each direction: 5 × 5."""
APPLES: Final = 10
"""Of the 22 places."""
RESPAWN: Final = 20
"""Steps after which an eaten apple is back."""
KINDS: Final = ("floor", "wall", "key", "door", "apple")
NORTH, SOUTH, WEST, EAST = range(4)
MOVES: Final = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])


def places(room: tuple[str, ...], kind: str) -> IntArray:
    """Return row and column of each cell of a kind, (count, 2), row by row."""
    found: IntArray = np.argwhere(np.array([list(row) for row in room]) == kind)
    return found


_WALLS: Final = np.pad(
    np.array([[[cell == "#" for cell in row] for row in room] for room in ROOMS]),
    ((0, 0), (SIGHT, SIGHT), (SIGHT, SIGHT)),
)
"""(3, 11, 15): the rooms' walls, with a margin of floor around."""
_KEYS, _STARTS = places(KEY_ROOM, "k"), places(KEY_ROOM, "+")
_DOORS, _LAST_STARTS = places(DOOR_ROOM, "d"), places(DOOR_ROOM, "+")
_TREES, _MIDDLE_START = places(APPLE_ROOM, "a"), places(APPLE_ROOM, "+")[0]


class KeyToDoor(BatchEnv):
    """Three rooms, one after another: a key, apples, and a door that opens for who has the key.

    | part        | type                      | meaning                                          |
    |-------------|---------------------------|--------------------------------------------------|
    | observation | Box(0, 1, (125,)) float32 | the 5 × 5 cells around the agent, row by row,    |
    |             |                           | each one-hot: floor, wall, key, door, apple      |
    | action      | Discrete(4)               | north, south, west, east                         |
    | reward      | 0 or 1                    | 1 when the door is opened                        |
    | ends        |                           | after the third room's time                      |

    | room   | steps | map (k, d: places of the key and the door; +: of the start; a: of apples) |
    |--------|-------|----------------------------------------------------------------------------|
    | key    | 8     | 5 wide: two rows k, a wall with a gap of 3, two rows +                     |
    | apples | 12    | 5 × 9: apples in 10 of 22 places; eating them is worth nothing             |
    | door   | 8     | 5 wide: two rows +, a wall with a gap of 3, two rows d                     |

    The key, the door and both starts are each in one of ten places, drawn uniformly; the start in
    the apple room is fixed. Walking onto the key takes it. The door is like a wall without it, and
    can be entered with it, which pays 1, once. Apples vanish when walked on, and return after 20
    steps. **Whether the key is held is not observed**, nor the time. `info["success"]`: the door
    was opened.

    **Exact values** (`pkubench.envs.memory.key_to_door_plan`). The two searches are mirror images,
    so a success has the probability that the key is found, squared:

    | policy                         | 8/12/8  | 15/30/15 |
    |--------------------------------|---------|----------|
    | uniform random actions         | 0.148 % | 1.057 %  |
    | without taking the key         | 0       | 0        |
    | optimum (`scripted:optimum`)   | 1       | 1        |

    The key and the door are out of sight from most starts, and every place is at most eight steps
    away: the best search, by dynamic programming over what has not been seen yet, loses no step.

    **What it shows.** The reward comes 13 to 20 steps after the key. An agent that estimates
    values step by step has to carry its credit through a room where nothing matters.

    Source: Hung et al., "Optimizing Agent Behavior over Long Time Scales by Transporting Value",
    Nature Communications, 2019; Mesnard et al., "Counterfactual Credit Assignment in Model-Free
    Reinforcement Learning", ICML 2021, whose door room this is. Binary reward and apples without
    worth as in Chen et al., "Decision Transformer", NeurIPS 2021, whose layout is not published, so
    that success rates are not comparable with theirs. Versions: v0 first release.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}
    default_horizon: ClassVar[int | None] = 28
    phases: ClassVar[tuple[int, int, int]] = (8, 12, 8)
    """Steps in the key room, among the apples, and in the door room."""

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps)
        size = (2 * SIGHT + 1) ** 2 * len(KINDS)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (size,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(4)}
        self._random = RandomStreams(num_envs)
        self._at: IntArray = np.tile(_STARTS[0], (num_envs, 1))
        self._last_start: IntArray = np.tile(_LAST_STARTS[0], (num_envs, 1))
        self._key: IntArray = np.tile(_KEYS[0], (num_envs, 1))
        self._door: IntArray = np.tile(_DOORS[0], (num_envs, 1))
        self._has_key: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        self._is_open: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        self._apples: BoolArray = np.zeros((num_envs, HEIGHT, WIDTH), dtype=np.bool_)
        self._eaten_at: IntArray = np.full((num_envs, HEIGHT, WIDTH), -1, dtype=np.int64)
        self._time: IntArray = np.zeros(num_envs, dtype=np.int64)

    @property
    def _room(self) -> IntArray:
        """The number of the room that each environment is in, (num_envs,)."""
        first, second, _ = self.phases
        room: IntArray = (self._time >= first).astype(np.int64) + (self._time >= first + second)
        return room

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        drawn = self._random.integers(ids, 4, 10)
        self._at[ids], self._key[ids] = _STARTS[drawn[:, 0]], _KEYS[drawn[:, 1]]
        self._last_start[ids], self._door[ids] = _LAST_STARTS[drawn[:, 2]], _DOORS[drawn[:, 3]]
        grown = self._random.uniform(ids, len(_TREES)).argsort(axis=1)[:, :APPLES]
        apples = np.zeros((len(ids), HEIGHT, WIDTH), dtype=np.bool_)
        rows, columns = _TREES[grown].transpose(2, 0, 1)
        apples[np.arange(len(ids))[:, None], rows, columns] = True
        self._apples[ids], self._eaten_at[ids] = apples, -1
        self._has_key[ids] = self._is_open[ids] = False
        self._time[ids] = 0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        at = self._all if active is None else np.flatnonzero(active)
        room = self._room[at]
        self._move(at, room, actions[SOLE_AGENT][at])
        in_key, in_apples, in_door = (at[room == number] for number in range(3))
        self._has_key[in_key] |= (self._at[in_key] == self._key[in_key]).all(axis=1)
        self._eat(in_apples)
        opens = in_door[(self._at[in_door] == self._door[in_door]).all(axis=1)]
        opens = opens[~self._is_open[opens]]
        self._is_open[opens] = True
        rewards = np.zeros((self.num_envs, 1))
        rewards[opens] = 1.0
        self._time[at] += 1
        first, second, third = self.phases
        among = at[self._time[at] == first]
        self._at[among] = _MIDDLE_START
        last = at[self._time[at] == first + second]
        self._at[last] = self._last_start[last]
        return rewards, self._time >= first + second + third, {"success": self._is_open.copy()}

    def _move(self, at: IntArray, room: IntArray, moves: Array) -> None:
        wanted = self._at[at] + MOVES[moves]
        is_wall = _WALLS[room, wanted[:, 0] + SIGHT, wanted[:, 1] + SIGHT]
        is_door = (room == 2) & (wanted == self._door[at]).all(axis=1)
        is_shut = is_door & ~self._has_key[at]
        free = ~(is_wall | is_shut)
        self._at[at[free]] = wanted[free]

    def _eat(self, at: IntArray) -> None:
        """Eat the apples under the agents ``at``, and let others grow again."""
        if not len(at):
            return
        clock = self._time[at] + 1 - self.phases[0]  # of the room: 1 after its first step
        row, column = self._at[at].T
        eats = self._apples[at, row, column]
        self._eaten_at[at[eats], row[eats], column[eats]] = clock[eats]
        eaten_at = self._eaten_at[at]
        self._apples[at, row, column] = False
        grows = (eaten_at >= 0) & (clock[:, None, None] > eaten_at + RESPAWN)
        self._apples[at] |= grows

    def _info(self) -> Info:
        return {"success": self._is_open.copy()}

    def _kinds(self) -> npt.NDArray[np.int8]:
        """Return the kind of every cell, with the margin, (num_envs, 11, 15)."""
        room = self._room
        kinds = _WALLS[room].astype(np.int8)
        inner = kinds[:, SIGHT:-SIGHT, SIGHT:-SIGHT]
        for number, cell, kind in ((0, self._key, "key"), (2, self._door, "door")):
            at = np.flatnonzero(room == number)
            if number == 0:
                at = at[~self._has_key[at]]
            inner[at, cell[at, 0], cell[at, 1]] = KINDS.index(kind)
        at = np.flatnonzero(room == 1)
        inner[at] = np.where(self._apples[at], KINDS.index("apple"), inner[at])
        return kinds

    def _observe(self) -> dict[str, Array]:
        side = np.arange(2 * SIGHT + 1)
        rows, columns = (self._at[:, axis, None] + side for axis in (0, 1))
        seen = self._kinds()[self._all[:, None, None], rows[:, :, None], columns[:, None, :]]
        one_hot = np.eye(len(KINDS), dtype=np.float32)[seen]
        return {SOLE_AGENT: one_hot.reshape(self.num_envs, -1)}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the room that an environment is in: (392, 528, 3) uint8."""
        kinds = self._kinds()[index, SIGHT:-SIGHT, SIGHT:-SIGHT]
        rows = ["".join(" #kda"[kind] for kind in row) for row in kinds]
        name = f"{type(self).__name__}   (step {int(self._time[index])} of {sum(self.phases)})"
        row, column = self._at[index].tolist()
        return draw_rooms(name, rows, (row, column), bool(self._has_key[index]))

    @property
    def exact_returns(self) -> dict[str, float]:
        """Expected returns: ``random``, ``without-key`` and ``optimum``."""
        from pkubench.envs.memory import key_to_door_plan as plan

        best, random = plan.best_success(self.phases), plan.random_success(self.phases)
        return {"random": random, "without-key": 0.0, "optimum": best}

    @classmethod
    def scripted_agents(cls) -> dict[str, KeyToDoorPlanner]:
        """Return the agents that search both targets, and the door alone (``without-key``)."""
        from pkubench.envs.memory.key_to_door_plan import KeyToDoorPlanner

        return {
            "optimum": KeyToDoorPlanner(cls.phases),
            "without-key": KeyToDoorPlanner(cls.phases, skips_key=True),
        }


class KeyToDoorLong(KeyToDoor):
    """KeyToDoor with 15 steps for the key, 30 among the apples, and 15 for the door.

    | part        | type                      | meaning                                          |
    |-------------|---------------------------|--------------------------------------------------|
    | observation | Box(0, 1, (125,)) float32 | the 5 × 5 cells around the agent, row by row,    |
    |             |                           | each one-hot: floor, wall, key, door, apple      |
    | action      | Discrete(4)               | north, south, west, east                         |
    | reward      | 0 or 1                    | 1 when the door is opened                        |
    | ends        |                           | after 60 steps                                   |

    All else is as in KeyToDoor. The optimum is 1, and random play succeeds in 1.057 % of episodes.
    These are the lengths of Mesnard et al. (ICML 2021).

    Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 60
    phases: ClassVar[tuple[int, int, int]] = (15, 30, 15)
