"""MT3, MT5 and MT7: MiniGrid's multitask benchmarks, their tasks side by side in one batch."""

from __future__ import annotations

from typing import ClassVar

from pkubench.envs.minigrid import catalogue
from pkubench.envs.minigrid.grid_world import MixedLevels


class MiniGridMT(MixedLevels):
    """Several MiniGrid tasks for one agent, which sees which of them it is in.

    | part        | type                        | meaning                                       |
    |-------------|-----------------------------|-----------------------------------------------|
    | observation | Box(0, 255, (7, 7, 4)) uint8 | object, color, state of the cells in front, and the task's index |
    | action      | Discrete(7)                 | left, right, forward, pickup, drop, toggle, done |
    | reward      | float64                     | 1 − 0.9 t / T on success in step t, else 0    |
    | ends        |                             | as in the task; truncated after the task's own limit of T steps |

    | index | MT3             | MT5             | MT7                | T   |
    |-------|-----------------|-----------------|--------------------|-----|
    | 0     | LavaGapS7       | DoorKey6x6      | DoorKey6x6         | 196 or 360 |
    | 1     | RedBlueDoors6x6 | LavaGapS7       | DistShift1         | 720, 196 or 252 |
    | 2     | MemoryS11       | RedBlueDoors6x6 | RedBlueDoors6x6    | 605 or 720 |
    | 3     |                 | DistShift1      | LavaGapS7          | 252 or 196 |
    | 4     |                 | MemoryS11       | MemoryS11          | 605 |
    | 5     |                 |                 | SimpleCrossingS9N2 | 324 |
    | 6     |                 |                 | MultiRoomN2S4      | 40  |

    An episode's option `task` chooses its task (`reset(options={"task": 3})`); otherwise it is the
    seed modulo the number of tasks. The first three channels are MiniGrid's image to the bit, and the
    fourth has the task's index in each cell. `info`: `direction` (0 right, 1 down, 2 left, 3 up),
    `success` and `task_id`. The setting `levels` takes other tasks by MiniGrid's names, such as
    `["DoorKey-8x8-v0", "LavaGapS7-v0"]`.

    Source: the tasks of Hendawy et al., "Multi-Task Reinforcement Learning with Mixture of
    Orthogonal Experts", ICLR 2024, and of Jin et al., "Deep Reinforcement Learning with
    Task-Adaptive Retrieval via Hypernetwork", arXiv 2306.10698. Versions: v0 first release.
    """


class MT3(MiniGridMT):
    __doc__ = MiniGridMT.__doc__
    default_horizon: ClassVar[int | None] = 720
    members: ClassVar[tuple[str, ...]] = catalogue.MT3


class MT5(MiniGridMT):
    __doc__ = MiniGridMT.__doc__
    default_horizon: ClassVar[int | None] = 720
    members: ClassVar[tuple[str, ...]] = catalogue.MT5


class MT7(MiniGridMT):
    __doc__ = MiniGridMT.__doc__
    default_horizon: ClassVar[int | None] = 720
    members: ClassVar[tuple[str, ...]] = catalogue.MT7
