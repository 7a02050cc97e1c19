"""The tasks of the multitask benchmarks MT3, MT5 and MT7, one by one."""

from __future__ import annotations

from typing import ClassVar

from pkubench.envs.minigrid.grid_world import OneLevel


class DoorKey6x6(OneLevel):
    """A key opens a locked door, and behind it is the goal.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 3) | cells in front: object, color, state                 |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / 360 on success in step t, else 0         |
    | ends        |                 | at the goal; truncated after 360 steps               |

    MiniGrid-DoorKey-6x6-v0: "use the key to open the door and then get to the goal". The wall, the
    door in it, the key, the start and its direction are random; the goal is in the corner. The key
    can be dropped again, and the unlocked door closed.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 360
    level: ClassVar[str] = "DoorKey-6x6-v0"


class DistShift1(OneLevel):
    """Past two strips of lava to the goal, in the same level always.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 3) | cells in front: object, color, state                 |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / 252 on success in step t, else 0         |
    | ends        |                 | at the goal, in lava; truncated after 252 steps      |

    MiniGrid-DistShift1-v0: "get to the green goal square". Walls do not block the view. The
    shortest way takes 13 steps.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. After Leike et al., "AI
    Safety Gridworlds", 2017. Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 252
    level: ClassVar[str] = "DistShift1-v0"


class RedBlueDoors6x6(OneLevel):
    """Open the red door, then the blue one.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 3) | cells in front: object, color, state                 |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / 720 on success in step t, else 0         |
    | ends        |                 | when the blue door opens; truncated after 720 steps  |

    MiniGrid-RedBlueDoors-6x6-v0: "open the red door then the blue door". Opening the blue door pays
    if the red one is open at that moment: if it was closed again it does not, and the episode ends
    all the same. The rows of the doors, the start and its direction are random.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 720
    level: ClassVar[str] = "RedBlueDoors-6x6-v0"


class LavaGapS7(OneLevel):
    """Through the one gap in a column of lava to the goal.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 3) | cells in front: object, color, state                 |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / 196 on success in step t, else 0         |
    | ends        |                 | at the goal, in lava; truncated after 196 steps      |

    MiniGrid-LavaGapS7-v0: "avoid the lava and get to the green goal square". The gap is random;
    start and goal are in opposite corners.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 196
    level: ClassVar[str] = "LavaGapS7-v0"


class MemoryS11(OneLevel):
    """Remember the object in the first room, and go to its like at the fork.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 3) | cells in front: object, color, state                 |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / 605 on success in step t, else 0         |
    | ends        |                 | beside either object; truncated after 605 steps      |

    MiniGrid-MemoryS11-v0: "go to the matching object at the end of the hallway". Most episodes
    start past the first room, and the cue has to be looked for. The optimum on record knows the
    cue; a guess gets half of it. Pickup does nothing here (in MiniGrid it toggles, and these
    objects do not react).

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 605
    level: ClassVar[str] = "MemoryS11-v0"


class SimpleCrossingS9N2(OneLevel):
    """Through the openings of two walls to the goal.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 3) | cells in front: object, color, state                 |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / 324 on success in step t, else 0         |
    | ends        |                 | at the goal; truncated after 324 steps               |

    MiniGrid-SimpleCrossingS9N2-v0: "find the opening and get to the green goal square". Each wall
    crosses the whole grid, from side to side or from top to bottom; start and goal are in opposite
    corners.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 324
    level: ClassVar[str] = "SimpleCrossingS9N2-v0"


class MultiRoomN2S4(OneLevel):
    """Two small rooms, a door between them, and the goal in the second.

    | part        | type            | meaning                                              |
    |-------------|-----------------|------------------------------------------------------|
    | observation | uint8 (7, 7, 3) | cells in front: object, color, state                 |
    | action      | Discrete(7)     | left, right, forward, pickup, drop, toggle, done     |
    | reward      | float64         | 1 − 0.9 t / 40 on success in step t, else 0          |
    | ends        |                 | at the goal; truncated after 40 steps                |

    MiniGrid-MultiRoom-N2-S4-v0: "traverse the rooms to get to the goal". The rooms, the door and
    its color, the start and the goal are random. The time limit is the shortest of the seven tasks.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023. Versions: v0 first
    release.
    """

    default_horizon: ClassVar[int | None] = 40
    level: ClassVar[str] = "MultiRoom-N2-S4-v0"
