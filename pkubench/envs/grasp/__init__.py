"""Dexterous grasping: a floating five-finger hand lifts objects of many shapes from a table."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

ENVS = tuple(
    EnvSpec(
        id=f"pkubench/Grasp{name}-v0",
        entry_point=f"pkubench.envs.grasp.environments:Grasp{name}",
        horizon=200,
        traits=Traits(),
        extra="mujoco",
        variants="pkubench.envs.grasp.environments:variant",
        engines=("mujoco", "gymnasium-robotics"),
    )
    for name in ("Sphere", "Small", "Full")
)
