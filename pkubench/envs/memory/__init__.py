"""Memory, credit over long spans, chance, stitching and planning: tasks of sequence models."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

ENVS = tuple(
    EnvSpec(
        id=f"pkubench/{name}-v0",
        entry_point=f"pkubench.envs.memory.{module}:{name}",
        horizon=horizon,
        traits=Traits(action="discrete"),
        variants=variants,
    )
    for name, module, horizon, variants in (
        ("KeyToDoor", "key_to_door", 28, None),
        ("KeyToDoorLong", "key_to_door", 60, None),
        ("TMazePassive", "tmaze", 11, "pkubench.envs.memory.tmaze:passive_variant"),
        ("TMazeActive", "tmaze", 13, "pkubench.envs.memory.tmaze:active_variant"),
        ("LuckyArm", "lucky_arm", 20, None),
        ("Stitching", "stitching", 2, None),
        ("GraphPath", "graph_path", 10, None),
    )
)
