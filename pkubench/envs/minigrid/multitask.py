"""MT3, MT5 and MT7: MiniGrid's multitask benchmarks, their tasks side by side in one batch."""

from __future__ import annotations

from typing import ClassVar

from pkubench.envs.minigrid import catalogue
from pkubench.envs.minigrid.grid_world import MixedLevels


class MT3(MixedLevels):
    """Three MiniGrid tasks for one agent, which sees which of them it is in.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 4) | object, color, state of cells; index of the task     |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / T on success in step t, else 0           |
    | ends        |                 | as in the task; truncated after its T steps          |

    | index | task               | T   |
    |-------|--------------------|-----|
    | 0     | LavaGapS7          | 196 |
    | 1     | RedBlueDoors6x6    | 720 |
    | 2     | MemoryS11          | 605 |

    The tasks of Hendawy et al., "Multi-Task Reinforcement Learning with Mixture of Orthogonal
    Experts", ICLR 2024. Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 720
    members: ClassVar[tuple[str, ...]] = catalogue.MT3


class MT5(MixedLevels):
    """Five MiniGrid tasks for one agent, which sees which of them it is in.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 4) | object, color, state of cells; index of the task     |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / T on success in step t, else 0           |
    | ends        |                 | as in the task; truncated after its T steps          |

    | index | task               | T   |
    |-------|--------------------|-----|
    | 0     | DoorKey6x6         | 360 |
    | 1     | LavaGapS7          | 196 |
    | 2     | RedBlueDoors6x6    | 720 |
    | 3     | DistShift1         | 252 |
    | 4     | MemoryS11          | 605 |

    The tasks of Hendawy et al., "Multi-Task Reinforcement Learning with Mixture of Orthogonal
    Experts", ICLR 2024. Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 720
    members: ClassVar[tuple[str, ...]] = catalogue.MT5


class MT7(MixedLevels):
    """Seven MiniGrid tasks for one agent, which sees which of them it is in.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 4) | object, color, state of cells; index of the task     |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / T on success in step t, else 0           |
    | ends        |                 | as in the task; truncated after its T steps          |

    | index | task               | T   |
    |-------|--------------------|-----|
    | 0     | DoorKey6x6         | 360 |
    | 1     | DistShift1         | 252 |
    | 2     | RedBlueDoors6x6    | 720 |
    | 3     | LavaGapS7          | 196 |
    | 4     | MemoryS11          | 605 |
    | 5     | SimpleCrossingS9N2 | 324 |
    | 6     | MultiRoomN2S4      | 40  |

    The tasks of Hendawy et al., "Multi-Task Reinforcement Learning with Mixture of Orthogonal
    Experts", ICLR 2024. Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 720
    members: ClassVar[tuple[str, ...]] = catalogue.MT7
