"""The levels that are made here, by MiniGrid's names without ``MiniGrid-``."""

from __future__ import annotations

from typing import Final

from pkubench.envs.minigrid.crossing_levels import Crossing, DistShift, LavaGap
from pkubench.envs.minigrid.door_levels import DoorKey, RedBlueDoors
from pkubench.envs.minigrid.levels import Family
from pkubench.envs.minigrid.memory_levels import Memory
from pkubench.envs.minigrid.multiroom import MultiRoom, TwoSmallRooms

FAMILIES: Final[dict[str, Family]] = {
    **{f"DoorKey-{size}x{size}-v0": DoorKey(size) for size in (5, 6, 8, 16)},
    "DistShift1-v0": DistShift(strip=2),
    "DistShift2-v0": DistShift(strip=5),
    **{f"RedBlueDoors-{size}x{size}-v0": RedBlueDoors(size) for size in (6, 8)},
    **{f"LavaGapS{size}-v0": LavaGap(size) for size in (5, 6, 7)},
    **{f"MemoryS{size}-v0": Memory(size) for size in (7, 9, 11, 13)},
    **{f"MemoryS{size}Random-v0": Memory(size, random_length=True) for size in (13, 17)},
    **{
        f"{name}CrossingS{size}N{count}-v0": Crossing(size, count, is_lava)
        for name, is_lava in (("Simple", False), ("Lava", True))
        for size, count in ((9, 1), (9, 2), (9, 3), (11, 5))
    },
    "MultiRoom-N2-S4-v0": TwoSmallRooms(),
    "MultiRoom-N4-S5-v0": MultiRoom(rooms=6, max_size=5),  # six rooms, in spite of its name
    "MultiRoom-N4-S5-v1": MultiRoom(rooms=4, max_size=5),
    "MultiRoom-N6-v0": MultiRoom(rooms=6, max_size=10),
}
MT3: Final = ("LavaGapS7-v0", "RedBlueDoors-6x6-v0", "MemoryS11-v0")
MT5: Final = (
    "DoorKey-6x6-v0",
    "LavaGapS7-v0",
    "RedBlueDoors-6x6-v0",
    "DistShift1-v0",
    "MemoryS11-v0",
)
MT7: Final = (
    "DoorKey-6x6-v0",
    "DistShift1-v0",
    "RedBlueDoors-6x6-v0",
    "LavaGapS7-v0",
    "MemoryS11-v0",
    "SimpleCrossingS9N2-v0",
    "MultiRoom-N2-S4-v0",
)
"""The tasks of MOORE (Hendawy et al., ICLR 2024), in its order."""
