"""The tasks of the multitask benchmarks MT3, MT5 and MT7, one by one."""

from __future__ import annotations

from typing import ClassVar

from pkubench.envs.minigrid.grid_world import OneLevel


class DoorKey6x6(OneLevel):
    """A key opens a locked door, and behind it is the goal: MiniGrid-DoorKey-6x6-v0.

    | part        | type                        | meaning                                       |
    |-------------|-----------------------------|-----------------------------------------------|
    | observation | Box(0, 255, (7, 7, 3)) uint8 | the cells in front: object, color, state     |
    | action      | Discrete(7)                 | left, right, forward, pickup, drop, toggle, done |
    | reward      | float64                     | 1 − 0.9 t / 360 at the goal in step t, else 0 |
    | ends        |                             | at the goal; truncated after 360 steps        |

    "use the key to open the door and then get to the goal". The wall, the door in it, the key, the
    start and its direction are random; the goal is in the corner. `info`: `direction` (0 right, 1
    down, 2 left, 3 up) and `success`. Observations, rewards, ends and pictures are those of
    MiniGrid 3.2.0 to the bit, and `reset(seed=s)` starts the level that MiniGrid makes of the seed.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 360
    level: ClassVar[str] = "DoorKey-6x6-v0"


class DistShift1(OneLevel):
    """Past two strips of lava to the goal, in the same level always: MiniGrid-DistShift1-v0.

    | part        | type                        | meaning                                       |
    |-------------|-----------------------------|-----------------------------------------------|
    | observation | Box(0, 255, (7, 7, 3)) uint8 | the cells in front: object, color, state     |
    | action      | Discrete(7)                 | left, right, forward, pickup, drop, toggle, done |
    | reward      | float64                     | 1 − 0.9 t / 252 at the goal in step t, else 0 |
    | ends        |                             | at the goal, in lava; truncated after 252 steps |

    "get to the green goal square". Walls do not block the view. The shortest way takes 13 steps.
    `info`: `direction` (0 right, 1 down, 2 left, 3 up) and `success`. Equal to MiniGrid 3.2.0 to
    the bit, pictures included.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023, after Leike et al., "AI
    Safety Gridworlds", 2017. Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 252
    level: ClassVar[str] = "DistShift1-v0"


class RedBlueDoors6x6(OneLevel):
    """Open the red door, then the blue one: MiniGrid-RedBlueDoors-6x6-v0.

    | part        | type                        | meaning                                       |
    |-------------|-----------------------------|-----------------------------------------------|
    | observation | Box(0, 255, (7, 7, 3)) uint8 | the cells in front: object, color, state     |
    | action      | Discrete(7)                 | left, right, forward, pickup, drop, toggle, done |
    | reward      | float64                     | 1 − 0.9 t / 720 when both are open after step t, else 0 |
    | ends        |                             | when the blue door opens; truncated after 720 steps |

    "open the red door then the blue door". Opening the blue door pays if the red one is open at
    that moment: one that was closed again pays nothing, and the episode ends all the same. The rows
    of the doors, the start and its direction are random. `info`: `direction` (0 right, 1 down, 2
    left, 3 up) and `success`. Equal to MiniGrid 3.2.0 to the bit, levels and pictures included.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 720
    level: ClassVar[str] = "RedBlueDoors-6x6-v0"


class LavaGapS7(OneLevel):
    """Through the one gap in a column of lava to the goal: MiniGrid-LavaGapS7-v0.

    | part        | type                        | meaning                                       |
    |-------------|-----------------------------|-----------------------------------------------|
    | observation | Box(0, 255, (7, 7, 3)) uint8 | the cells in front: object, color, state     |
    | action      | Discrete(7)                 | left, right, forward, pickup, drop, toggle, done |
    | reward      | float64                     | 1 − 0.9 t / 196 at the goal in step t, else 0 |
    | ends        |                             | at the goal, in lava; truncated after 196 steps |

    "avoid the lava and get to the green goal square". The gap is random, start and goal are in
    opposite corners. `info`: `direction` (0 right, 1 down, 2 left, 3 up) and `success`. Equal to
    MiniGrid 3.2.0 to the bit, levels and pictures included.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 196
    level: ClassVar[str] = "LavaGapS7-v0"


class MemoryS11(OneLevel):
    """Remember the object in the first room, and go to its like at the fork: MiniGrid-MemoryS11-v0.

    | part        | type                        | meaning                                       |
    |-------------|-----------------------------|-----------------------------------------------|
    | observation | Box(0, 255, (7, 7, 3)) uint8 | the cells in front: object, color, state     |
    | action      | Discrete(7)                 | left, right, forward, pickup, drop, toggle, done |
    | reward      | float64                     | 1 − 0.9 t / 605 beside the matching object in step t, else 0 |
    | ends        |                             | beside either object; truncated after 605 steps |

    "go to the matching object at the end of the hallway". Most episodes start past the first room,
    from where the cue has to be looked for. The optimum on record knows the cue: without looking, a
    guess gets half of it. Pickup does nothing here (in MiniGrid it toggles, and objects do not react).
    `info`: `direction` (0 right, 1 down, 2 left, 3 up) and `success`. Equal to MiniGrid 3.2.0 to the
    bit, levels and pictures included.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 605
    level: ClassVar[str] = "MemoryS11-v0"


class SimpleCrossingS9N2(OneLevel):
    """Through the openings of two walls to the goal: MiniGrid-SimpleCrossingS9N2-v0.

    | part        | type                        | meaning                                       |
    |-------------|-----------------------------|-----------------------------------------------|
    | observation | Box(0, 255, (7, 7, 3)) uint8 | the cells in front: object, color, state     |
    | action      | Discrete(7)                 | left, right, forward, pickup, drop, toggle, done |
    | reward      | float64                     | 1 − 0.9 t / 324 at the goal in step t, else 0 |
    | ends        |                             | at the goal; truncated after 324 steps        |

    "find the opening and get to the green goal square". Each wall crosses the whole grid, from side
    to side or from top to bottom; start and goal are in opposite corners. `info`: `direction` (0
    right, 1 down, 2 left, 3 up) and `success`. Equal to MiniGrid 3.2.0 to the bit, levels and
    pictures included.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 324
    level: ClassVar[str] = "SimpleCrossingS9N2-v0"


class MultiRoomN2S4(OneLevel):
    """Two small rooms, a door between them, and the goal in the second: MiniGrid-MultiRoom-N2-S4-v0.

    | part        | type                        | meaning                                       |
    |-------------|-----------------------------|-----------------------------------------------|
    | observation | Box(0, 255, (7, 7, 3)) uint8 | the cells in front: object, color, state     |
    | action      | Discrete(7)                 | left, right, forward, pickup, drop, toggle, done |
    | reward      | float64                     | 1 − 0.9 t / 40 at the goal in step t, else 0  |
    | ends        |                             | at the goal; truncated after 40 steps         |

    "traverse the rooms to get to the goal". The time limit is the shortest of the seven tasks. The
    rooms, the door and its color, the start and the goal are random. `info`: `direction` (0 right,
    1 down, 2 left, 3 up) and `success`. Equal to MiniGrid 3.2.0 to the bit, levels and pictures
    included.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 40
    level: ClassVar[str] = "MultiRoom-N2-S4-v0"
