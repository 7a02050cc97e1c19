"""Grid worlds: MiniGrid's tasks as array programs, and its other levels through an adapter."""

from pkubench.envs.core.registry import EnvFamily, EnvSpec
from pkubench.envs.core.traits import Traits

_TRAITS = Traits(action="discrete", has_missions=True)

ENVS = tuple(
    EnvSpec(
        id=f"pkubench/MiniGrid{name}-v0",
        entry_point=f"pkubench.envs.minigrid.{module}:{name}",
        horizon=horizon,
        traits=_TRAITS,
    )
    for module, name, horizon in (
        ("multitask", "MT3", 720),
        ("multitask", "MT5", 720),
        ("multitask", "MT7", 720),
        ("members", "DoorKey6x6", 360),
        ("members", "DistShift1", 252),
        ("members", "RedBlueDoors6x6", 720),
        ("members", "LavaGapS7", 196),
        ("members", "MemoryS11", 605),
        ("members", "SimpleCrossingS9N2", 324),
        ("members", "MultiRoomN2S4", 40),
    )
)
ENV_FAMILIES = (
    EnvFamily(
        prefix="minigrid",
        entry_point="pkubench.envs.minigrid.named:NamedLevel",
        # found out by making it: levels that MiniGrid itself plays have no list of missions
        traits=None,
        extra="minigrid",
        engines=("minigrid",),
    ),
)
